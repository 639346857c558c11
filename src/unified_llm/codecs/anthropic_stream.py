"""Claude's server-sent events to typed events, block by block.

Every block is rebuilt as the whole answer would have shown it, so that a streamed turn goes back exactly like one
that was not. Unknown events are ignored and unknown blocks kept whole, as the API's versioning policy asks of clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from unified_llm import _json
from unified_llm.codecs.anthropic_blocks import OpenBlock
from unified_llm.codecs.anthropic_decode import BlockReader, finish_details, transformations, usage_of
from unified_llm.codecs.errors import (
    SHAPE_ERRORS,
    error_from_body,
    has_error,
    request_id_of,
    unexpected_shape,
    unusable_body,
)
from unified_llm.codecs.event_decoder import then_raise
from unified_llm.codecs.fields import text_of
from unified_llm.errors import StreamInterruptedError, UnifiedLLMError
from unified_llm.messages import Message, Part, Text, ToolCall
from unified_llm.responses import Adjustment, ChatResponse
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
    events_of,
)
from unified_llm.wire import SSESplitter, parse_event

__all__ = ["AnthropicStreamDecoder", "status_inside"]

_STATUS_OF_ERROR = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""HTTP status that an error inside a stream would have had. Source: platform.claude.com, "Errors"."""

_LONGEST_HEAD = 1 << 20


def status_inside(value: Mapping[str, Any]) -> int | None:
    """The HTTP status that stands for an error object without one, or None."""
    inner = value.get("error")
    kind = inner.get("type") if isinstance(inner, Mapping) else None
    return _STATUS_OF_ERROR.get(kind) if isinstance(kind, str) else None


def _data_of(block: bytes) -> bytes | None:
    """The data of one event: nearly always an ``event:`` line and a ``data:`` line; the rest takes the long way."""
    head, found, data = block.partition(b"\ndata: ")
    if found and head.startswith(b"event") and b"\n" not in head and b"\n" not in data:
        return data
    event = parse_event(block)
    return None if event is None else event.data


def _is_whole(data: bytes) -> bool:
    try:
        _json.loads(data)
    except ValueError:
        return False
    return True


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


class AnthropicStreamDecoder:
    """See `codecs.base.StreamDecoder`."""

    def __init__(
        self, headers: Mapping[str, str], reader: BlockReader, *, provider: str, secrets: tuple[str, ...] = ()
    ) -> None:
        self._splitter = SSESplitter()
        self._headers = headers
        self._provider = provider
        self._reader = reader
        self._secrets = secrets
        self._open: dict[int, OpenBlock] = {}
        self._count = 0
        self._usage: dict[str, Any] = {}
        self._stop: str | None = None
        self._stop_sequence: str | None = None
        self._details: dict[str, Any] | None = None
        self.adjustments: tuple[Adjustment, ...] = ()
        self._started = False
        self._stopped = False
        self._head = b""  # what came before the first event: an error page, or an answer that is no stream

    def feed(self, chunk: bytes) -> Iterable[StreamEvent]:
        """See the protocol.

        Raises:
            UnifiedLLMError: of the class that an ``error`` event stands for (overloaded, rate limit...).
        """
        if not self._started and len(self._head) < _LONGEST_HEAD:
            self._head += chunk
        return self._take_all(map(_data_of, self._splitter.blocks(chunk)))

    def close(self) -> Iterator[StreamEvent]:
        """See the protocol."""
        # An event without its blank line was cut, unless it is whole JSON: some servers leave the last line end out.
        yield from self._take_all([last.data for last in self._splitter.close() if _is_whole(last.data)])
        if not self._started:
            yield from self._not_a_stream()
            return
        if not self._stopped:
            raise StreamInterruptedError(
                "the stream ended before the message was complete",
                hint="the text so far is in .partial; send the request again",
                provider=self._provider,
                request_id=request_id_of(self._headers),
            )
        yield Finish(self._reader.finish(self._stop, self._stop_sequence), self._stop, self._details)

    # -- events ---------------------------------------------------------------------------------------------------

    def _take_all(self, parsed: Iterable[bytes | None]) -> Iterable[StreamEvent]:
        events: list[StreamEvent] = []
        try:
            for data in parsed:
                if data is not None:
                    self._take(data, events)
        except UnifiedLLMError as exc:
            return then_raise(events, exc)
        except SHAPE_ERRORS as exc:
            return then_raise(events, unexpected_shape(exc))
        return events

    def _take(self, data: bytes, events: list[StreamEvent]) -> None:
        try:
            event = _json.loads(data)
        except ValueError as exc:
            if data == b"[DONE]":  # some servers end as OpenAI does
                return
            raise unusable_body(
                200, self._headers, data, provider=self._provider, why="a stream event that is not JSON"
            ) from exc
        if not isinstance(event, dict):
            return
        kind = event.get("type")
        if kind == "content_block_delta":  # nearly every event of a long answer
            self._delta(event, events)
            return
        match kind:
            case "content_block_start":
                self._block_start(event, events)
            case "content_block_stop":
                self._block_stop(event.get("index", 0), events)
            case "message_start":
                self._message_start(_object(event.get("message")), events)
            case "message_delta":
                self._message_delta(event, events)
            case "message_stop":
                for index in list(self._open):  # a server that forgets content_block_stop
                    self._block_stop(index, events)
                self._stopped = True
            case _ if has_error(event):
                self._raise(event)

    def _message_start(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        self._started = True
        self._head = b""
        begun = StreamStart(text_of(message.get("model")), text_of(message.get("id")), request_id_of(self._headers))
        events.append(begun)
        self.adjustments = transformations(message)
        self._details = finish_details(message)
        self._update_usage(message.get("usage"), events)
        content = message.get("content")
        for raw in content if isinstance(content, list) else ():  # empty in practice; the type allows blocks
            index = -1 - self._count
            self._block_start({"index": index, "content_block": raw}, events)
            self._block_stop(index, events)

    def _message_delta(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        delta = _object(event.get("delta"))
        self._stop = text_of(delta.get("stop_reason")) or self._stop
        self._stop_sequence = text_of(delta.get("stop_sequence")) or self._stop_sequence
        self._details = finish_details(self._details or {}, delta)
        self._update_usage(event.get("usage"), events)

    def _update_usage(self, usage: Any, events: list[StreamEvent]) -> None:
        """Figures are cumulative, and a later event may leave out what it does not change."""
        if isinstance(usage, dict):
            self._usage = self._usage | {k: v for k, v in usage.items() if v is not None}
            events.append(UsageUpdate(usage_of(self._usage)))

    def _block_start(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        raw = event.get("content_block")
        if not isinstance(raw, dict):
            return
        block = OpenBlock(raw, self._count)
        self._open[event.get("index", 0)] = block
        self._count += 1
        kind = raw.get("type")
        if self._reader.is_answer(raw):
            return
        if kind == "tool_use":
            call_id, name = text_of(raw.get("id")), text_of(raw.get("name"))
            events.append(ToolCallStart(call_id or "", name or "", block.index))
        elif kind == "text" and (begun := text_of(raw.get("text"))):
            events.append(TextDelta(begun, block.index))
        elif kind == "thinking" and (begun := text_of(raw.get("thinking"))):
            events.append(ThinkingDelta(begun, block.index))

    def _delta(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        block = self._open.get(event.get("index", 0))
        delta = event.get("delta")
        if block is None or not isinstance(delta, dict):
            return
        kind = delta.get("type")
        if kind == "text_delta":
            piece = delta.get("text")
            if type(piece) is str and piece:
                block.add("text", piece)
                events.append(TextDelta(piece, block.index))
        elif kind == "thinking_delta":
            piece = delta.get("thinking")
            if type(piece) is str and piece:
                block.add("thinking", piece)
                events.append(ThinkingDelta(piece, block.index))
        elif kind == "input_json_delta":
            self._input_delta(block, text_of(delta.get("partial_json")) or "", events)
        elif kind == "citations_delta" and isinstance(delta.get("citation"), dict):
            known = block.raw.get("citations")
            block.raw["citations"] = [*(known if isinstance(known, list) else ()), delta["citation"]]
            events.append(CitationDelta(delta["citation"], block.index))
        else:
            block.add_unknown(delta)

    def _input_delta(self, block: OpenBlock, piece: str, events: list[StreamEvent]) -> None:
        block.add("partial_json", piece)
        if piece and self._reader.is_answer(block.raw):
            events.append(TextDelta(piece, block.index))
        elif piece and block.raw.get("type") == "tool_use":
            events.append(ToolCallDelta(piece, block.index))

    def _block_stop(self, index: int, events: list[StreamEvent]) -> None:
        block = self._open.pop(index, None)
        if block is None:
            return
        raw, arguments = block.finish()
        part = self._reader.part(raw, arguments)
        if arguments is None and raw.get("input"):  # it came whole, with the start
            if isinstance(part, ToolCall):
                events.append(ToolCallDelta(part.arguments_json, block.index))
            elif isinstance(part, Text) and self._reader.is_answer(raw):
                events.append(TextDelta(part.text, block.index))
        events.append(PartEnd(part, block.index))

    # -- failures -------------------------------------------------------------------------------------------------

    def _raise(self, event: dict[str, Any]) -> None:
        raise error_from_body(
            event,
            provider=self._provider,
            status=status_inside(event),
            headers=self._headers,
            secrets=self._secrets,
        )

    def _not_a_stream(self) -> list[StreamEvent]:
        """A success status without a single event: an error body, a whole answer, or something else entirely."""
        try:
            value = _json.loads(self._head)
        except ValueError:
            value = None
        if has_error(value):
            self._raise(value)
        if isinstance(value, dict) and isinstance(value.get("content"), list):
            return self._events_of_whole(value)
        if not self._head.strip():
            raise StreamInterruptedError(
                "the stream ended before its first event",
                hint="send the request again; if it persists, a proxy in between cuts streams",
                provider=self._provider,
                request_id=request_id_of(self._headers),
            )
        why = "something that is not a stream of events"
        raise unusable_body(200, self._headers, self._head, provider=self._provider, why=why, secrets=self._secrets)

    def _events_of_whole(self, value: dict[str, Any]) -> list[StreamEvent]:
        """A server that ignores ``stream`` answers whole: the same events, all at once."""
        parts: list[Part] = [self._reader.part(raw) for raw in value["content"] if isinstance(raw, dict)]
        stop = text_of(value.get("stop_reason"))
        response = ChatResponse(
            Message("assistant", parts),
            model=text_of(value.get("model")),
            response_id=text_of(value.get("id")),
            request_id=request_id_of(self._headers),
            usage=usage_of(value.get("usage")),
            finish_reason=self._reader.finish(stop, text_of(value.get("stop_sequence"))),
            native_finish_reason=stop,
            finish_details=finish_details(value),
        )
        return events_of(response)[:-1]
