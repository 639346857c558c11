"""Streams of the Anthropic dialect: recorded bytes in, typed events out, whatever the cuts of the network are."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testkit.claude_calls import CONTEXT, FIXTURES, decode, decoded_fixture, events, request, response_of
from unified_llm import (
    ContextLengthError,
    OverloadedError,
    RateLimitError,
    ResponseError,
    StreamInterruptedError,
    UnifiedLLMError,
)
from unified_llm.codecs.anthropic_messages import AnthropicMessages
from unified_llm.messages import Native, Opaque, Text, Thinking, ToolCall
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

BOTH = sorted(
    p.stem for p in FIXTURES.glob("*.json") if (FIXTURES / f"{p.stem}.sse").exists() and "llamacpp" not in p.stem
)
ENDLESS = ["cut", "cut_before_message_stop", "error_overloaded", "error_before_any_text"]
COMPLETE = sorted(p.stem for p in FIXTURES.glob("*.sse") if p.stem not in ENDLESS)


def sse(name: str) -> bytes:
    return (FIXTURES / f"{name}.sse").read_bytes()


def native_of(part: object) -> Native | None:
    found = getattr(part, "native", None)
    return found if isinstance(found, Native) else None


def outcome(chunks: list[bytes]) -> tuple[list[StreamEvent], type[UnifiedLLMError] | None]:
    """Events, and the class of the error that ended them."""
    decoder = AnthropicMessages().decoder({}, request(stream=True), CONTEXT)
    found: list[StreamEvent] = []
    try:
        for chunk in chunks:
            found.extend(decoder.feed(chunk))
        found.extend(decoder.close())
    except UnifiedLLMError as exc:
        return found, type(exc)
    return found, None


@pytest.mark.parametrize("name", [*COMPLETE, *ENDLESS])
def test_events_are_the_same_when_every_byte_arrives_alone(name: str) -> None:
    data = sse(name)
    assert outcome([data[i : i + 1] for i in range(len(data))]) == outcome([data])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([*COMPLETE, *ENDLESS]), st.lists(st.integers(0, 5000), max_size=12), st.booleans())
def test_events_are_the_same_wherever_the_bytes_are_cut(name: str, cuts: list[int], crlf: bool) -> None:
    data = sse(name)
    whole = outcome([data])
    if crlf:
        data = data.replace(b"\n", b"\r\n")
    points = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    assert outcome([data[a:b] for a, b in itertools.pairwise(points)]) == whole


@pytest.mark.parametrize("name", BOTH)
def test_a_streamed_answer_equals_the_whole_one_part_by_part_and_block_by_block(name: str) -> None:
    streamed = response_of(events([sse(name)]))
    whole = decoded_fixture(name)
    assert streamed.text == whole.text
    assert streamed.finish_reason == whole.finish_reason
    assert streamed.usage.to_dict() == whole.usage.to_dict()
    assert (streamed.model, streamed.response_id, streamed.request_id) == (
        whole.model,
        whole.response_id,
        whole.request_id,
    )
    assert len(streamed.message.parts) == len(whole.message.parts)
    for one, other in zip(streamed.message.parts, whole.message.parts, strict=True):
        assert type(one) is type(other)
        one_native, other_native = native_of(one), native_of(other)
        assert one_native is not None
        assert other_native is not None
        assert normalized(one_native.raw) == normalized(other_native.raw)


def normalized(raw: object) -> object:
    """``"citations": []`` and null are the same to the API; a stream starts with the former."""
    assert isinstance(raw, dict)
    return {k: (v or None if k == "citations" else v) for k, v in raw.items()}


def test_a_thinking_turn_with_parallel_tool_calls_gives_these_events() -> None:
    found = events([sse("parallel_tool_calls")])
    kinds = [type(e).__name__ for e in found]
    assert kinds[:3] == ["StreamStart", "UsageUpdate", "ThinkingDelta"]
    assert [e.index for e in found if isinstance(e, ThinkingDelta)] == [0] * 5
    starts = [e for e in found if isinstance(e, ToolCallStart)]
    assert [(e.name, e.index) for e in starts] == [("get_weather", 2), ("get_weather", 3)]
    text = "".join(e.arguments for e in found if isinstance(e, ToolCallDelta) and e.index == 3)
    assert json.loads(text) == {"city": "Ōsaka", "days": [1, 2], "opts": {"a": None}}
    ends = [e.part for e in found if isinstance(e, PartEnd)]
    assert [type(p) for p in ends] == [Thinking, Text, ToolCall, ToolCall]
    assert isinstance(ends[0], Thinking)
    assert ends[0].signature is not None
    assert ends[0].signature.startswith("EqQB")
    assert found[-1] == Finish(FinishReason.TOOL_CALLS, "tool_use")
    assert isinstance(found[-2], UsageUpdate)


def test_start_carries_the_model_the_message_id_and_the_request_id() -> None:
    assert events([sse("text")])[0] == StreamStart("claude-sonnet-5-5", "msg_01TEXT", "req_1")


def test_text_that_is_cut_inside_a_character_arrives_whole() -> None:
    data = sse("text")
    cut = data.index("👋".encode()) + 2
    found = events([data[:cut], data[cut:]])
    assert "".join(e.text for e in found if isinstance(e, TextDelta)) == "Bonjour ! Ça va ? 你好 👋🏽 — enchanté."


def test_a_redacted_block_and_omitted_thinking_are_kept_with_their_data() -> None:
    parts = response_of(events([sse("redacted_thinking")])).message.parts
    assert isinstance(parts[1], Thinking)
    assert parts[1].redacted is not None
    assert parts[1].redacted.startswith("EmwKAhgB")
    omitted = response_of(events([sse("thinking_omitted")])).message.parts[0]
    assert isinstance(omitted, Thinking)
    assert (omitted.text, bool(omitted.signature)) == ("", True)


def test_citations_come_as_events_and_stay_on_the_text() -> None:
    found = events([sse("citations")])
    cited = [e.citation["type"] for e in found if isinstance(e, CitationDelta)]
    assert cited == ["char_location", "page_location"]
    part = response_of(found).message.parts[1]
    assert isinstance(part, Text)
    assert [c["cited_text"] for c in part.citations] == ["Sales rose by 12 %.", "twelve per cent"]


def test_server_tool_blocks_are_opaque_and_rebuilt() -> None:
    parts = response_of(events([sse("web_search")])).message.parts
    opaque = [p for p in parts if isinstance(p, Opaque)]
    assert [p.type for p in opaque] == ["server_tool_use", "web_search_tool_result"]
    assert opaque[0].native.raw["input"] == {"query": "claude shannon birth date"}


def test_a_compaction_block_is_joined_from_deltas_of_a_kind_nobody_knew() -> None:
    found = events([sse("compaction")])
    part = response_of(found).message.parts[0]
    assert isinstance(part, Opaque)
    assert part.native.raw == {"type": "compaction", "content": "Summary: we talked.", "encrypted": "abc"}
    assert found[-1] == Finish(FinishReason.PAUSE, "compaction")


def test_unknown_events_pings_and_deltas_do_not_disturb() -> None:
    assert response_of(events([sse("unknown_events")])).text == response_of(events([sse("text")])).text


def test_a_call_without_arguments_has_an_empty_object() -> None:
    call = response_of(events([sse("tool_call_without_arguments")])).tool_calls[0]
    assert call.arguments == {}


def test_a_call_cut_by_max_tokens_keeps_its_text_and_says_what_is_wrong() -> None:
    response = response_of(events([sse("tool_call_cut_by_max_tokens")]))
    call = response.tool_calls[0]
    assert call.arguments is None
    assert call.arguments_json.startswith('{"city": "Paris"')
    assert call.native is None
    assert response.finish_reason is FinishReason.LENGTH


def test_usage_is_complete_when_the_last_event_repeats_only_the_output() -> None:
    usage = response_of(events([sse("usage_only_output_in_delta")])).usage
    assert usage.to_dict() == {
        "input_tokens": 21 + 188 + 4096,
        "output_tokens": 393,
        "cache_read_tokens": 4096,
        "cache_write_tokens": 188,
        "total_tokens": 21 + 188 + 4096 + 393,
    }


def test_an_error_event_is_typed_and_what_came_before_is_delivered() -> None:
    decoder = AnthropicMessages().decoder({}, request(stream=True), CONTEXT)
    found: list[StreamEvent] = []

    def drain() -> None:
        for event in decoder.feed(sse("error_overloaded")):
            found.append(event)  # noqa: PERF402  # what came before the error must be there after it

    with pytest.raises(OverloadedError) as caught:
        drain()
    assert caught.value.status == 529
    assert caught.value.code == "overloaded_error"
    assert caught.value.request_id == "req_011CQsMfK"
    assert caught.value.retryable
    assert any(isinstance(e, TextDelta) for e in found)


def test_an_error_before_any_text_is_the_error_it_names() -> None:
    with pytest.raises(RateLimitError, match="rate limit") as caught:
        events([sse("error_before_any_text")])
    assert caught.value.status == 429


@pytest.mark.parametrize("name", ["cut", "cut_before_message_stop"])
def test_a_stream_without_message_stop_is_interrupted(name: str) -> None:
    with pytest.raises(StreamInterruptedError, match="before the message was complete") as caught:
        events([sse(name)])
    assert caught.value.retryable
    assert caught.value.hint


def test_an_empty_body_is_interrupted_before_its_first_event() -> None:
    with pytest.raises(StreamInterruptedError, match="before its first event"):
        events([b""])


def test_an_html_page_instead_of_a_stream_is_named_as_such() -> None:
    with pytest.raises(ResponseError, match="HTML page"):
        events([b"<!doctype html><html><title>Login</title>"])


def test_an_error_object_with_a_success_status_is_its_error() -> None:
    body = {"error": {"code": 400, "type": "exceed_context_size_error", "message": "request exceeds the context size"}}
    with pytest.raises(ContextLengthError):
        events([json.dumps(body).encode()])


def test_half_an_event_that_is_no_json_is_a_response_error() -> None:
    with pytest.raises(ResponseError, match="not JSON"):
        events([b'event: message_start\ndata: {"type": "mess\n\n'])


def test_a_server_that_ignores_stream_gives_the_same_answer_at_once() -> None:
    found = events([(FIXTURES / "parallel_tool_calls.json").read_bytes()])
    whole = decoded_fixture("parallel_tool_calls")
    streamed = response_of(found)
    assert streamed.message.parts == whole.message.parts
    assert streamed.finish_reason is FinishReason.TOOL_CALLS
    assert streamed.usage == whole.usage


def test_llamacpp_streams_are_read() -> None:
    found = events([sse("llamacpp_text")], request(model="tiny-chat", stream=True))
    assert found[-1] == Finish(FinishReason.LENGTH, "max_tokens")
    assert response_of(found).usage.output_tokens == 5
    call = response_of(events([sse("llamacpp_tool_call")], request(model="tiny-chat"))).tool_calls[0]
    assert (call.name, set(call.arguments or {})) == ("f", {"a"})


def test_a_server_that_forgets_to_end_its_blocks_still_gives_parts() -> None:
    data = b"".join(e + b"\n\n" for e in sse("text").split(b"\n\n") if b"content_block_stop" not in e and e)
    assert [type(e.part) for e in events([data]) if isinstance(e, PartEnd)] == [Text]


def test_a_tool_input_that_comes_whole_with_its_start_is_kept() -> None:
    block = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
    messages = [
        {"type": "message_start", "message": {"model": "m", "id": "1", "usage": {}}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ]
    found = events([b"".join(b"data: " + json.dumps(m).encode() + b"\n\n" for m in messages)])
    assert [e.arguments for e in found if isinstance(e, ToolCallDelta)] == ['{"a":1}']
    assert response_of(found).tool_calls[0].arguments == {"a": 1}


def stream_of(*messages: object) -> list[StreamEvent]:
    return events([b"".join(b"data: " + json.dumps(m).encode() + b"\n\n" for m in messages)])


def test_what_a_stream_says_of_its_end_is_kept_as_the_whole_answer_has_it() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    container = {"id": "container_1", "expires_at": "2026-11-21T12:00:00Z"}
    lost = {"type": "thinking", "reason": "of another model"}
    found = stream_of(
        {"type": "message_start", "message": {"model": "m", "container": {"id": "old"}}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "refusal", "stop_details": details, "container": container},
        },
        {"type": "message_stop"},
    )
    expected = {"stop_details": details, "container": container}
    assert found[-1] == Finish(FinishReason.REFUSAL, "refusal", expected)
    assert response_of(found).finish_details == expected
    message = {"type": "message", "content": [], "stop_reason": "refusal", **expected, "input_transformations": [lost]}
    assert decode(message).finish_details == expected
    whole_to_a_stream = events([json.dumps(message).encode()])
    assert response_of(whole_to_a_stream).finish_details == expected
    assert decoded_fixture("text").finish_details is None


def test_what_the_server_left_out_of_the_history_is_told_of_streams_too() -> None:
    decoder = AnthropicMessages().decoder({}, request(stream=True), CONTEXT)
    message = {"model": "m", "input_transformations": [{"type": "thinking", "reason": "of another model"}]}
    list(decoder.feed(b"data: " + json.dumps({"type": "message_start", "message": message}).encode() + b"\n\n"))
    assert [(a.kind, a.what) for a in decoder.adjustments] == [("lost", "thinking")]


def test_fields_of_other_types_cost_nothing_but_themselves() -> None:
    found = stream_of(
        {"type": "message_start", "message": 5},
        {"type": "message_start", "message": {"model": 5, "id": [1], "usage": "x", "content": 7}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": 5, "citations": 5}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}},
        {"type": "content_block_delta", "index": 0, "delta": "x"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {"a": 1}}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "kept"}},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "name": 5, "id": 5}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": 5}},
        {"type": "message_delta", "delta": "x", "usage": 5},
        {"type": "message_delta", "delta": {"stop_reason": ["x"], "stop_sequence": {}}},
        {"type": "message_stop"},
    )
    response = response_of(found)
    assert (response.text, response.model, response.finish_reason) == ("kept", None, None)


def test_fields_of_other_types_in_a_whole_answer_cost_nothing_but_themselves() -> None:
    block = {"type": "text", "text": "kept", "citations": 5}
    odd = {"model": 5, "id": 5, "usage": "x", "stop_reason": [1], "stop_sequence": 5, "content": [block]}
    response = decode(odd)
    assert (response, response.usage, response.finish_reason) == ("kept", Usage(), None)
