"""Claude's server-sent events to typed events, block by block.

Every block is rebuilt as the whole answer would have shown it, so that a streamed turn goes back exactly like one
that was not. Unknown events are ignored and unknown blocks kept whole, as the API's versioning policy asks of clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unified_llm import _json
from unified_llm.codecs.anthropic_decode import BlockReader, finish_of, usage_of
from unified_llm.codecs.errors import error_from_body, has_error, request_id_of, unusable_body
from unified_llm.errors import StreamInterruptedError
from unified_llm.messages import Message, Part, ToolCall
from unified_llm.responses import ChatResponse
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
from unified_llm.wire import SSESplitter

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


class _OpenBlock:
    """A block on its way: what `content_block_start` said, and the pieces since, by the field they belong to."""

    __slots__ = ("index", "pieces", "raw")

    def __init__(self, raw: dict[str, Any], index: int) -> None:
        self.raw = raw
        self.index = index
        self.pieces: dict[str, list[str]] = {}

    def add(self, name: str, piece: str) -> None:
        known = self.pieces.get(name)
        if known is None:
            self.pieces[name] = [piece]
        else:
            known.append(piece)

    def finish(self) -> tuple[dict[str, Any], str | None]:
        """The whole block, and the JSON text of its input where it has one."""
        arguments = self.pieces.pop("partial_json", None)
        for name, pieces in self.pieces.items():
            begun = self.raw.get(name)
            self.raw[name] = (begun if isinstance(begun, str) else "") + "".join(pieces)
        text = "".join(arguments) if arguments else ""
        if not text:  # no input, or one that came whole with the start
            return self.raw, None
        self.raw["input"] = _input_of(text)
        return self.raw, text


def _input_of(text: str) -> Any:
    """The decoded input; text that is no JSON stays text, and is then never replayed."""
    try:
        return _json.loads(text)
    except ValueError:
        return text


class AnthropicStreamDecoder:
    """See `codecs.base.StreamDecoder`."""

    def __init__(self, headers: Mapping[str, str], *, provider: str, model: str, secrets: tuple[str, ...] = ()) -> None:
        self._splitter = SSESplitter()
        self._headers = headers
        self._provider = provider
        self._reader = BlockReader(provider, model)
        self._secrets = secrets
        self._open: dict[int, _OpenBlock] = {}
        self._count = 0
        self._usage: dict[str, Any] = {}
        self._stop: str | None = None
        self._started = False
        self._stopped = False
        self._head = b""  # what came before the first event: an error page, or an answer that is no stream

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """See the protocol.

        Raises:
            UnifiedLLMError: of the class that an ``error`` event stands for (overloaded, rate limit...).
        """
        if not self._started and len(self._head) < _LONGEST_HEAD:
            self._head += chunk
        events: list[StreamEvent] = []
        for sse in self._splitter.feed(chunk):
            self._take(sse.data, events)
        return events

    def close(self) -> list[StreamEvent]:
        """See the protocol."""
        events: list[StreamEvent] = []
        for sse in self._splitter.close():
            self._take(sse.data, events)
        if not self._started:
            return self._not_a_stream()
        if not self._stopped:
            raise StreamInterruptedError(
                "the stream ended before the message was complete",
                hint="the text so far is in .partial; send the request again",
                provider=self._provider,
                request_id=request_id_of(self._headers),
            )
        return [*events, Finish(finish_of(self._stop), self._stop)]

    # -- events ---------------------------------------------------------------------------------------------------

    def _take(self, data: bytes, events: list[StreamEvent]) -> None:
        if data == b"[DONE]":  # some servers end as OpenAI does
            return
        try:
            event = _json.loads(data)
        except ValueError as exc:
            raise unusable_body(
                200, self._headers, data, provider=self._provider, why="a stream event that is not JSON"
            ) from exc
        if not isinstance(event, dict):
            return
        match event.get("type"):
            case "content_block_delta":
                self._delta(event, events)
            case "content_block_start":
                self._block_start(event, events)
            case "content_block_stop":
                self._block_stop(event.get("index", 0), events)
            case "message_start":
                self._message_start(event.get("message") or {}, events)
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
        events.append(StreamStart(message.get("model"), message.get("id"), request_id_of(self._headers)))
        self._update_usage(message.get("usage"), events)
        for raw in message.get("content") or ():  # empty in practice; the type allows blocks
            index = -1 - self._count
            self._block_start({"index": index, "content_block": raw}, events)
            self._block_stop(index, events)

    def _message_delta(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        delta = event.get("delta") or {}
        self._stop = delta.get("stop_reason") or self._stop
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
        block = _OpenBlock(raw, self._count)
        self._open[event.get("index", 0)] = block
        self._count += 1
        kind = raw.get("type")
        if kind == "tool_use":
            events.append(ToolCallStart(raw.get("id") or "", raw.get("name") or "", block.index))
        elif kind == "text" and raw.get("text"):
            events.append(TextDelta(raw["text"], block.index))
        elif kind == "thinking" and raw.get("thinking"):
            events.append(ThinkingDelta(raw["thinking"], block.index))

    def _delta(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        block = self._open.get(event.get("index", 0))
        delta = event.get("delta")
        if block is None or not isinstance(delta, dict):
            return
        kind = delta.get("type")
        if kind == "text_delta":
            block.add("text", delta["text"])
            if delta["text"]:
                events.append(TextDelta(delta["text"], block.index))
        elif kind == "thinking_delta":
            block.add("thinking", delta["thinking"])
            if delta["thinking"]:
                events.append(ThinkingDelta(delta["thinking"], block.index))
        elif kind == "input_json_delta":
            block.add("partial_json", delta["partial_json"])
            if delta["partial_json"] and block.raw.get("type") == "tool_use":
                events.append(ToolCallDelta(delta["partial_json"], block.index))
        elif kind == "citations_delta":
            block.raw["citations"] = [*(block.raw.get("citations") or ()), delta["citation"]]
            events.append(CitationDelta(delta["citation"], block.index))
        else:
            _add_unknown(block, delta)

    def _block_stop(self, index: int, events: list[StreamEvent]) -> None:
        block = self._open.pop(index, None)
        if block is None:
            return
        raw, arguments = block.finish()
        part = self._reader.part(raw, arguments)
        if arguments is None and isinstance(part, ToolCall) and raw.get("input"):
            events.append(ToolCallDelta(part.arguments_json, block.index))
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
        stop = value.get("stop_reason")
        response = ChatResponse(
            Message("assistant", parts),
            model=value.get("model"),
            response_id=value.get("id"),
            request_id=request_id_of(self._headers),
            usage=usage_of(value.get("usage")),
            finish_reason=finish_of(stop),
            native_finish_reason=stop,
        )
        return events_of(response)[:-1]


def _add_unknown(block: _OpenBlock, delta: Mapping[str, Any]) -> None:
    """A kind of delta this version does not know: its texts are joined, its other values replace."""
    for name, value in delta.items():
        if name == "type":
            continue
        if isinstance(value, str):
            block.add(name, value)
        else:
            block.raw[name] = value
