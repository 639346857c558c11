"""Requests of the Responses API: nothing stored, everything replayable, every option placed or recorded."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from testkit.openai_wire import ADD, MUL, PNG, SCHEMA, body_of
from testkit.responses_double import call, custom_call, message, thought, web_search
from testkit.responses_rules import response_faults
from testkit.responses_wire import MODEL, answer, ask_responses, decode, encode, items, said, sent
from unified_llm.errors import InvalidMessageError, InvalidRequestError, UnsupportedOptionError
from unified_llm.messages import Audio, File, Image, Message, Native, Opaque, Part, Text, Thinking, ToolCall, ToolResult
from unified_llm.requests import ResponseFormat
from unified_llm.tools import Tool, ToolChoice

URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
WEB = Tool("web_search", native={"type": "web_search", "search_context_size": "low"})
ENCRYPTED = "reasoning.encrypted_content"


def test_nothing_is_stored_and_reasoning_comes_back_encrypted() -> None:
    assert sent() == {"store": False, "include": [ENCRYPTED]}
    assert body_of(encode(ask_responses("Hi")))["input"] == [{"type": "message", "role": "user", "content": "Hi"}]


def test_models_that_do_not_reason_are_not_asked_for_reasoning() -> None:
    assert sent(model="gpt-4o") == {"store": False}


def test_a_caller_who_lets_the_server_store_gets_no_encrypted_items() -> None:
    more = {"openai": {"store": True, "previous_response_id": "resp_1"}}
    assert sent(provider_options=more) == more["openai"]


def test_options_have_their_names_here() -> None:
    options: dict[str, Any] = {"max_tokens": 50, "effort": "low", "user": "u", "prompt_caching": "24h"}
    assert sent(tools=(ADD,), parallel_tool_calls=False, stream=True, **options) == {
        "store": False,
        "include": [ENCRYPTED],
        "tools": [{"type": "function", "strict": False, **ADD.to_dict()["function"]}],
        "max_output_tokens": 50,
        "reasoning": {"effort": "low"},
        "user": "u",
        "prompt_cache_retention": "24h",
        "parallel_tool_calls": False,
        "stream": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"thinking": True}, {"effort": "medium", "summary": "auto"}),
        ({"thinking": True, "effort": "high"}, {"effort": "high", "summary": "auto"}),
        ({"thinking": 5000}, {"effort": "medium", "summary": "auto"}),
        ({"thinking": False, "model": "gpt-5.2"}, {"effort": "none"}),
        ({"effort": "minimal"}, {"effort": "minimal"}),
    ],
)
def test_thinking_is_an_effort_and_shows_a_summary_when_asked_for(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert sent(**options)["reasoning"] == expected


@pytest.mark.parametrize(("limit", "told"), [(5, [("changed", "max_tokens")]), (16, []), (None, [])])
def test_a_limit_below_that_of_the_api_is_raised_and_recorded(limit: int | None, told: list[Any]) -> None:
    request = ask_responses(max_tokens=limit)
    assert said(request) == told
    assert body_of(encode(request)).get("max_output_tokens") == (limit and 16)
    assert sent("llamacpp", max_tokens=5)["max_output_tokens"] == 5


def test_logprobs_are_included() -> None:
    assert sent(model="gpt-4o", logprobs=3) == {
        "store": False,
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 3,
    }


@pytest.mark.parametrize(
    "option", ["seed", "stop_sequences", "presence_penalty", "frequency_penalty", "top_k", "min_p"]
)
def test_what_only_chat_completions_has_is_dropped_and_recorded(option: str) -> None:
    value: Any = "END" if option == "stop_sequences" else 1
    request = ask_responses(model="gpt-4o", **{option: value})
    assert said(request) == [("dropped", option)]
    assert body_of(encode(request)).keys() == {"model", "input", "store"}
    with pytest.raises(UnsupportedOptionError, match="the Responses API has no such option"):
        encode(ask_responses(model="gpt-4o", on_unsupported="error", **{option: value}))


# -- tools ------------------------------------------------------------------------------------------------------------


def test_strict_is_always_said_because_this_api_would_turn_it_on() -> None:
    tools = (Tool("a", strict=True), Tool("b", strict=False), Tool("c"))
    assert [t["strict"] for t in sent(tools=tools)["tools"]] == [True, False, False]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("tool", "add"), {"type": "function", "name": "add"}),
        (ToolChoice("tool", "web_search"), {"type": "web_search"}),
        (ToolChoice("tool", "docs"), {"type": "mcp", "server_label": "d"}),
    ],
)
def test_tool_choice(choice: ToolChoice, expected: Any) -> None:
    docs = Tool("docs", native={"type": "mcp", "server_label": "d", "server_url": "https://example.org"})
    assert sent(tools=(ADD, WEB, docs), tool_choice=choice)["tool_choice"] == expected


def test_built_in_tools_go_through_as_they_are_from_either_place() -> None:
    more = {"openai": {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}], "include": ["x"]}}
    body = sent(tools=(MUL, WEB), provider_options=more)
    assert [t["type"] for t in body["tools"]] == ["function", "web_search", "code_interpreter"]
    assert body["include"] == [ENCRYPTED, "x"]


def test_a_tool_that_is_demanded_must_be_there() -> None:
    with pytest.raises(InvalidRequestError, match="there are no tools"):
        encode(ask_responses(tool_choice=ToolChoice("required")))


# -- structured output ------------------------------------------------------------------------------------------------


def test_a_schema_is_a_text_format() -> None:
    form = sent(response_format=ResponseFormat(SCHEMA, "x"))["text"]["format"]
    assert form == {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}


def test_any_json_needs_the_word_in_the_messages() -> None:
    request = ask_responses("Hi", response_format=ResponseFormat())
    assert said(request) == [("changed", "response_format")]
    body = body_of(encode(request))
    assert body["text"] == {"format": {"type": "json_object"}}
    assert body["input"][0] == {"type": "message", "role": "developer", "content": "Answer with one JSON object."}
    assert said(ask_responses("As JSON please", response_format=ResponseFormat())) == []


@pytest.mark.parametrize("profile", ["lmstudio", "llamacpp"])
def test_servers_that_ignore_the_format_are_asked_in_the_prompt(profile: str) -> None:
    history = [Message("system", "Be brief."), Message("user", "Hi")]
    request = ask_responses(history, response_format=ResponseFormat(SCHEMA))
    assert said(request, profile) == [("changed", "response_format")]
    body = body_of(encode(request, profile))
    assert "text" not in body
    assert body["input"][0]["content"].startswith("Be brief.\n\nAnswer with one JSON object that follows")


# -- messages ---------------------------------------------------------------------------------------------------------


def test_system_messages_stay_where_they_are_in_the_role_of_the_model() -> None:
    history = [Message("system", "A"), Message("user", "Hi"), Message("system", "B"), Message("user", "Ho")]
    assert [i["role"] for i in items(history)] == ["developer", "user", "developer", "user"]
    assert [i["role"] for i in items(history, model="gpt-4o")] == ["system", "user", "system", "user"]
    joined = items(history, "llamacpp")
    assert [i["content"] for i in joined] == ["A\n\nB", "Hi", "Ho"]


def test_images_and_files_are_content_parts() -> None:
    parts: list[Part | str] = [
        "Look",
        Image(data=PNG),
        Image(url="https://example.org/i.png", detail="low"),
        Image(file_id="file-1"),
    ]
    files: list[Part] = [
        File(data=b"%PDF", name="a.pdf"),
        File(file_id="file-2"),
        File(url="https://example.org/a.pdf"),
    ]
    content = items([Message("user", [*parts, *files])])[0]["content"]
    pdf = "data:application/pdf;base64,JVBERg=="
    assert content == [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "detail": "auto", "image_url": URL},
        {"type": "input_image", "detail": "low", "image_url": "https://example.org/i.png"},
        {"type": "input_image", "detail": "auto", "file_id": "file-1"},
        {"type": "input_file", "filename": "a.pdf", "file_data": pdf},
        {"type": "input_file", "file_id": "file-2"},
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
    ]


def test_a_text_file_is_sent_as_text_and_sound_leaves_a_placeholder() -> None:
    request = ask_responses(
        [Message("user", [File(data=b"a,b", media_type="text/csv", name="t"), Audio(data=b"RIFF")])]
    )
    assert said(request) == [("changed", "messages[0].file"), ("lost", "messages[0].audio")]
    assert [p["text"] for p in body_of(encode(request))["input"][0]["content"]] == [
        '<document name="t">\na,b\n</document>',
        "[audio not sent: this server does not take it]",
    ]


def test_media_that_cannot_be_sent_are_errors_that_say_what_to_do() -> None:
    cases: list[tuple[Part, str, str]] = [
        (Image(path="x.png"), "openai", "was not read"),
        (File(path="x.pdf"), "openai", "was not read"),
        (Image(data=b"x", media_type="image/webp"), "lmstudio", "does not take image/webp"),
        (Image(url="https://example.org/i.png"), "lmstudio", "does not load images"),
    ]
    for part, profile, words in cases:
        with pytest.raises(InvalidMessageError, match=words) as info:
            items([Message("user", [part])], profile)
        assert info.value.hint


CALLS = Message("assistant", "Let me add.", tool_call=[ToolCall("add", {"a": 1}, "c1"), ToolCall("add", "", "c2")])


def test_tool_calls_and_their_results() -> None:
    results = [ToolResult("c1", "2"), ToolResult("c2", ["Look", Image(data=PNG)], is_error=True)]
    assert items([Message("user", "1+1?"), CALLS, Message("tool", results)])[1:] == [
        {"type": "message", "role": "assistant", "content": "Let me add."},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a":1}'},
        {"type": "function_call", "call_id": "c2", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "2"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [
                {"type": "input_text", "text": "Error: Look"},
                {"type": "input_image", "detail": "auto", "image_url": URL},
            ],
        },
    ]


def test_broken_arguments_are_wrapped_and_recorded() -> None:
    turn = Message("assistant", None, tool_call=ToolCall("add", '{"a": ', "c1"))
    history = [Message("user", "?"), turn, Message("tool", ToolResult("c1", "bad"))]
    assert items(history)[1]["arguments"] == '{"invalid_arguments":"{\\"a\\": "}'
    assert said(ask_responses(history)) == [("changed", "messages[1].tool_call")]


def test_ids_that_are_long_or_come_again_are_replaced_for_calls_and_results_alike() -> None:
    history = [Message("user", "?")]
    for known in ("c1", "c1", "x" * 90, "c1"):
        history += [
            Message("assistant", None, tool_call=ToolCall("add", {}, known)),
            Message("tool", ToolResult(known, "1")),
        ]
    body = body_of(encode(ask_responses(history)))
    ids = [i["call_id"] for i in body["input"] if i["type"] == "function_call"]
    assert ids[:2] == ["c1", "c1_2"]
    assert ids[3] == "c1_3"
    assert response_faults(body, {}) == []
    longer = [*history, Message("user", "Go on")]
    assert items(longer)[: len(body["input"])] == body["input"]  # the same in every later request


def test_a_result_without_its_call_is_an_error() -> None:
    with pytest.raises(InvalidMessageError, match="no earlier message called"):
        items([Message("user", "?"), Message("tool", ToolResult("c9", "1"))])
    with pytest.raises(InvalidMessageError, match="no messages"):
        items([])


# -- replay -----------------------------------------------------------------------------------------------------------


def test_an_answer_goes_back_byte_for_byte() -> None:
    output = [
        thought("hmm"), web_search(), message("It rains.", "Really.", phase="commentary"), thought(), call("add"),
        custom_call("sql", "select 1"),
    ]  # fmt: skip
    turn = decode(answer(*output)).message
    results = Message("tool", [ToolResult(c.id, "1") for c in turn.tool_calls])
    request = ask_responses([Message("user", "?"), turn, results])
    body = body_of(encode(request))
    assert body["input"][1:-2] == output
    assert list(map(list, body["input"][1:-2])) == list(map(list, output))  # the order of keys, too
    assert [i["type"] for i in body["input"][-2:]] == ["function_call_output", "custom_tool_call_output"]
    assert said(request) == []
    assert response_faults(body, {i["id"]: i for i in output}) == []


def test_items_of_another_provider_are_translated_and_what_is_lost_is_recorded() -> None:
    turn = decode(answer(thought("hmm"), web_search(), message("It rains."))).message
    request = ask_responses([Message("user", "?"), turn, Message("user", "And now?")])
    call_ = encode(request, "openai", provider="azure")
    assert body_of(call_)["input"][1] == {"type": "message", "role": "assistant", "content": "It rains."}
    assert [(a.kind, a.what) for a in call_.adjustments] == [
        ("lost", "messages[1].thinking"),
        ("lost", "messages[1].web_search_call"),
    ]


def test_reasoning_that_the_server_could_not_find_again_is_left_out() -> None:
    turn = decode(answer(thought("hmm", encrypted=False), message("It rains."))).message
    history = [Message("user", "?"), turn, Message("user", "And now?")]
    assert [i["type"] for i in items(history)] == ["message", "message", "message"]
    assert said(ask_responses(history)) == [("lost", "messages[1].thinking")]
    stored: dict[str, Any] = {"provider_options": {"openai": {"store": True}}}
    assert [i["type"] for i in items(history, **stored)] == ["message", "reasoning", "message", "message"]
    assert items(history, "llamacpp")[1]["type"] == "message"  # made by another provider


def test_reasoning_after_which_nothing_was_said_is_left_out() -> None:
    turn = decode(
        answer(thought("hmm"), status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    ).message
    history = [Message("user", "?"), turn, Message("user", "Go on")]
    assert [i["role"] for i in items(history)] == ["user", "user"]
    assert said(ask_responses(history)) == [("lost", "messages[1].thinking")]


def test_an_answer_of_a_computer_tool_goes_through() -> None:
    raw = {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}}
    assert items([Message("user", [Opaque(Native("openai-responses", raw, "openai"))])]) == [raw]


@pytest.mark.parametrize(
    ("part", "what"),
    [
        (Thinking("hmm", signature="s"), "messages[1].thinking"),
        (Text("Yes", ({"type": "x"},)), "messages[1].citations"),
        (Image(data=PNG), "messages[1].image"),
    ],
)
def test_what_this_dialect_cannot_hold_is_recorded(part: Any, what: str) -> None:
    assert said(ask_responses([Message("user", "?"), Message("assistant", [part]), Message("user", "!")])) == [
        ("lost", what)
    ]


def test_names_of_speakers_are_recorded_as_lost() -> None:
    assert said(ask_responses([Message("user", "Hi", name="Ann")])) == [("lost", "messages[0].name")]


@pytest.mark.parametrize(
    "options", [{}, {"thinking": True}, {"tools": (ADD, WEB), "tool_choice": ToolChoice("tool", "add")}]
)
def test_bodies_fit_the_types_of_the_openai_package(options: dict[str, Any]) -> None:
    history = [
        Message("system", "S"),
        Message("user", ["Hi", Image(data=PNG)]),
        Message("assistant", "Ho"),
        Message("user", "?"),
    ]
    assert response_faults(body_of(encode(ask_responses(history, **options))), {}) == []
    assert MODEL == "gpt-5-mini"


def test_reasoning_of_another_model_does_not_go_to_one_that_takes_none() -> None:
    turn = decode(answer(thought("hmm"), message("It rains."), model="o3")).message
    history = [Message("user", "Weather?"), turn, Message("user", "And now?")]
    assert "reasoning" not in [i["type"] for i in items(history, model="gpt-4o")]
    assert said(ask_responses(history, model="gpt-4o")) == [("lost", "messages[1].thinking")]
    assert "reasoning" in [i["type"] for i in items(history, model="gpt-5-mini")]
