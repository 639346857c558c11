"""A streamed answer of the Responses API as events, whatever the cuts of the network.

Items of the output become parts in the order in which they begin; they may be told interleaved. An item ends with
``response.output_item.done``; what a server leaves out there is taken from the response object of the last event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import has_error, request_id_of, unusable_body
from unified_llm.codecs.event_decoder import EventDecoder
from unified_llm.codecs.openai_body import BodySniffer
from unified_llm.codecs.openai_reading import as_dict, known_call_ids, word
from unified_llm.codecs.responses_decode import decode_response, failure, output_items
from unified_llm.codecs.responses_items import CALLS, OpenItem, tell_whole
from unified_llm.codecs.responses_reading import ItemReader, finish_of, hit_the_limit, usage_of, withheld
from unified_llm.errors import StreamInterruptedError, UnifiedLLMError
from unified_llm.requests import ChatRequest
from unified_llm.responses import Adjustment, FinishReason
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

__all__ = ["ResponsesStreamDecoder"]


class ResponsesStreamDecoder(EventDecoder):
    """Bytes in, events out. Iterate what `feed` returns: an error is raised after the events before it.

    `adjustments` are known at the end: reasoning that the server did not show to the model.
    """

    __slots__ = (
        "_body",
        "_context",
        "_headers",
        "_items",
        "_model",
        "_reader",
        "_request",
        "_secrets",
        "_started",
        "adjustments",
        "done",
    )

    def __init__(
        self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext, secrets: Sequence[str] = ()
    ) -> None:
        self._headers = headers
        self._request = request
        self._context = context
        self._secrets = secrets
        self._body = BodySniffer(headers, request, context, secrets, decode_response)
        self._items: dict[Any, OpenItem] = {}
        self._reader = ItemReader(context.provider, request.model, known_call_ids(request))
        self._started = False
        self.adjustments: tuple[Adjustment, ...] = ()
        self.done = False

    # -- feeding ----------------------------------------------------------------------------------------------------

    def _read(self, chunk: bytes, events: list[StreamEvent]) -> None:
        for data in self._body.feed(chunk):
            self._take(data, events)

    def _end(self, events: list[StreamEvent]) -> None:
        whole = self._body.whole_answer()
        if whole is not None:
            events += whole
            return
        for data in self._body.rest():
            if _is_json(data):  # a cut event does not count
                self._take(data, events)
        if not self.done:
            raise self._interrupted()

    def _interrupted(self) -> StreamInterruptedError:
        when = "in the middle of the answer" if self._items else "before it said anything"
        return StreamInterruptedError(
            f"the stream of {self._context.provider} ended {when}",
            hint="the connection or the server broke: try again; .partial holds what arrived",
            provider=self._context.provider,
            request_id=request_id_of(self._headers),
        )

    # -- one event --------------------------------------------------------------------------------------------------

    def _take(self, data: bytes, events: list[StreamEvent]) -> None:
        if self.done:
            return
        try:
            value = orjson.loads(data)
        except ValueError:
            if data.strip() in (b"", b"[DONE]"):
                return
            value = self._odd(data)
        if not isinstance(value, dict):
            raise self._nonsense(data, "an event that is not an object")
        kind = value.get("type")
        if kind == "response.output_text.delta":  # nearly every event
            item, piece = self._items.get(value.get("output_index")), value.get("delta")
            if item is not None and type(piece) is str and piece and not item.ended:
                item.pieces.append(piece)
                events.append(TextDelta(piece, item.index))
            else:
                self._piece(value, "message", events)
            return
        handler = _HANDLERS.get(kind) if isinstance(kind, str) else None
        if handler is not None:
            handler(self, value, events)
        elif has_error(value):
            raise failure(value, self._headers, self._context, self._secrets)

    def _odd(self, data: bytes) -> Any:
        """JSON with NaN or broken characters, or nonsense."""
        try:
            return _json.loads(data)
        except ValueError as exc:
            raise self._nonsense(data, "an event that is not JSON") from exc

    def _nonsense(self, data: bytes, why: str) -> UnifiedLLMError:
        return unusable_body(200, self._headers, data, provider=self._context.provider, why=why, secrets=self._secrets)

    def _start(self, value: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """``response.created``; llama.cpp repeats it in the middle, which changes nothing."""
        if self._started:
            return
        self._started = True
        response = value.get("response") or {}
        model = word(response.get("model"))
        self._reader = ItemReader(self._context.provider, model, known_call_ids(self._request))
        events.append(StreamStart(model, word(response.get("id")), request_id_of(self._headers)))

    def _item(self, value: Mapping[str, Any], kind: str) -> OpenItem:
        """The item that an event is about; one that was never announced begins with its first event."""
        key = value.get("output_index")
        if key is None:
            key = word(value.get("item_id")) or word(as_dict(value.get("item")).get("id"))
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = OpenItem(len(self._items), kind)
        return item

    def _added(self, value: Mapping[str, Any], events: list[StreamEvent]) -> None:
        raw = value.get("item") or {}
        item = self._item(value, str(raw.get("type")))
        if item.kind in CALLS and item.call_id is None:
            self._open_call(item, raw, events)

    def _open_call(self, item: OpenItem, raw: Mapping[str, Any], events: list[StreamEvent]) -> None:
        item.call_id = self._reader.unique_id(word(raw.get("call_id")) or word(raw.get("id")))
        item.name = str(raw.get("name") or "")
        events.append(ToolCallStart(item.call_id, item.name, item.index))

    # -- pieces -----------------------------------------------------------------------------------------------------

    def _piece(self, value: Mapping[str, Any], kind: str, events: list[StreamEvent]) -> None:
        item = self._item(value, kind)
        piece = value.get("delta")
        if not piece or not isinstance(piece, str) or item.ended:
            return
        item.pieces.append(piece)
        if kind == "message":
            events.append(TextDelta(piece, item.index))
        elif kind == "reasoning":
            events.append(ThinkingDelta(piece, item.index))
        else:
            events.append(ToolCallDelta(piece, item.index))

    def _text(self, value: Mapping[str, Any], events: list[StreamEvent]) -> None:
        self._piece(value, "message", events)

    def _thinking(self, value: Mapping[str, Any], events: list[StreamEvent]) -> None:
        item = self._item(value, "reasoning")
        section = value.get("summary_index")
        if item.pieces and section is not None and section != item.section:
            self._piece({**value, "delta": "\n\n"}, "reasoning", events)  # as the finished item joins them
        item.section = section
        self._piece(value, "reasoning", events)

    def _arguments(self, value: Mapping[str, Any], events: list[StreamEvent]) -> None:
        item = self._item(value, "function_call")
        if item.call_id is None:
            self._open_call(item, {"call_id": value.get("call_id"), "name": value.get("name")}, events)
        self._piece(value, "function_call", events)

    def _citation(self, value: Mapping[str, Any], events: list[StreamEvent]) -> None:
        citation = value.get("annotation")
        if isinstance(citation, dict):
            events.append(CitationDelta(citation, self._item(value, "message").index))

    # -- ends -------------------------------------------------------------------------------------------------------

    def _item_done(self, value: Mapping[str, Any], events: list[StreamEvent]) -> None:
        raw = value.get("item")
        if isinstance(raw, dict):
            self._end_item(self._item(value, str(raw.get("type"))), raw, events, cut=raw.get("status") == "incomplete")

    def _end_item(self, item: OpenItem, raw: Mapping[str, Any], events: list[StreamEvent], *, cut: bool) -> None:
        if item.ended:
            return
        if raw.get("type") in CALLS and item.call_id is None:
            self._open_call(item, raw, events)
        part = self._reader.read(raw, call_id=item.call_id, cut=cut)
        if not item.pieces:
            tell_whole(part, item.index, events)
        item.ended = True
        events.append(PartEnd(part, item.index))

    def _ended(self, value: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """``response.completed`` or ``response.incomplete``."""
        response = value.get("response") or {}
        self._start(value, events)
        items = output_items(response)
        reason, native = finish_of(response, items)
        told = sum(item.ended for item in self._items.values())
        for i, raw in enumerate(items if told < len(items) else ()):  # what the server did not tell item by item
            item = self._item({"output_index": i if i in self._items else None, "item": raw}, str(raw.get("type")))
            self._end_item(item, raw, events, cut=reason is FinishReason.LENGTH and i == len(items) - 1)
        for item in self._items.values():
            part = None if item.ended else item.part()
            if part is not None:
                events.append(PartEnd(part, item.index))
        self.done = True
        self.adjustments = withheld(response)
        usage = usage_of(response)
        if usage.native is not None:
            events.append(UsageUpdate(usage))
        if reason is FinishReason.STOP and hit_the_limit(usage, self._request, self._context):
            reason = FinishReason.LENGTH
        events.append(Finish(reason, native))

    def _failed(self, value: Mapping[str, Any], events: list[StreamEvent]) -> None:
        raise failure(value.get("response") or value, self._headers, self._context, self._secrets)


_Handler = Callable[[ResponsesStreamDecoder, Mapping[str, Any], list[StreamEvent]], None]
_HANDLERS: dict[str, _Handler] = {
    "response.created": ResponsesStreamDecoder._start,
    "response.in_progress": ResponsesStreamDecoder._start,
    "response.queued": ResponsesStreamDecoder._start,
    "response.output_item.added": ResponsesStreamDecoder._added,
    "response.output_item.done": ResponsesStreamDecoder._item_done,
    "response.refusal.delta": ResponsesStreamDecoder._text,
    "response.reasoning_summary_text.delta": ResponsesStreamDecoder._thinking,
    "response.reasoning_text.delta": ResponsesStreamDecoder._thinking,
    "response.function_call_arguments.delta": ResponsesStreamDecoder._arguments,
    "response.custom_tool_call_input.delta": ResponsesStreamDecoder._arguments,
    "response.output_text.annotation.added": ResponsesStreamDecoder._citation,
    "response.completed": ResponsesStreamDecoder._ended,
    "response.incomplete": ResponsesStreamDecoder._ended,
    "response.cancelled": ResponsesStreamDecoder._ended,
    "response.failed": ResponsesStreamDecoder._failed,
}


def _is_json(data: bytes) -> bool:
    try:
        _json.loads(data)
    except ValueError:
        return False
    return True
