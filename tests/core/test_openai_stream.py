"""Streamed answers: every habit of the servers, at every cut of the network. Recorded bytes are in fixtures/openai."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testkit.openai_wire import FIXTURES, ask, collect, respond, stream
from unified_llm.errors import (
    APIError,
    ContextLengthError,
    RateLimitError,
    ResponseError,
    ServerError,
    StreamInterruptedError,
    UnifiedLLMError,
)
from unified_llm.messages import Message, Native, Opaque, Text, Thinking, ToolCall
from unified_llm.responses import FinishReason, Usage
from unified_llm.stream import (
    CitationDelta,
    Finish,
    PartEnd,
    StreamEvent,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageUpdate,
)

STREAMS = FIXTURES / "streams"
ALL = sorted(STREAMS.iterdir())
# Call ids that the server left out are made up, so they differ from run to run.
REPEATABLE = [p for p in ALL if "without_id" not in p.name and "function_call" not in p.name]


def calls(name: str, profile: str = "openai") -> list[tuple[str, str, Any]]:
    return [(c.id, c.name, c.arguments) for c in respond(name, profile).tool_calls]


# -- text and its frame --------------------------------------------------------------------------------------------


def test_a_text_stream_gives_a_start_deltas_a_part_end_usage_and_a_finish() -> None:
    events = stream((STREAMS / "text.sse").read_bytes())
    usage = Usage(10, 5, 4, None, 2)
    text = "The sky is blue \u2013 bleu ciel é."
    assert events == [
        StreamStart("m", "chatcmpl-1", "req_1"),
        TextDelta("The sky ", 0),
        TextDelta("is blue \u2013 ", 0),
        TextDelta("bleu ciel é.", 0),
        UsageUpdate(usage),
        PartEnd(Text(text), 0),
        Finish(FinishReason.STOP, "stop"),
    ]


def test_carriage_returns_comments_ids_and_a_byte_order_mark_change_nothing() -> None:
    plain = stream((STREAMS / "text.sse").read_bytes())
    assert stream((STREAMS / "crlf_and_comments.sse").read_bytes()) == plain


def test_a_finish_reason_without_an_end_mark_ends_the_stream() -> None:
    response = respond("finish_without_done.sse")
    assert (str(response), response.finish_reason) == ("Hi", FinishReason.STOP)


def test_an_end_mark_without_a_finish_reason_ends_the_stream_and_the_reason_stays_unknown() -> None:
    response = respond("done_without_finish.sse")
    assert (str(response), response.finish_reason) == ("Hi", None)


def test_the_first_azure_chunk_has_no_choice_and_is_passed_over() -> None:
    response = respond("azure_prompt_filter.sse", "azure")
    assert (str(response), response.finish_reason) == ("Hi", FinishReason.CONTENT_FILTER)


def test_a_stop_sequence_that_vllm_names_is_the_finish_reason() -> None:
    assert respond("stop_sequence.sse", "vllm").finish_reason is FinishReason.STOP_SEQUENCE


def test_a_refusal_is_text_with_its_own_finish_reason() -> None:
    response = respond("refusal.sse")
    assert (str(response), response.finish_reason) == ("I cannot do that.", FinishReason.REFUSAL)


def test_citations_come_as_deltas_and_stay_with_their_text() -> None:
    events = stream((STREAMS / "citations.sse").read_bytes())
    (delta,) = [e for e in events if isinstance(e, CitationDelta)]
    (text,) = collect(events).message.parts
    assert isinstance(text, Text)
    assert text.citations == (delta.citation,)
    assert delta.citation["url_citation"]["url"] == "https://example.com"


def test_text_after_a_call_is_a_part_of_its_own() -> None:
    assert respond("text_around_a_call.sse").message.parts == (
        Text("Before."),
        ToolCall("add", '{"a":1}', "call_a"),
        Text("After."),
    )


def test_invalid_json_numbers_and_half_characters_do_not_break_the_text() -> None:
    assert str(respond("lone_surrogate_and_nan.sse")).startswith("A")


# -- tool calls: eleven known habits and more ------------------------------------------------------------------------


def test_parallel_calls_arrive_in_pieces_and_in_order() -> None:
    events = stream((STREAMS / "parallel_tools.sse").read_bytes())
    assert [e for e in events if isinstance(e, (ToolCallStart, ToolCallDelta))] == [
        ToolCallStart("call_a", "add", 0),
        ToolCallDelta('{"a":', 0),
        ToolCallDelta("1}", 0),
        ToolCallStart("call_b", "add", 1),
        ToolCallDelta('{"a":2}', 1),
    ]
    assert collect(events).finish_reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("parallel_tools.sse", [("call_a", "add", {"a": 1}), ("call_b", "add", {"a": 2})]),
        ("interleaved_tools.sse", [("call_a", "add", {"a": 1}), ("call_b", "sub", {"b": 2})]),
        ("calls_same_index.sse", [("call_a", "add", {"a": 1}), ("call_b", "add", {"a": 2})]),
        ("calls_without_index.sse", [("call_a", "add", {"a": 1}), ("call_b", "sub", {"b": 2})]),
        ("calls_without_index_in_pieces.sse", [("call_a", "add", {"a": 1})]),
        ("call_repeats_id_and_name.sse", [("call_a", "add", {"a": 1}), ("call_b", "add", {"a": 2})]),
        ("several_calls_in_one_chunk.sse", [("call_a", "add", {"a": 1}), ("call_b", "sub", {"b": 2})]),
        ("arguments_as_object.sse", [("call_a", "add", {"a": 1})]),
        ("arguments_empty.sse", [("call_a", "now", {})]),
        ("stop_with_calls.sse", [("call_a", "add", {"a": 1})]),
    ],
)
def test_calls_are_told_apart_whatever_the_server_does_with_index_and_id(name: str, expected: Any) -> None:
    assert calls(name) == expected


def piece(index: int | None, name: str | None, arguments: str, known: str | None = "call_0") -> dict[str, Any]:
    """One piece of a streamed call."""
    function = {k: v for k, v in {"name": name, "arguments": arguments}.items() if v is not None}
    return {k: v for k, v in {"index": index, "id": known, "function": function}.items() if v is not None}


@pytest.mark.parametrize("together", [True, False], ids=["one chunk", "a chunk each"])
@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([piece(0, "find", '{"a":1}'), piece(1, "drop", '{"a":2}')], id="another index"),
        pytest.param([piece(0, "find", '{"a":1}'), piece(0, "drop", '{"a":2}')], id="another name"),
        pytest.param([piece(None, "find", '{"a":1}'), piece(None, "drop", '{"a":2}')], id="no index"),
        pytest.param(
            [piece(0, "find", '{"a"'), piece(1, "drop", '{"a"'), piece(0, None, ":1}"), piece(1, None, ":2}")],
            id="in turns",
        ),
        pytest.param(
            [piece(0, "find", '{"a"'), piece(0, "find", ":1}"), piece(1, "drop", '{"a":'), piece(1, "drop", "2}")],
            id="id and name in every piece",
        ),
    ],
)
def test_two_calls_of_one_id_stay_two_calls(pieces: list[dict[str, Any]], together: bool) -> None:
    deltas = [pieces] if together else [[p] for p in pieces]
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": d}}]} for d in deltas]
    body = b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks) + b"data: [DONE]\n\n"
    found = collect(stream(body)).tool_calls
    assert [(c.name, c.arguments) for c in found] == [("find", {"a": 1}), ("drop", {"a": 2})]
    assert len({c.id for c in found}) == 2


def test_the_same_tool_called_twice_under_one_id_is_two_calls() -> None:
    pieces = [piece(0, "find", '{"a":1}'), piece(0, "find", '{"a":2}')]
    body = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": pieces}}]}).encode()
    found = collect(stream(body + b"\n\ndata: [DONE]\n\n")).tool_calls
    assert [c.arguments for c in found] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("name", ["calls_without_id.sse", "calls_without_id_or_index.sse"])
def test_missing_ids_are_made_up_and_unique(name: str) -> None:
    found = respond(name).tool_calls
    assert [(c.name, c.arguments) for c in found] == [("add", {"a": 1}), ("add", {"a": 2})]
    assert len({c.id for c in found}) == 2
    assert all(c.id for c in found)


def test_an_id_of_the_history_is_not_used_again() -> None:
    history = [
        Message("user", "Hi"),
        Message("assistant", tool_call=ToolCall("add", {"a": 0}, "call_a")),
    ]
    events = stream((STREAMS / "stop_with_calls.sse").read_bytes(), request=ask(history, stream=True))
    (call,) = collect(events).tool_calls
    assert call.id != "call_a"


def test_a_legacy_function_call_is_a_tool_call() -> None:
    assert [(c.name, c.arguments) for c in respond("legacy_function_call.sse").tool_calls] == [("add", {"a": 1})]


def test_stop_with_calls_means_calls_and_the_native_word_is_kept() -> None:
    response = respond("stop_with_calls.sse")
    assert (response.finish_reason, response.native_finish_reason) == (FinishReason.TOOL_CALLS, "stop")


def test_broken_arguments_are_kept_and_reported_and_never_executable() -> None:
    (call,) = respond("arguments_broken.sse").tool_calls
    assert call.arguments_json == '{"a": 1,, oops'
    assert call.arguments is None
    assert call.parse_error is not None


def test_a_call_cut_by_the_length_limit_has_no_arguments_and_the_one_before_it_does() -> None:
    first, second = respond("call_truncated.sse").tool_calls
    assert first.arguments == {"a": 1}
    assert second.arguments is None
    assert second.parse_error is not None


def test_a_call_cut_before_its_arguments_is_not_a_call_without_arguments() -> None:
    response = respond("call_truncated_before_arguments.sse")
    (call,) = response.tool_calls
    assert response.finish_reason is FinishReason.LENGTH
    assert call.arguments is None
    assert call.parse_error is not None


def test_gemini_thought_signatures_stay_with_their_call() -> None:
    (call,) = respond("gemini_thought_signature.sse", "gemini").tool_calls
    assert call.native is not None
    assert call.native.raw["extra_content"] == {"google": {"thought_signature": "CsYBSIG"}}
    assert call.native.provider == "gemini"


# -- thinking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("reasoning_field.sse", "vllm"),
        ("reasoning_content.sse", "deepseek"),
        ("mistral_thinking.sse", "mistral"),
    ],
)
def test_reasoning_is_a_thinking_part_whichever_field_it_comes_in(name: str, profile: str) -> None:
    assert respond(name, profile).message.parts == (Thinking("First I think."), Text("42"))


def test_think_tags_split_over_chunks_are_separated_from_the_answer() -> None:
    response = respond("think_tags_split.sse", "lmstudio")
    assert response.message.parts == (Thinking("The user asks."), Text("The answer is <b>42</b>."))


def test_think_tags_stay_text_where_the_profile_does_not_expect_them() -> None:
    assert str(respond("think_tags_split.sse", "openai")).startswith("<think>")


def test_an_unclosed_think_tag_is_all_thinking() -> None:
    response = respond("think_tags_unclosed.sse", "lmstudio")
    assert response.message.parts == (Thinking("still thinking"),)
    assert response.finish_reason is FinishReason.LENGTH


def test_a_think_tag_inside_the_answer_is_text() -> None:
    assert str(respond("think_tag_quoted.sse", "lmstudio")) == "Use <think> tags."


def test_openrouter_reasoning_details_are_joined_and_kept_for_the_way_back() -> None:
    thinking, text, details = respond("reasoning_details.sse", "openrouter").message.parts
    assert (thinking, text) == (Thinking("First I think."), Text("42"))
    assert isinstance(details, Opaque)
    assert details.native == Native(
        "openai-chat",
        {
            "type": "reasoning_details",
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "First I think.",
                    "signature": "c2ln",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                }
            ],
        },
        "openrouter",
        "m",
    )


# -- usage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "profile", "expected"),
    [
        ("text.sse", "openai", Usage(10, 5, 4, None, 2)),
        ("reasoning_content.sse", "deepseek", Usage(10, 9, 8, None, 4)),
        ("llamacpp_timings.sse", "llamacpp", Usage(42, 7, 30)),
        ("groq_usage.sse", "groq", Usage(20, 3)),
        ("usage_in_every_chunk.sse", "xai", Usage(10, 7, None, None, 5)),
        ("stop_with_calls.sse", "openai", Usage()),
    ],
)
def test_usage_is_found_where_each_server_puts_it(name: str, profile: str, expected: Usage) -> None:
    assert respond(name, profile).usage == expected


def test_usage_in_every_chunk_is_told_once() -> None:
    events = stream((STREAMS / "usage_in_every_chunk.sse").read_bytes(), "xai")
    assert sum(isinstance(e, UsageUpdate) for e in events) == 1


# -- errors and broken streams ---------------------------------------------------------------------------------------


def failure(name: str, profile: str = "openai") -> tuple[UnifiedLLMError, list[StreamEvent]]:
    events: list[StreamEvent] = []
    with pytest.raises(UnifiedLLMError) as caught:
        stream((STREAMS / name).read_bytes(), profile, into=events)
    assert caught.value.hint
    return caught.value, events


@pytest.mark.parametrize(
    ("name", "partial"),
    [
        ("no_end.sse", "Half an answer"),
        ("cut_inside_an_event.sse", "Half an answer"),
        ("cut_inside_a_character.sse", "The sky is blue \u2013 "),
        ("only_a_role.sse", ""),
        ("nothing.sse", ""),
    ],
)
def test_a_stream_without_an_end_is_interrupted_and_what_came_is_kept(name: str, partial: str) -> None:
    error, events = failure(name)
    assert isinstance(error, StreamInterruptedError)
    assert error.retryable
    assert str(collect(events)) == partial


def test_a_call_in_an_interrupted_stream_is_never_executable() -> None:
    error, events = failure("no_end_in_a_call.sse")
    assert isinstance(error, StreamInterruptedError)
    (call,) = collect(events).tool_calls
    assert call.arguments is None
    assert call.parse_error is not None


def test_text_held_back_for_a_think_tag_is_given_out_when_the_stream_breaks() -> None:
    events: list[StreamEvent] = []
    body = b'data: {"choices":[{"index":0,"delta":{"content":"<thin"},"finish_reason":null}]}\n\n'
    with pytest.raises(StreamInterruptedError):
        stream(body, "lmstudio", into=events)
    assert str(collect(events)) == "<thin"


@pytest.mark.parametrize(
    ("name", "kind", "partial"),
    [
        ("error_in_midstream.sse", ServerError, "Half"),
        ("error_with_choices.sse", RateLimitError, "Half"),
        ("error_event.sse", APIError, "Half"),
        ("error_text.sse", ContextLengthError, ""),
        ("not_json.sse", ResponseError, "Half"),
        ("no_choices.sse", ResponseError, ""),
    ],
)
def test_an_error_inside_the_stream_is_raised_after_the_events_before_it(
    name: str, kind: type[UnifiedLLMError], partial: str
) -> None:
    error, events = failure(name)
    assert type(error) is kind
    assert str(collect(events)) == partial
    assert error.request_id == "req_1"


@pytest.mark.parametrize("name", ["web_page.html", "plain_text.txt"])
def test_a_body_that_is_no_stream_at_all_is_a_response_error(name: str) -> None:
    error, _ = failure(name)
    assert type(error) is ResponseError


def test_a_web_page_is_named_by_its_title() -> None:
    error, _ = failure("web_page.html")
    assert "Welcome to nginx!" in str(error)
    assert "/v1" in (error.hint or "")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("error_object", ServerError), ("error_text", ContextLengthError), ("no_choices", ResponseError)],
)
def test_an_error_document_instead_of_a_stream_is_that_error(name: str, kind: type[UnifiedLLMError]) -> None:
    body = (FIXTURES / "answers" / f"{name}.json").read_bytes()
    with pytest.raises(kind):
        stream(body)


@pytest.mark.parametrize("name", ["text", "parallel_tools", "reasoning_content"])
def test_a_server_that_ignores_stream_gives_the_events_of_its_whole_answer(name: str) -> None:
    body = (FIXTURES / "answers" / f"{name}.json").read_bytes()
    response = collect(stream(body))
    assert response.finish_reason in (FinishReason.STOP, FinishReason.TOOL_CALLS)
    assert response.usage.input_tokens == 10
    assert response.message.parts


def test_json_lines_without_a_prefix_are_a_stream_too() -> None:
    assert str(respond("lines.ndjson", "lollms-webui")) == "Hello"


def test_json_lines_end_only_with_a_finish_reason_on_other_servers() -> None:
    error, _ = failure("lines.ndjson", "openai")
    assert isinstance(error, StreamInterruptedError)


def test_several_choices_do_not_mix() -> None:
    chunks = b"".join(
        b'data: {"choices":[{"index":%d,"delta":{"content":"%s"},"finish_reason":null}]}\n\n' % (i, text)
        for i, text in ((0, b"a"), (1, b"X"), (0, b"b"), (1, b"Y"))
    )
    request = ask(stream=True, extra_body={"n": 2})
    assert str(collect(stream(chunks + b"data: [DONE]\n\n", request=request))) == "ab"


# -- cuts ------------------------------------------------------------------------------------------------------------


def outcome(pieces: list[bytes]) -> tuple[list[StreamEvent], str | None]:
    """Events and error, deltas of one part joined: how text is grouped may depend on the cuts, what it says may not."""
    events: list[StreamEvent] = []
    try:
        stream(pieces, "lollms-webui", into=events)
    except UnifiedLLMError as exc:
        return joined(events), f"{type(exc).__name__}: {exc}"
    return joined(events), None


def joined(events: list[StreamEvent]) -> list[StreamEvent]:
    result: list[StreamEvent] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, (TextDelta, ThinkingDelta)) and type(last) is type(event) and last.index == event.index:
            result[-1] = type(event)(last.text + event.text, event.index)
        else:
            result.append(event)
    return result


@pytest.mark.parametrize("path", REPEATABLE, ids=lambda p: p.name)
def test_one_byte_at_a_time_gives_the_same_events(path: Path) -> None:
    body = path.read_bytes()
    assert outcome([body[i : i + 1] for i in range(len(body))]) == outcome([body])


@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("path", REPEATABLE, ids=lambda p: p.name)
@given(data=st.data())
def test_any_cuts_give_the_same_events(path: Path, data: st.DataObject) -> None:
    body = path.read_bytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert outcome(pieces) == outcome([body])


def test_the_short_path_and_the_general_path_agree() -> None:
    """A chunk with an unusual field takes the general path: the same text must come out."""
    plain = (STREAMS / "text.sse").read_bytes()
    unusual = plain.replace(b'"delta":{"content"', b'"delta":{"x":1,"y":2,"content"')
    assert unusual != plain
    assert stream(unusual) == stream(plain)
