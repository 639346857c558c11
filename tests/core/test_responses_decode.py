"""Answers of the Responses API, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testkit.openai_wire import PNG
from testkit.responses_double import call, custom_call, message, picture, refusal, stream_events, thought, web_search
from testkit.responses_wire import answer, ask_responses, collect, decode, sse, stream
from unified_llm.errors import ContentFilterError, RateLimitError, ResponseError, ServerError, StreamInterruptedError
from unified_llm.messages import Image, Message, Opaque, Origin, Text, Thinking, ToolCall
from unified_llm.responses import ChatResponse, FinishReason
from unified_llm.stream import CitationDelta, Finish, PartEnd, StreamEvent, StreamStart, TextDelta, ThinkingDelta

CITATION = {"type": "url_citation", "start_index": 0, "end_index": 2, "title": "T", "url": "https://example.org"}
OUTPUT = [
    thought("first", "second"),
    web_search(),
    message("It ", "räins ☂.", annotations=[CITATION]),
    call("add", {"a": 1, "ö": "☂"}),
    call("add", "{}"),
    custom_call("sql", "select 1"),
    picture(PNG),
]


def cut(why: str) -> dict[str, Any]:
    """What an answer says that stopped for that reason."""
    return {"status": "incomplete", "incomplete_details": {"reason": why}}


@pytest.fixture(params=["whole", "streamed"])
def read(request: pytest.FixtureRequest) -> Any:
    def of(value: dict[str, Any], profile: str = "openai", asked: Any = None) -> ChatResponse:
        if request.param == "whole":
            return decode(value, profile, asked)
        return collect(stream(sse(value), profile, asked))

    return of


def test_every_kind_of_item_becomes_a_part_that_keeps_it(read: Any) -> None:
    response = read(answer(*OUTPUT))
    parts = response.message.parts
    assert [type(p) for p in parts] == [Thinking, Opaque, Text, ToolCall, ToolCall, ToolCall, Image]
    assert [p.native.raw for p in parts] == OUTPUT
    assert response.reasoning == "first\n\nsecond"
    assert response.text == "It räins ☂."
    assert parts[2].citations == (CITATION,)
    assert [(c.name, c.arguments, c.id) for c in response.tool_calls[:2]] == [
        ("add", {"a": 1, "ö": "☂"}, OUTPUT[3]["call_id"]),
        ("add", {}, OUTPUT[4]["call_id"]),
    ]
    assert response.tool_calls[2].arguments_json == "select 1"
    assert (parts[6].data, parts[6].media_type) == (PNG, "image/png")


def test_usage_ids_and_model(read: Any) -> None:
    response = read(answer(message("Hi")))
    assert (response.response_id, response.request_id, response.model) == ("resp_1", "req_1", "gpt-5-mini-1")
    assert response.usage.to_dict() == {
        "input_tokens": 20, "output_tokens": 9, "cache_read_tokens": 15, "cache_write_tokens": 3,
        "reasoning_tokens": 4, "total_tokens": 29,
    }  # fmt: skip


def test_a_whole_answer_says_where_it_was_made() -> None:
    assert decode(answer(message("Hi"))).message.origin == Origin("openai", "openai-responses", "gpt-5-mini")


def test_usage_that_is_missing_is_unknown(read: Any) -> None:
    assert read(answer(message("Hi"), usage=None)).usage.to_dict() == {}


@pytest.mark.parametrize(
    ("output", "fields", "reason", "native"),
    [
        ([message("Hi")], {}, FinishReason.STOP, "completed"),
        ([call("add")], {}, FinishReason.TOOL_CALLS, "completed"),
        ([refusal("No.")], {}, FinishReason.REFUSAL, "completed"),
        ([message("Hi")], cut("max_output_tokens"), FinishReason.LENGTH, "max_output_tokens"),
        ([message("Hi")], cut("content_filter"), FinishReason.CONTENT_FILTER, "content_filter"),
        ([message("Hi")], cut("steered"), FinishReason.OTHER, "steered"),
        ([message("Hi")], {"incomplete_details": None, "status": "incomplete"}, FinishReason.OTHER, "incomplete"),
        ([message("Hi")], {"status": "cancelled"}, FinishReason.CANCELLED, "cancelled"),
    ],
)  # fmt: skip
def test_finish_reasons(
    read: Any, output: list[Any], fields: dict[str, Any], reason: FinishReason, native: str
) -> None:
    response = read(answer(*output, **fields))
    assert (response.finish_reason, response.native_finish_reason) == (reason, native)


def test_a_refusal_is_text_and_goes_back_as_it_came(read: Any) -> None:
    item = refusal("No.")
    response = read(answer(item))
    assert response.text == "No."
    assert response.message.parts[0].native.raw == item


def test_a_call_that_was_cut_never_looks_complete(read: Any) -> None:
    item = call("add", "") | {"status": "incomplete"}
    response = read(answer(item, **cut("max_output_tokens")))
    assert response.finish_reason is FinishReason.LENGTH
    assert response.tool_calls[0].parse_error


def test_a_call_id_that_the_history_has_is_replaced_and_the_item_kept(read: Any) -> None:
    history = [Message("user", "?"), Message("assistant", None, tool_call=ToolCall("add", {}, "c1"))]
    item = call("add", "{}", "c1")
    found = read(answer(item, call("add", "{}", "c2")), "openai", ask_responses(history)).tool_calls
    assert found[0].id != "c1"
    assert found[0].native.raw == item
    assert found[1].id == "c2"


def test_reasoning_text_of_open_models_is_read(read: Any) -> None:
    item = thought(encrypted=False) | {"content": [{"type": "reasoning_text", "text": "We add."}]}
    assert read(answer(item, message("2"))).reasoning == "We add."


def test_llamacpp_calls_cut_answers_completed_and_is_not_believed(read: Any) -> None:
    value = answer(message("Hi"))
    limited = ask_responses(max_tokens=9, stream=True)
    assert read(value, "llamacpp", limited).finish_reason is FinishReason.LENGTH
    assert read(value, "llamacpp").finish_reason is FinishReason.STOP
    assert read(value, "openai", limited).finish_reason is FinishReason.STOP


def test_reasoning_that_the_server_withheld_is_an_adjustment() -> None:
    gone = [{"id": "rs_1", "type": "reasoning", "action": "removed", "reason": "model_mismatch"}]
    (adjustment,) = decode(answer(message("Hi"), input_transformations=gone)).adjustments
    assert (adjustment.kind, adjustment.what) == ("lost", "reasoning item rs_1")
    assert "model_mismatch" in adjustment.reason


# -- failures ---------------------------------------------------------------------------------------------------------

FAILED = {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow down"}}


def test_a_failed_response_is_its_error_and_keeps_what_was_said() -> None:
    with pytest.raises(RateLimitError, match="Slow down") as info:
        decode(answer(message("Half"), **FAILED))
    assert info.value.partial is not None
    assert info.value.partial.text == "Half"
    assert info.value.partial.finish_reason is FinishReason.ERROR
    with pytest.raises(RateLimitError) as info:
        decode(answer(**FAILED))
    assert info.value.partial is None


def test_a_failure_without_a_reason_is_still_one() -> None:
    with pytest.raises(Exception, match="failed without a reason"):
        decode(answer(status="failed"))


def test_an_error_in_the_stream_comes_after_the_events_before_it() -> None:
    told: list[StreamEvent] = []
    with pytest.raises(RateLimitError, match="Slow down"):
        stream(sse(answer(message("Half"), **FAILED)), into=told)
    assert "".join(e.text for e in told if isinstance(e, TextDelta)) == "Half"


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (
            {"type": "error", "code": "server_error", "message": "Oops", "param": None, "sequence_number": 3},
            ServerError,
        ),
        (
            {"type": "error", "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "Oops"}},
            RateLimitError,
        ),
        ({"error": {"code": "content_policy_violation", "message": "Oops"}}, ContentFilterError),
    ],
)
def test_error_events(event: dict[str, Any], kind: type[Exception]) -> None:
    begin = sse(answer(message("Half"))).split(b"\n\n")
    data = b"\n\n".join([*begin[:5], b"event: error\ndata: " + json.dumps(event).encode(), b""])
    told: list[StreamEvent] = []
    with pytest.raises(kind, match="Oops"):
        stream(data, into=told)
    assert any(isinstance(e, TextDelta) for e in told)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b'{"id": "x"}', b'{"output": null}'])
def test_bodies_that_are_no_response_are_errors(body: bytes) -> None:
    with pytest.raises(ResponseError):
        decode(body)


def test_a_server_that_ignores_stream_is_understood() -> None:
    events = stream(json.dumps(answer(message("Hi"))).encode())
    assert collect(events).text == "Hi"
    with pytest.raises(RateLimitError):
        stream(json.dumps(FAILED).encode())
    with pytest.raises(ResponseError):
        stream(b"<html><title>Welcome</title>")
    with pytest.raises(ResponseError, match="not JSON"):
        stream(b"data: {nonsense\n\n")
    with pytest.raises(ResponseError, match="not an object"):
        stream(b"data: [1]\n\n")


# -- streams ----------------------------------------------------------------------------------------------------------


def test_the_order_of_events() -> None:
    events = stream(sse(answer(*OUTPUT)))
    assert isinstance(events[0], StreamStart)
    assert isinstance(events[-1], Finish)
    assert [e.index for e in events if isinstance(e, PartEnd)] == list(range(len(OUTPUT)))
    assert "".join(e.text for e in events if isinstance(e, ThinkingDelta)) == "first\n\nsecond"
    assert [e.index for e in events if isinstance(e, CitationDelta)] == [2]


def test_a_stream_cut_at_every_byte_says_the_same() -> None:
    data = sse(answer(thought("a"), message("ä ☂", annotations=[CITATION]), call("add", {"ö": 1}), usage=None))
    whole = stream(data)
    for place in range(1, len(data)):
        assert stream([data[:place], data[place:]]) == whole
    assert stream([data[i : i + 1] for i in range(len(data))]) == whole
    assert stream(data.replace(b"\n", b"\r\n")) == whole


def test_a_stream_that_ends_anywhere_before_its_last_event_is_interrupted() -> None:
    data = sse(answer(thought("hm"), message("It rains"), call("add", {"a": 1})))
    last = data.rindex(b"event: response.completed")
    for end in range(0, last, 11):
        told: list[StreamEvent] = []
        with pytest.raises(StreamInterruptedError) as info:
            stream(data[:end], into=told)
        assert info.value.hint
        response = collect(told)
        assert "It rains".startswith(response.text)
        done = any(isinstance(e, PartEnd) and isinstance(e.part, ToolCall) for e in told)
        assert all(done or c.parse_error or c.arguments == {"a": 1} for c in response.tool_calls)
    assert collect(stream(data.removesuffix(b"\n\n"))).text == "It rains"  # without the last blank line


def test_items_that_are_told_interleaved_are_kept_apart() -> None:
    events = list(stream_events(answer(call("add", {"a": 1}), call("mul", {"b": 2}))))
    first = [e for e in events if e.get("output_index") == 0]
    second = [e for e in events if e.get("output_index") == 1]
    mixed = [*events[:2], *(e for pair in zip(first, second, strict=True) for e in pair), events[-1]]
    response = collect(stream(b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in mixed)))
    assert [(c.name, c.arguments) for c in response.tool_calls] == [("add", {"a": 1}), ("mul", {"b": 2})]


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events)


def test_a_server_without_output_indices_that_repeats_its_beginning_is_understood() -> None:
    item = message("Hi")
    begin = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
    delta = {"type": "response.output_text.delta", "item_id": item["id"], "delta": "Hi"}
    events = stream(
        lines(
            begin,
            {"type": "response.output_item.added", "item": item | {"content": []}},
            begin,
            delta,
            {"type": "response.output_item.done", "item": item},
            {"type": "response.completed", "response": answer(item)},
        )
        + b"data: [DONE]\n\n"
    )
    assert [type(e).__name__ for e in events] == ["StreamStart", "TextDelta", "PartEnd", "UsageUpdate", "Finish"]


def test_what_was_not_told_item_by_item_is_taken_from_the_end() -> None:
    output = [thought("hmm"), message("Hi"), call("add", {"a": 1})]
    begin = {"type": "response.created", "response": {"id": "resp_1"}}
    end = {"type": "response.completed", "response": answer(*output)}
    events = stream(lines(begin, end))
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Hi"
    assert [p.native.raw for p in collect(events).message.parts if not isinstance(p, Image)] == output  # type: ignore[union-attr]


def test_items_that_never_end_are_closed_from_their_pieces() -> None:
    added = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "m"}}
    delta = {"type": "response.output_text.delta", "output_index": 0, "item_id": "m", "delta": "Hi"}
    more = {"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "f", "delta": '{"a":1}'}
    end = {"type": "response.completed", "response": {"status": "completed", "output": []}}
    response = collect(stream(lines(added, delta, more, end)))
    assert (response.text, response.tool_calls[0].arguments) == ("Hi", {"a": 1})


@pytest.mark.parametrize("between", ["data:", "data: ", "id: 1\ndata: ", "data: \ndata: "])
def test_events_may_be_written_in_any_way_the_standard_allows(between: str) -> None:
    data = sse(answer(message("It rains."))).replace(b"data: ", between.encode())
    assert collect(stream(data)).text == "It rains."


def test_unknown_events_are_passed_over() -> None:
    data = lines({"type": "response.new_thing", "x": 1}, {"type": "keepalive"}) + sse(answer(message("Hi")))
    assert collect(stream(b": comment\n\n" + data)).text == "Hi"
