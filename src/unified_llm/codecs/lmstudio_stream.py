"""Messages of a prediction channel, one JSON object to a line, as stream events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.fields import text_of
from unified_llm.codecs.lmstudio_errors import UnknownShapeError, sentence, websocket_error
from unified_llm.codecs.lmstudio_stats import REASONS, usage_of
from unified_llm.codecs.openai_parts import PartWriter
from unified_llm.errors import StreamInterruptedError, UnifiedLLMError, redact
from unified_llm.messages import ToolCall, new_id
from unified_llm.requests import ChatRequest
from unified_llm.responses import Adjustment, FinishReason
from unified_llm.stream import (
    Finish,
    PartEnd,
    Progress,
    StreamEvent,
    StreamStart,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageUpdate,
)
from unified_llm.wire import LineSplitter

__all__ = ["LMStudioStreamDecoder"]


_SHOWN = 500  # characters of what the server sent, in errors


class LMStudioStreamDecoder:
    """See `StreamDecoder`.

    The arguments of a tool call are given at its end, in one piece: what comes before is text in the model's own
    notation, which need not be JSON. Messages of a kind not known here are of newer servers, and skipped; a known kind
    in another form is an `UnknownShapeError`, because its content would be lost.
    """

    def __init__(self, request: ChatRequest, context: CodecContext, secrets: Sequence[str] = ()) -> None:
        self._provider = context.provider
        self._model = request.model
        self._secrets = secrets
        self._lines = LineSplitter()
        self._partial = False  # whether the splitter holds the beginning of a line
        self._writer = PartWriter(think_tags=context.profile.think_tags, single=True)
        self._started = False
        self._call_ids: set[str] = set()
        self._pending: tuple[str | None, str | None] = (None, None)  # id and name of the call being written
        self._cached: int | None = None
        self._reasoning: int | None = None
        self._handlers: dict[str, Callable[[Mapping[str, Any], list[StreamEvent]], None]] = {
            "fragment": self._fragment,
            "promptProcessingProgress": self._prefill,
            "loadProgress": self._load,
            "toolCallGenerationStart": self._call_begins,
            "toolCallGenerationNameReceived": self._call_named,
            "toolCallGenerationEnd": self._call_ends,
            "toolCallGenerationFailed": self._call_failed,
            "error": self._error,
            "success": self._success,
        }
        self.last: Mapping[str, Any] | None = None
        """The ``success`` message, once it came."""
        self.adjustments: tuple[Adjustment, ...] = ()
        """Calls of tools that the server could not read."""

    def feed(self, chunk: bytes) -> Iterator[StreamEvent]:
        """Events completed by `chunk`. Raises the error a message stands for, after the events before it."""
        if not self._started:
            self._started = True
            yield StreamStart(self._model)
        if chunk.find(b"\n") == len(chunk) - 1 and not self._partial:  # what nearly every chunk looks like: one line
            yield from self._events(chunk)
            return
        self._partial = not chunk.endswith(b"\n")
        for line in self._lines.feed(chunk):
            yield from self._events(line)

    def close(self) -> Iterator[StreamEvent]:
        """Nothing more, when the server said that the prediction ended.

        Raises:
            StreamInterruptedError: it did not.
        """
        for line in self._lines.close():
            yield from self._events(line)
        if self.last is None:
            raise StreamInterruptedError(
                f"{self._provider} closed the prediction before its end",
                provider=self._provider,
                hint="the model may have been unloaded, or its engine crashed: see LM Studio's log",
            )

    def _events(self, line: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        try:
            message = _json.loads(line)
            handler = self._handlers.get(str(message.get("type"))) if isinstance(message, dict) else None
            if handler is not None:
                handler(message, events)
        except UnifiedLLMError:  # what the message stands for; some of them are ValueErrors, too
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise self._unknown(line) from exc
        return events

    def _unknown(self, line: bytes) -> UnknownShapeError:
        return UnknownShapeError(
            "LM Studio sends messages in a form this library does not know",
            provider=self._provider,
            hint="LM Studio is newer than this library: transport='http' works meanwhile",
            body=redact(line[:_SHOWN].decode("utf-8", "replace"), *self._secrets),
        )

    # -- text and thinking ------------------------------------------------------------------------------------------

    def _fragment(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        fragment = message["fragment"]
        text, kind = fragment["content"], fragment.get("reasoningType")
        if type(text) is not str:
            raise TypeError("no text")
        if kind == "none" or kind is None:
            if text:
                writer = self._writer
                if writer.fast:
                    writer.pieces.append(text)
                    events.append(TextDelta(text, writer.part))
                else:
                    writer.say_content(text, events)
            return
        count = fragment.get("tokensCount")
        if isinstance(count, int):
            self._reasoning = (self._reasoning or 0) + count
        if kind == "reasoning" and text:
            self._writer.say("thinking", text, events)

    def _prefill(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        details = message.get("details")
        cached = details.get("cachedTokenCount") if isinstance(details, dict) else None
        if isinstance(cached, int):
            self._cached = cached
        self._progress("prefill", message, events)

    def _load(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        self._progress("load", message, events)

    def _progress(
        self, stage: Literal["load", "prefill"], message: Mapping[str, Any], events: list[StreamEvent]
    ) -> None:
        fraction = message.get("progress")
        events.append(Progress(stage, fraction if isinstance(fraction, (int, float)) else None))

    # -- tool calls -------------------------------------------------------------------------------------------------

    def _call_begins(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        self._end_text(events)
        self._pending = (text_of(message.get("toolCallId")), None)

    def _call_named(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        self._pending = (self._pending[0], text_of(message.get("name")))

    def _call_ends(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        request = message["toolCallRequest"]
        name = text_of(request.get("name")) or self._pending[1]
        if name is None:
            raise KeyError("name")
        arguments = request.get("arguments")
        text = arguments if isinstance(arguments, str) else _json.dumps_str(arguments or {})
        self._add_call(text_of(request.get("id")), name, text, events)

    def _call_failed(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """The model wrote a call the server could not read: kept as one with broken arguments, if it has a name.

        What was written is no answer, so it never becomes text; in each case the server's error is told.
        """
        raw = text_of(message.get("rawContent")) or ""
        call_id, name = self._pending
        why = redact(f"LM Studio could not read the call: {sentence(message.get('error'))}", *self._secrets)
        if name:
            self.adjustments += (Adjustment("changed", f"tool_calls[{name}]", why),)
            self._add_call(call_id, name, raw or "{", events)
        else:
            written = f"; the model wrote {raw[:_SHOWN]!r}" if raw else ""
            self.adjustments += (Adjustment("lost", "tool_calls", why + redact(written, *self._secrets)),)
        self._pending = (None, None)

    def _add_call(self, call_id: str | None, name: str, arguments: str, events: list[StreamEvent]) -> None:
        self._end_text(events)
        call_id = call_id or self._pending[0]
        if not call_id or call_id in self._call_ids:
            call_id = new_id()
        self._call_ids.add(call_id)
        self._pending = (None, None)
        index = self._writer.count
        self._writer.count += 1
        events.append(ToolCallStart(call_id, name, index))
        events.append(ToolCallDelta(arguments, index))
        events.append(PartEnd(ToolCall(name, arguments, call_id), index))

    def _end_text(self, events: list[StreamEvent]) -> None:
        self._writer.flush_tags(events)
        self._writer.end_part(events)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _error(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        raise websocket_error(message.get("error"), provider=self._provider, secrets=self._secrets)

    def _success(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        self.last = message
        self._end_text(events)
        stats = message.get("stats")
        native = text_of(stats.get("stopReason")) if isinstance(stats, dict) else None
        reason = REASONS.get(native, FinishReason.OTHER) if native is not None else None
        if self._call_ids and reason in (FinishReason.STOP, None):
            reason = FinishReason.TOOL_CALLS
        events.append(UsageUpdate(usage_of(message, cached=self._cached, reasoning=self._reasoning)))
        events.append(Finish(reason, native))
