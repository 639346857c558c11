"""Ollama's own dialect, as pure translation: what is sent, what is recorded, what comes back."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from testkit.openai_wire import ADD, MUL, PNG, SCHEMA, ask
from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.ollama_chat import OllamaChatCodec
from unified_llm.errors import (
    InvalidMessageError,
    InvalidRequestError,
    ResponseError,
    ServerError,
    UnsupportedOptionError,
)
from unified_llm.messages import (
    Audio,
    File,
    Image,
    Message,
    Native,
    Opaque,
    Origin,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from unified_llm.profiles import PROFILES
from unified_llm.requests import ChatRequest, ResponseFormat
from unified_llm.responses import ChatResponse, FinishReason
from unified_llm.stream import Finish
from unified_llm.tools import Tool, ToolChoice, normalize_tool
from unified_llm.wire import WireReply

CONTEXT = CodecContext("ollama", PROFILES["ollama-native"])
CODEC = OllamaChatCodec()


def body_of(request: ChatRequest, codec: OllamaChatCodec = CODEC) -> dict[str, Any]:
    """The decoded body of the call."""
    call = codec.encode(request, CONTEXT)
    assert call.path == "api/chat"
    assert call.body is not None
    body: dict[str, Any] = _json.loads(call.body)
    return body


def sent(model: str = "m", **options: Any) -> dict[str, Any]:
    """The body without what every call has."""
    body = body_of(ask(model=model, **options))
    return {k: v for k, v in body.items() if k not in ("model", "messages", "stream", "truncate")}


def said(request: ChatRequest) -> list[tuple[str, str]]:
    """(kind, what) of every adjustment; each must have a reason."""
    adjustments = CODEC.encode(request, CONTEXT).adjustments
    assert all(a.reason for a in adjustments)
    return [(a.kind, a.what) for a in adjustments]


def wires(messages: Sequence[Message]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body_of(ask(messages))["messages"]
    return found


def decode(value: Any, request: ChatRequest | None = None) -> ChatResponse:
    body = value if isinstance(value, bytes) else _json.dumps(value)
    return CODEC.decode(WireReply(200, {"content-type": "application/json"}, body), request or ask(), CONTEXT)


def answer(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", **message}, "done": True, "done_reason": "stop", **more}


# -- options ----------------------------------------------------------------------------------------------------------


def test_options_go_into_their_own_object_under_the_servers_names() -> None:
    asked: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "seed": 7,
        "presence_penalty": 0.3,
    }
    options = sent(**asked, frequency_penalty=0.2, max_tokens=50, stop_sequences=["END"])["options"]
    assert options == {**asked, "frequency_penalty": 0.2, "num_predict": 50, "stop": ["END"]}


def test_a_plain_question_asks_for_nothing_but_an_answer_and_no_silent_truncation() -> None:
    body = body_of(ask("Hi"))
    assert body == {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": False, "truncate": False}
    assert body_of(ask("Hi", stream=True))["stream"] is True


def test_the_window_and_the_time_in_memory_are_sent_only_when_asked_for() -> None:
    own = {"ollama": {"num_ctx": 8192, "repeat_penalty": 1.1, "keep_alive": "1h"}}
    assert sent(temperature=0, provider_options=own) == {
        "options": {"temperature": 0, "num_ctx": 8192, "repeat_penalty": 1.1},
        "keep_alive": "1h",
    }
    assert "options" not in sent()


def test_the_providers_defaults_give_way_to_the_call() -> None:
    codec = OllamaChatCodec(defaults={"keep_alive": -1, "options": {"num_ctx": 4096}})
    body = body_of(ask(provider_options={"ollama": {"options": {"num_ctx": 512}}}), codec)
    assert (body["keep_alive"], body["options"]) == (-1, {"num_ctx": 512})


def test_logprobs_have_fields_of_their_own() -> None:
    assert sent(logprobs=True) == {"logprobs": True}
    assert sent(logprobs=3) == {"logprobs": True, "top_logprobs": 3}


@pytest.mark.parametrize(
    ("option", "value"),
    [("user", "u1"), ("parallel_tool_calls", False), ("prompt_caching", True), ("no_such_option", 1)],
)
def test_what_the_server_does_not_have_is_recorded_and_refused_on_demand(option: str, value: Any) -> None:
    assert sent(**{option: value}) == {}
    assert said(ask(**{option: value})) == [("dropped", option)]
    with pytest.raises(UnsupportedOptionError, match=option):
        CODEC.encode(ask(**{option: value}, on_unsupported="error"), CONTEXT)


@pytest.mark.parametrize(
    ("options", "think", "recorded"),
    [
        ({"thinking": True}, True, []),
        ({"thinking": False}, False, []),
        ({"effort": "none"}, False, []),
        ({"effort": "low"}, "low", []),
        ({"thinking": True, "effort": "max"}, "max", []),
        ({"effort": "minimal"}, "low", [("changed", "effort")]),
        ({"effort": "xhigh"}, "high", [("changed", "effort")]),
        ({"thinking": 1024}, "low", [("changed", "thinking")]),
        ({"thinking": 100_000}, "high", [("changed", "thinking")]),
    ],
)
def test_thinking_is_a_switch_or_a_level(options: dict[str, Any], think: bool | str, recorded: list[Any]) -> None:
    assert sent(**options) == {"think": think}
    assert said(ask(**options)) == recorded


def test_gpt_oss_has_levels_and_no_switch() -> None:
    assert sent("gpt-oss:20b", thinking=True) == {"think": "medium"}
    assert sent("gpt-oss:20b", effort="max") == {"think": "high"}
    assert sent("gpt-oss:20b", thinking=False) == {}
    assert said(ask(model="gpt-oss:20b", thinking=False)) == [("dropped", "thinking")]


# -- structured output ------------------------------------------------------------------------------------------------


def test_a_schema_is_the_format_itself() -> None:
    assert body_of(ask(response_format=ResponseFormat(SCHEMA)))["format"] == SCHEMA


def test_json_without_a_schema_is_a_word_and_an_instruction() -> None:
    body = body_of(ask(response_format=ResponseFormat()))
    assert body["format"] == "json"
    assert "JSON" in body["messages"][0]["content"]


def test_a_format_leaves_room_for_tool_calls() -> None:
    request = ask(tools=(ADD,), response_format=ResponseFormat(SCHEMA))
    assert "format" not in body_of(request)
    assert ("changed", "response_format") in said(request)


# -- tools ------------------------------------------------------------------------------------------------------------


def names(**fields: Any) -> list[str]:
    return [t["function"]["name"] for t in body_of(ask(**fields)).get("tools", [])]


def test_a_choice_of_tools_is_made_by_sending_them_or_not() -> None:
    both = (ADD, MUL)
    assert names(tools=both, tool_choice=ToolChoice("auto")) == ["add", "mul"]
    assert names(tools=both, tool_choice=ToolChoice("none")) == []
    assert names(tools=both, tool_choice=ToolChoice("tool", "mul")) == ["mul"]
    assert said(ask(tools=both, tool_choice=ToolChoice("required"))) == [("dropped", "tool_choice")]
    with pytest.raises(InvalidRequestError, match="no_such"):
        CODEC.encode(ask(tools=both, tool_choice=ToolChoice("tool", "no_such")), CONTEXT)


class Street(BaseModel):
    name: str
    number: int | None = None


class Address(BaseModel):
    street: Street
    others: list[Street]


class Tree(BaseModel):
    children: list[Tree]


def test_references_in_a_schema_are_put_in_place_because_the_server_forgets_them() -> None:
    parameters = body_of(ask(tools=(normalize_tool(Address),)))["tools"][0]["function"]["parameters"]
    street = parameters["properties"]["street"]
    assert street["properties"]["name"]["type"] == "string"
    assert parameters["properties"]["others"]["items"] == street
    assert "$ref" not in str(parameters)
    assert said(ask(tools=(normalize_tool(Address),))) == []


def test_a_schema_that_contains_itself_ends_somewhere_and_says_so() -> None:
    request = ask(tools=(normalize_tool(Tree),))
    assert "$ref" not in str(body_of(request))
    assert said(request) == [("changed", "tools[Tree]")]


def test_words_the_server_does_not_know_become_those_it_knows() -> None:
    kinds = {"oneOf": [{"const": "a"}, {"allOf": [{"type": "integer"}], "description": "n"}]}
    tool = Tool("t", "", {"type": "object", "properties": {"x": kinds}})
    sent_x = body_of(ask(tools=(tool,)))["tools"][0]["function"]["parameters"]["properties"]["x"]
    assert sent_x == {"anyOf": [{"enum": ["a"]}, {"type": "integer", "description": "n"}]}


def test_parameters_may_be_called_like_words_of_a_schema() -> None:
    named = {word: {"type": "string", "default": {"const": 1}} for word in ("const", "oneOf", "allOf", "$ref")}
    tool = Tool("t", "", {"type": "object", "properties": named, "required": ["const"]})
    parameters = body_of(ask(tools=(tool,)))["tools"][0]["function"]["parameters"]
    assert parameters == {"type": "object", "properties": named, "required": ["const"]}


def test_a_reference_inside_all_of_keeps_its_description() -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"allOf": [{"$ref": "#/definitions/X"}], "description": "an x"}},
        "definitions": {"X": {"type": "string", "enum": ["a"]}},
    }
    parameters = body_of(ask(tools=(Tool("t", "", schema),)))["tools"][0]["function"]["parameters"]
    assert parameters["properties"] == {"x": {"type": "string", "enum": ["a"], "description": "an x"}}
    assert "definitions" not in parameters


def test_parameters_always_have_a_type_and_properties() -> None:
    for schema in ({}, {"type": "object"}):
        parameters = body_of(ask(tools=(Tool("t", "", schema),)))["tools"][0]["function"]["parameters"]
        assert parameters == {"type": "object", "properties": {}}


# -- messages ---------------------------------------------------------------------------------------------------------


def test_images_stand_beside_the_text_as_base64() -> None:
    (wire,) = wires([Message("user", [Text("What is it?"), Image(data=PNG, media_type="image/png")])])
    assert wire == {"role": "user", "content": "What is it?", "images": [base64.b64encode(PNG).decode()]}


@pytest.mark.parametrize("image", [Image(url="https://example.com/a.png"), Image(file_id="f1")])
def test_an_image_that_must_be_fetched_is_refused_with_a_way_out(image: Image) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        wires([Message("user", image)])
    assert "Image(data=" in (caught.value.hint or "")


def test_documents_go_into_the_text_and_sounds_leave_a_mark() -> None:
    parts: list[Part] = [File(data=b"a,b", media_type="text/csv", name="t.csv"), Audio(data=b"RIFF")]
    (wire,) = wires([Message("user", parts)])
    assert 't.csv">\na,b' in wire["content"]
    assert "[audio not sent" in wire["content"]
    assert said(ask([Message("user", parts)])) == [("changed", "messages[0].file"), ("lost", "messages[0].audio")]


def test_a_tool_loop_names_the_tool_and_the_call_in_its_result() -> None:
    call = ToolCall("add", {"b": 2, "a": 1}, "call_1")
    turns = wires(
        [Message("user", "1+2"), Message("assistant", tool_call=call), Message("tool", ToolResult("call_1", "3"))]
    )
    assert turns[1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_1", "function": {"name": "add", "arguments": {"b": 2, "a": 1}}}],
        },
        {"role": "tool", "content": "3", "tool_name": "add", "tool_call_id": "call_1"},
    ]


def test_an_error_of_a_tool_says_so_and_its_images_follow() -> None:
    results = [ToolResult("c1", "it broke", is_error=True), ToolResult("c2", [Image(data=PNG, media_type="image/png")])]
    history = [
        Message("user", "x"),
        Message("assistant", tool_call=[ToolCall("add", {}, "c1"), ToolCall("mul", {}, "c2")]),
        Message("tool", tool_result=results),
    ]
    turns = wires(history)
    assert turns[2]["content"] == "Error: it broke"
    assert turns[3]["tool_name"] == "mul"
    assert turns[4]["role"] == "user"
    assert len(turns[4]["images"]) == 1
    assert said(ask(history)) == [("changed", "messages[2].tool_result")]


def test_a_result_without_its_call_and_an_empty_history_are_errors() -> None:
    with pytest.raises(InvalidMessageError, match="no earlier message called"):
        wires([Message("tool", ToolResult("c9", "3"))])
    with pytest.raises(InvalidMessageError, match="no messages"):
        wires([])


def test_broken_arguments_are_sent_in_an_object_and_recorded() -> None:
    history = [Message("assistant", tool_call=ToolCall("add", '{"a": 1', "c1")), Message("user", "go on")]
    assert wires(history)[0]["tool_calls"][0]["function"]["arguments"] == {"invalid_arguments": '{"a": 1'}
    assert said(ask(history)) == [("changed", "messages[0].tool_call")]


def test_system_messages_are_joined_at_the_front() -> None:
    history = [Message("system", "A"), Message("user", "x"), Message("system", "B")]
    assert [m["content"] for m in wires(history)] == ["A\n\nB", "x"]
    assert said(ask(history)) == [("changed", "messages")]


def test_what_another_provider_made_is_translated_or_recorded_as_lost() -> None:
    foreign = Origin("claude", "anthropic-messages", "claude-sonnet-5-5")
    raw = {"type": "server_tool_use"}
    parts: list[Part] = [
        Thinking("Hm", signature="sig"),
        Text("It rains", citations=({"type": "page"},)),
        Opaque(Native("anthropic-messages", raw, "claude")),
        ToolCall("add", {"a": 1}, "toolu_1", native=Native("anthropic-messages", {"type": "tool_use"}, "claude")),
    ]
    history = [Message("assistant", parts, origin=foreign), Message("tool", ToolResult("toolu_1", "2"))]
    turn = wires(history)[0]
    assert turn["content"] == "It rains"
    assert "thinking" not in turn
    assert turn["tool_calls"] == [{"id": "toolu_1", "function": {"name": "add", "arguments": {"a": 1}}}]
    lost = [("lost", f"messages[0].{what}") for what in ("citations", "server_tool_use", "thinking")]
    assert sorted(said(ask(history))) == lost


# -- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_has_text_thinking_usage_and_durations() -> None:
    figures = {"prompt_eval_count": 26, "eval_count": 298, "total_duration": 4883583458, "eval_duration": 4535599000}
    response = decode(answer({"content": "Hello", "thinking": "Hm"}, **figures))
    assert (str(response), response.reasoning) == ("Hello", "Hm")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (26, 298)
    assert response.usage.native == figures
    assert response.finish_reason is FinishReason.STOP


def test_usage_that_is_not_told_is_unknown() -> None:
    usage = decode(answer({"content": "Hello"})).usage
    assert (usage.input_tokens, usage.output_tokens, usage.native) == (None, None, None)


@pytest.mark.parametrize(
    ("done_reason", "reason"),
    [("stop", "stop"), ("length", "length"), ("load", "other"), ("new-word", "other"), (None, None)],
)
def test_finish_reasons_keep_the_servers_word(done_reason: str | None, reason: str | None) -> None:
    response = decode(answer({"content": "x"}, done_reason=done_reason))
    assert response.finish_reason == reason
    assert response.native_finish_reason == done_reason


@pytest.mark.parametrize("odd", [[1], {}, 5])
def test_a_reason_or_a_model_that_is_no_text_is_unknown(odd: Any) -> None:
    response = decode(answer({"content": "x"}, done_reason=odd) | {"model": odd})
    assert (response, response.finish_reason, response.native_finish_reason) == ("x", None, None)
    line = _json.dumps(answer({"content": "x"}, done_reason=odd) | {"model": odd}) + b"\n"
    events = list(CODEC.decoder({}, ask(), CONTEXT).feed(line))
    assert events[-1] == Finish(None, None)


def test_thinking_left_in_the_text_is_split_off() -> None:
    response = decode(answer({"content": "<think>\nHm\n</think>\n\nHello"}))
    assert (response.reasoning, str(response)) == ("Hm", "Hello")


def test_calls_get_ids_where_the_server_gives_none_or_repeats_one() -> None:
    raw = [
        {"function": {"name": "add", "arguments": {"a": 1}}},
        {"id": "c1", "function": {"index": 1, "name": "add", "arguments": {"a": 2}}},
        {"id": "c1", "function": {"index": 2, "name": "add", "arguments": {}}},
    ]
    history = [Message("assistant", tool_call=ToolCall("add", {}, "c1")), Message("tool", ToolResult("c1", "1"))]
    response = decode(answer({"content": "", "tool_calls": raw}), ask(history))
    assert response.finish_reason is FinishReason.TOOL_CALLS
    assert [c.arguments for c in response.tool_calls] == [{"a": 1}, {"a": 2}, {}]
    assert len({"c1", *(c.id for c in response.tool_calls)}) == 4


def test_arguments_as_text_are_read_and_broken_ones_kept() -> None:
    raw = [{"function": {"name": "f", "arguments": a}} for a in ('{"a": 1}', "", '{"a"', None)]
    calls = decode(answer({"content": "", "tool_calls": raw})).tool_calls
    assert [c.arguments for c in calls] == [{"a": 1}, {}, None, {}]
    assert calls[2].arguments_json == '{"a"'
    assert calls[2].parse_error


def test_a_turn_of_the_server_returns_to_it_as_it_came() -> None:
    raw = {"id": "c1", "function": {"index": 0, "name": "add", "arguments": {"z": 1, "a": [2]}}}
    message = {"role": "assistant", "content": "Let me see", "thinking": "Hm", "tool_calls": [raw]}
    response = decode(answer(message))
    assert wires([response.message, Message("tool", ToolResult("c1", "3"))])[0] == message
    assert said(ask([response.message, Message("tool", ToolResult("c1", "3"))])) == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<html><title>Sign in</title></html>", ResponseError),
        (b'{"model": "m", "mess', ResponseError),
        (b"[1]", ResponseError),
        (b'{"model": "m"}', ResponseError),
        (b'{"error": "an error was encountered while running the model"}', ServerError),
    ],
)
def test_a_success_that_is_none_is_an_error(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        decode(body)
    assert caught.value.hint  # type: ignore[attr-defined]  # every error of the tree has one
