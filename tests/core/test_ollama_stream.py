"""Ollama's streams of JSON lines: any cuts of the network, errors in the middle of a 200, ends that are none."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.openai_wire import ask, collect
from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.ollama_chat import OllamaChatCodec
from unified_llm.errors import (
    ContextLengthError,
    ResponseError,
    ServerError,
    StreamInterruptedError,
    UnifiedLLMError,
)
from unified_llm.messages import Message, ToolCall, ToolResult
from unified_llm.profiles import PROFILES
from unified_llm.requests import ChatRequest
from unified_llm.responses import FinishReason
from unified_llm.stream import Finish, PartEnd, StreamEvent, StreamStart, TextDelta, ThinkingDelta, ToolCallStart

CONTEXT = CodecContext("ollama", PROFILES["ollama-native"])
CALL = {"id": "c1", "function": {"index": 0, "name": "get_weather", "arguments": {"city": "Nîmes"}}}


def line(content: str = "", done: bool = False, **more: Any) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    message |= {name: more.pop(name) for name in ("thinking", "tool_calls") if name in more}
    value = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": done, **more}
    return _json.dumps(value) + b"\n"


END = line(done=True, done_reason="stop", prompt_eval_count=11, eval_count=5, total_duration=1_000_000)
WHOLE = b"".join(
    [
        line(thinking="Hm, "),
        line(thinking="rain?"),
        line("Il "),
        line("pleut à "),
        line("Nîmes."),
        line(tool_calls=[CALL]),
        END,
    ]
)


def events_of(
    pieces: bytes | Iterable[bytes], into: list[StreamEvent] | None = None, request: ChatRequest | None = None
) -> list[StreamEvent]:
    """The events of streamed bytes; `into` holds what came before an error."""
    decoder = OllamaChatCodec().decoder({"x-request-id": "r1"}, request or ask(stream=True), CONTEXT)
    events: list[StreamEvent] = [] if into is None else into
    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
        events.extend(decoder.feed(piece))
    events.extend(decoder.close())
    return events


def broken(body: bytes) -> tuple[UnifiedLLMError, list[StreamEvent]]:
    """The error of a stream, and the events before it."""
    events: list[StreamEvent] = []
    with pytest.raises(UnifiedLLMError) as caught:
        events_of(body, events)
    assert caught.value.hint
    return caught.value, events


def test_a_stream_has_thinking_text_a_call_usage_and_an_end() -> None:
    events = events_of(WHOLE)
    assert [e.type for e in events] == [
        "start", "thinking_delta", "thinking_delta", "part_end", "text_delta", "text_delta", "text_delta", "part_end",
        "tool_call_start", "tool_call_delta", "part_end", "usage", "finish",
    ]  # fmt: skip
    assert events[0] == StreamStart("m", None, "r1")
    assert events[-1] == Finish(FinishReason.TOOL_CALLS, "stop")
    response = collect(events)
    assert (str(response), response.reasoning) == ("Il pleut à Nîmes.", "Hm, rain?")
    assert [(c.id, c.arguments) for c in response.tool_calls] == [("c1", {"city": "Nîmes"})]
    assert (response.usage.input_tokens, response.usage.output_tokens) == (11, 5)
    assert (response.usage.native or {})["total_duration"] == 1_000_000


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_the_events_do_not_depend_on_the_cuts_of_the_network(places: list[int]) -> None:
    bounds = [0, *sorted(places), len(WHOLE)]
    pieces = [WHOLE[a:b] for a, b in pairwise(bounds)]
    assert events_of(pieces) == events_of(WHOLE)


def test_a_byte_at_a_time_is_the_same_stream() -> None:
    assert events_of([WHOLE[i : i + 1] for i in range(len(WHOLE))]) == events_of(WHOLE)


def test_the_last_line_needs_no_line_end_and_crlf_is_one() -> None:
    assert events_of(WHOLE[:-1]) == events_of(WHOLE)
    assert events_of(WHOLE.replace(b"\n", b"\r\n")) == events_of(WHOLE)


def test_what_comes_after_the_end_does_not_count() -> None:
    assert events_of(WHOLE + line("more") + END) == events_of(WHOLE)


def test_several_calls_in_one_line_and_calls_without_ids_are_told_apart() -> None:
    bare = {"function": {"name": "a", "arguments": {"n": 1}}}
    body = line(tool_calls=[bare, bare]) + line(tool_calls=[bare]) + END
    calls = collect(events_of(body)).tool_calls
    assert [c.arguments for c in calls] == [{"n": 1}] * 3
    assert len({c.id for c in calls}) == 3


def test_an_id_of_the_history_is_not_used_again() -> None:
    history = [
        Message("assistant", tool_call=ToolCall("get_weather", {}, "c1")),
        Message("tool", ToolResult("c1", "x")),
    ]
    events = events_of(line(tool_calls=[CALL]) + END, request=ask(history, stream=True))
    (start,) = [e for e in events if isinstance(e, ToolCallStart)]
    assert start.id != "c1"


def test_a_streamed_turn_returns_as_it_came() -> None:
    (part,) = [e.part for e in events_of(line(tool_calls=[CALL]) + END) if isinstance(e, PartEnd)]
    assert isinstance(part, ToolCall)
    assert part.native is not None
    assert part.native.raw == CALL


def test_thinking_left_in_the_text_is_split_off_wherever_it_is_cut() -> None:
    pieces = [line(p) for p in ("<thi", "nk>\nHm", "</th", "ink>\n\nYes", ".")]
    events = events_of(b"".join([*pieces, END]))
    assert "".join(e.text for e in events if isinstance(e, ThinkingDelta)) == "Hm"
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Yes."


# -- failures ---------------------------------------------------------------------------------------------------------


def test_an_error_in_the_middle_of_a_200_is_raised_after_what_came_before_it() -> None:
    error, events = broken(
        line("Il ") + line("pleut") + b'{"error":"an error was encountered while running the model"}\n'
    )
    assert isinstance(error, ServerError)
    assert error.retryable
    assert error.message == "an error was encountered while running the model"
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["Il ", "pleut"]


def test_an_error_in_a_stream_has_the_class_of_its_words() -> None:
    error, _ = broken(b'{"error":"the prompt is longer than the context length currently available to the model"}\n')
    assert isinstance(error, ContextLengthError)
    assert "num_ctx" in (error.hint or "")


@pytest.mark.parametrize("cut", [len(WHOLE) - len(END), len(WHOLE) - 40, len(line(thinking="Hm, ")) + 30])
def test_a_stream_that_ends_early_is_interrupted(cut: int) -> None:
    error, events = broken(WHOLE[:cut])
    assert isinstance(error, StreamInterruptedError)
    assert "in the middle" in error.message
    assert events


@pytest.mark.parametrize("body", [b"", b"\n\n", b'{"model": "m", "mess'])
def test_a_stream_that_says_nothing_is_interrupted(body: bytes) -> None:
    error, _ = broken(body)
    assert isinstance(error, StreamInterruptedError)
    assert "before it said anything" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"<html>\n<title>502 Bad Gateway</title>\n</html>",
        b"not JSON",
        b"[1]\n",
        b'{"model":"m"}\n',
        line("x") + b"rubbish\n",
    ],
)
def test_what_is_no_stream_is_an_unusable_answer(body: bytes) -> None:
    error, _ = broken(body)
    assert isinstance(error, ResponseError)
    assert not isinstance(error, StreamInterruptedError)


def test_an_indented_error_of_a_proxy_is_read_as_a_whole() -> None:
    error, _ = broken(b'{\n  "error": {\n    "message": "upstream failed"\n  }\n}\n')
    assert error.message == "upstream failed"


def test_a_server_that_ignores_stream_is_understood() -> None:
    whole = line("All at once", done=True, done_reason="stop")
    assert str(collect(events_of(whole))) == "All at once"
    assert str(collect(events_of(_json.dumps(_json.loads(whole)).replace(b",", b",\n")))) == "All at once"
