"""The core's answers as LangChain messages: whole, in chunks, and as protocol events, all saying the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.utils.json import parse_partial_json
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream

from langchain_unified_llm import core_to_lc
from langchain_unified_llm.stream_chunks import ChunkWriter, unrepairable
from langchain_unified_llm.stream_protocol import EventWriter
from unified_llm import ChatResponse, FinishReason, Message, Native, Opaque, Origin, Text, Thinking, ToolCall, Usage
from unified_llm.responses import Adjustment, Attempt
from unified_llm.stream import events_of

ORIGIN = Origin("claude", "anthropic", "m-1")
SIGNED = Thinking("hmm", "sig", native=Native("anthropic", {"type": "thinking", "thinking": "hmm", "signature": "sig"}))
CALL = ToolCall("add", {"a": 1, "b": [2, "é"]}, "call_1")
SECOND = ToolCall("look", "", "call_2")


def response(*parts: Any, **details: Any) -> ChatResponse:
    given = {
        "model": "m-1-served",
        "provider": "claude",
        "finish_reason": FinishReason.STOP,
        "usage": Usage(10, 20, 4, 3, 5),
        "response_id": "msg_1",
        "request_id": "req_1",
        "cost": 0.25,
        "latency": 0.5,
    }
    return ChatResponse(Message("assistant", parts, origin=ORIGIN), **(given | details))


def streamed(answer: ChatResponse, *, v1: bool) -> AIMessageChunk:
    writer = ChunkWriter(v1=v1)
    written = [writer.write(event) for event in events_of(answer)]
    first, *rest = [w.message for w in written if w is not None]
    assert isinstance(first, AIMessageChunk)
    whole = first + rest
    assert isinstance(whole, AIMessageChunk)
    return whole


def as_events(answer: ChatResponse) -> list[dict[str, Any]]:
    writer = EventWriter("anthropic", "lc_run--1")
    return [written for event in events_of(answer) for written in writer.write(event)]


ANSWERS = {
    "text": (Text("Four."),),
    "thinking": (SIGNED, Text("Four.")),
    "calls": (Text("Let me see."), CALL, SECOND),
    "thinking and calls": (SIGNED, Text("Let me see."), CALL, Thinking("more", "sig2"), SECOND),
    "opaque": (Opaque(Native("anthropic", {"type": "server_tool_use", "id": "s"})), Text("Found.")),
    "empty": (),
}
answers = pytest.mark.parametrize("parts", ANSWERS.values(), ids=ANSWERS.keys())


@answers
@pytest.mark.parametrize("v1", [False, True], ids=["v0", "v1"])
def test_the_chunks_of_a_stream_add_up_to_the_whole_message(parts: tuple[Any, ...], v1: bool) -> None:
    answer = response(*parts)
    whole, added = core_to_lc.message(answer, v1=v1), streamed(answer, v1=v1)
    assert added.text == whole.text
    assert added.tool_calls == whole.tool_calls
    assert added.invalid_tool_calls == []
    assert added.usage_metadata == whole.usage_metadata
    assert added.response_metadata == whole.response_metadata
    assert added.additional_kwargs == whole.additional_kwargs
    assert added.id == whole.id == "msg_1"
    assert added.chunk_position == "last"
    assert _without_index(added.content_blocks) == _without_index(whole.content_blocks)


@answers
def test_protocol_events_are_valid_and_say_the_same_as_the_whole_message(parts: tuple[Any, ...]) -> None:
    answer = response(*parts)
    events = as_events(answer)
    assert_valid_event_stream(events)
    start, *_, finish = events
    assert start == {
        "event": "message-start",
        "role": "ai",
        "id": "msg_1",
        "metadata": {"provider": "anthropic", "model": "m-1-served"},
    }
    whole = core_to_lc.message(answer, v1=True)
    contents = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert contents == whole.content
    assert finish["usage"] == whole.usage_metadata
    assert finish["metadata"] | {"output_version": "v1"} == whole.response_metadata
    assert finish.get("additional_kwargs", {}) == whole.additional_kwargs


def _without_index(blocks: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in block.items() if k != "index"} for block in blocks]


def test_every_v1_block_of_a_stream_has_the_index_of_its_part() -> None:
    answer = response(SIGNED, Text("Let me see."), CALL, SECOND)
    writer = ChunkWriter(v1=True)
    seen = [
        (block["type"], block["index"])
        for event in events_of(answer)
        if (written := writer.write(event)) is not None
        for block in written.message.content
        if isinstance(block, dict)
    ]
    assert set(seen) == {("reasoning", 0), ("text", 1), ("tool_call_chunk", 2), ("tool_call_chunk", 3)}


def test_the_text_of_an_answer_is_its_content_whatever_else_is_in_it() -> None:
    message = core_to_lc.message(response(SIGNED, Text("Let me see."), CALL))
    assert message.content == "Let me see."
    assert message.additional_kwargs["reasoning_content"] == "hmm"


def test_a_plain_answer_carries_nothing_but_its_text() -> None:
    assert core_to_lc.message(response(Text("Four."))).additional_kwargs == {}


def test_usage_has_its_details_and_is_absent_rather_than_zero_when_the_server_said_nothing() -> None:
    assert core_to_lc.usage_metadata(Usage(10, 20, 4, 3, 5)) == {
        "input_tokens": 10,
        "output_tokens": 20,
        "total_tokens": 30,
        "input_token_details": {"cache_read": 4, "cache_creation": 3},
        "output_token_details": {"reasoning": 5},
    }
    assert core_to_lc.usage_metadata(Usage()) is None
    assert core_to_lc.usage_metadata(Usage(input_tokens=10)) is None


def test_metadata_names_vendor_and_served_model_and_what_could_not_be_done() -> None:
    adjusted = response(Text("x"), adjustments=(Adjustment("dropped", "temperature", "this model has none"),))
    assert core_to_lc.response_metadata(adjusted) == {
        "model_name": "m-1-served",
        "model_provider": "anthropic",
        "finish_reason": "stop",
        "request_id": "req_1",
        "cost": 0.25,
        "latency": 0.5,
        "integration": "unified-llm",
        "adjustments": [{"kind": "dropped", "what": "temperature", "reason": "this model has none"}],
    }


def test_metadata_tell_what_failed_before_how_it_ended_and_whether_it_was_kept() -> None:
    answer = response(
        Text("x"),
        attempts=(Attempt("openai", "m-2", "RateLimitError", "too many requests", 429),),
        finish_details={"container": {"id": "c_1"}},
        cached=True,
    )
    metadata = core_to_lc.response_metadata(answer)
    assert metadata["attempts"] == [
        {"provider": "openai", "model": "m-2", "error": "RateLimitError", "reason": "too many requests", "status": 429}
    ]
    assert (metadata["finish_details"], metadata["cached"]) == ({"container": {"id": "c_1"}}, True)


def test_a_message_is_json_safe() -> None:
    message = core_to_lc.message(response(SIGNED, Text("x"), CALL))
    assert AIMessage(**json.loads(message.model_dump_json())) == message


def test_standard_blocks_are_complete_under_the_name_of_every_vendor() -> None:
    for provider in ("claude", "openai", "lmstudio", "nobody"):
        for parts in ((SIGNED, Text("Hm."), CALL), (CALL,), (Text("Hm."), CALL, SECOND)):
            message = core_to_lc.message(response(*parts, provider=provider))
            kinds = [block["type"] for block in message.content_blocks]
            assert kinds == [
                {Thinking: "reasoning", Text: "text", ToolCall: "tool_call"}[type(part)] for part in parts
            ], provider


def test_messages_of_other_integrations_pass_the_translators_untouched() -> None:
    content: list[str | dict[Any, Any]] = [{"type": "text", "text": "Hm."}]
    call = {"name": "add", "args": {}, "id": "x", "type": "tool_call"}
    message = AIMessage(content, tool_calls=[call], response_metadata={"model_provider": "anthropic"})
    assert message.content_blocks == [{"type": "text", "text": "Hm."}]


def test_citations_become_annotations() -> None:
    citation = {"type": "char_location", "cited_text": "x"}
    answer = response(Text("Four.", (citation,)))
    wanted = [{"type": "non_standard_annotation", "value": citation}]
    assert core_to_lc.message(answer, v1=True).content_blocks[0]["annotations"] == wanted  # type: ignore[typeddict-item]


# -- broken tool calls ----------------------------------------------------------------------------------------------


def test_arguments_that_are_no_json_object_never_become_a_call() -> None:
    broken = ToolCall("write", '{"path": "/data/ab', "call_1")
    answer = response(broken, finish_reason=FinishReason.LENGTH)
    for message in (core_to_lc.message(answer), streamed(answer, v1=False), streamed(answer, v1=True)):
        assert message.tool_calls == []
        (invalid,) = message.invalid_tool_calls
        assert (invalid["id"], invalid["name"]) == ("call_1", "write")
        assert str(invalid["args"]).startswith('{"path": "/data/ab')
    finish = next(e for e in as_events(answer) if e["event"] == "content-block-finish")
    assert finish["content"]["type"] == "invalid_tool_call"


json_objects = st.dictionaries(
    st.text(max_size=6),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    ),
    min_size=1,
    max_size=4,
)


@given(json_objects, st.data())
def test_langchain_cannot_mend_cut_arguments_after_the_closer(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    closed = cut + unrepairable(cut)
    try:
        mended = parse_partial_json(closed)
    except ValueError:
        return
    assert not isinstance(mended, dict)


def test_a_call_without_arguments_is_a_call_with_none() -> None:
    for v1 in (False, True):
        added = streamed(response(ToolCall("now", "", "call_1")), v1=v1)
        assert added.tool_calls == [{"name": "now", "args": {}, "id": "call_1", "type": "tool_call"}]
