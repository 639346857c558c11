"""The streamed answer of ``/api/chat``: lines of JSON, the last of them with ``done``, or with an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import has_error, request_id_of, unusable_body
from unified_llm.codecs.event_decoder import EventDecoder
from unified_llm.codecs.fields import text_of
from unified_llm.codecs.ollama_reading import finish_reason, read_calls, read_usage, streamed_failure
from unified_llm.codecs.openai_parts import PartWriter
from unified_llm.codecs.openai_reading import known_call_ids
from unified_llm.errors import StreamInterruptedError, UnifiedLLMError
from unified_llm.requests import ChatRequest
from unified_llm.stream import (
    Finish,
    PartEnd,
    StreamEvent,
    StreamStart,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageUpdate,
)
from unified_llm.wire import LineSplitter

__all__ = ["OllamaStreamDecoder"]


class OllamaStreamDecoder(EventDecoder):
    """Bytes in, events out. Tool calls come whole, each in one piece.

    An error inside the stream is raised after the events before it were given out: iterate what `feed` returns.
    """

    __slots__ = (
        "_calls",
        "_context",
        "_headers",
        "_held",
        "_lines",
        "_model",
        "_request",
        "_secrets",
        "_started",
        "_taken",
        "_writer",
        "done",
    )

    def __init__(
        self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext, secrets: Sequence[str] = ()
    ) -> None:
        self._headers = headers
        self._request = request
        self._context = context
        self._secrets = secrets
        self._lines = LineSplitter()
        self._writer = PartWriter(think_tags=context.profile.think_tags, single=True)
        self._held = b""  # a body that does not begin with a line of JSON, until it ends
        self._started = False
        self._model: str | None = None
        self._calls = 0
        self._taken: set[str] | None = None
        self.done = False

    def _read(self, chunk: bytes, events: list[StreamEvent]) -> None:
        for line in self._lines.feed(chunk):
            self._take(line, events)

    def _end(self, events: list[StreamEvent]) -> None:
        for line in self._lines.close():
            self._take_last(line, events)
        if self._held:
            self._take_document(events)
        if not self.done:
            raise self._interrupted(events)

    # -- lines ------------------------------------------------------------------------------------------------------

    def _take(self, line: bytes, events: list[StreamEvent]) -> None:
        """One line. Nearly all of them are a single piece of text: that path is short on purpose."""
        if self._held:
            self._held += line + b"\n"
            return
        try:
            value = orjson.loads(line)
        except ValueError:
            self._take_odd(line, events)
            return
        writer = self._writer
        if writer.fast:
            try:
                message = value["message"]
                text = message["content"]
                if text and type(text) is str and len(message) == 2 and not value["done"]:
                    writer.pieces.append(text)
                    events.append(TextDelta(text, writer.part))
                    return
            except (KeyError, TypeError):
                pass  # not that simple: the general path decides what it is
        self._take_value(value, events)

    def _take_odd(self, line: bytes, events: list[StreamEvent]) -> None:
        """A line that is no strict JSON: JSON with NaN or broken characters, or no stream of lines at all."""
        try:
            value = _json.loads(line)
        except ValueError as exc:
            if self._started:
                raise self._nonsense(line, "a line that is not JSON") from exc
            self._held = line + b"\n"
            return
        self._take_value(value, events)

    def _take_last(self, line: bytes, events: list[StreamEvent]) -> None:
        """The line after which the body ended. Without its line end it may be cut: then it does not count."""
        try:
            _json.loads(line)
        except ValueError:
            if self._started:
                return
        self._take(line, events)

    def _take_document(self, events: list[StreamEvent]) -> None:
        """A body that is one indented JSON document, often an error of a proxy, or a web page."""
        held, self._held = self._held, b""
        try:
            value = _json.loads(held)
        except ValueError as exc:
            if held.lstrip().startswith(b"{"):
                raise self._interrupted(events) from exc
            raise self._nonsense(held, "text instead of a stream") from exc
        self._take_value(value, events)

    def _take_value(self, value: Any, events: list[StreamEvent]) -> None:
        if self.done:
            return
        if has_error(value):
            raise streamed_failure(value, self._headers, provider=self._context.provider, secrets=self._secrets)
        if not isinstance(value, dict) or not isinstance(value.get("message"), dict):
            raise self._nonsense(_json.dumps(value), "a line without a message")
        if not self._started:
            self._started = True
            self._model = text_of(value.get("model"))
            events.append(StreamStart(self._model, None, request_id_of(self._headers)))
        self._take_message(value["message"], events)
        if value.get("done"):
            self._finalize(value, events)

    def _take_message(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        writer = self._writer
        thinking, content = message.get("thinking"), message.get("content")
        if thinking and isinstance(thinking, str):
            writer.flush_tags(events)  # a server that separates the reasoning leaves no tags in the text
            writer.say("thinking", thinking, events)
        if content and isinstance(content, str):
            writer.say_content(content, events)
        if message.get("tool_calls"):
            self._take_calls(message["tool_calls"], events)

    def _take_calls(self, raw_calls: Any, events: list[StreamEvent]) -> None:
        writer = self._writer
        if self._taken is None:
            self._taken = known_call_ids(self._request)
        for call in read_calls(raw_calls, taken=self._taken, provider=self._context.provider, model=self._model):
            writer.flush_tags(events)
            writer.end_part(events)
            place = writer.count
            events += [
                ToolCallStart(call.id, call.name, place),
                ToolCallDelta(call.arguments_json, place),
                PartEnd(call, place),
            ]
            writer.count += 1
            self._calls += 1

    # -- the end ----------------------------------------------------------------------------------------------------

    def _finalize(self, value: Mapping[str, Any], events: list[StreamEvent]) -> None:
        self.done = True
        self._writer.flush_tags(events)
        self._writer.end_part(events)
        native = text_of(value.get("done_reason"))
        events.append(UsageUpdate(read_usage(value)))
        events.append(Finish(finish_reason(native, calls=self._calls > 0), native))

    def _interrupted(self, events: list[StreamEvent]) -> StreamInterruptedError:
        self._writer.flush_tags(events)
        some = self._writer.count > 0
        where = "in the middle of the answer" if some else "before it said anything"
        return StreamInterruptedError(
            f"the stream of {self._context.provider} ended {where}",
            hint="the connection or the server broke: try again" + ("; .partial holds what arrived" if some else ""),
            provider=self._context.provider,
            request_id=request_id_of(self._headers),
        )

    def _nonsense(self, data: bytes, why: str) -> UnifiedLLMError:
        return unusable_body(200, self._headers, data, provider=self._context.provider, why=why, secrets=self._secrets)
