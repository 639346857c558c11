"""The core's stream events as LangChain's content-block protocol (``stream_events(version="v3")``), without chunks.

Blocks get wire indices 0, 1, 2... in the order in which they first appear; id and name of a tool call are said by its
start only; the finished block is on its finish. Source: the event types of `langchain_protocol.protocol`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from langchain_core.language_models.chat_model_stream import ChatModelStream

from langchain_unified_llm import core_to_lc
from unified_llm.messages import Part, Text, Thinking, ToolCall
from unified_llm.responses import ChatResponse
from unified_llm.stream import (
    PartEnd,
    StreamEnd,
    StreamEvent,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)

__all__ = ["EventWriter"]

Event: TypeAlias = dict[str, Any]

# langchain-core 1.6 knows arguments as snapshots (block-delta) only; later ones as pieces (tool-call-delta).
_TAKES_PIECES = hasattr(ChatModelStream, "_push_tool_call_chunk")


class EventWriter:
    """Writes the protocol events of one answer."""

    __slots__ = ("_arguments", "_id", "_open", "_started", "_vendor", "_wire")

    def __init__(self, vendor: str | None, message_id: str | None) -> None:
        self._vendor = vendor
        self._id = message_id
        self._started = False
        self._wire: dict[int, int] = {}
        self._open: set[int] = set()
        self._arguments: dict[int, Event] = {}

    def write(self, event: StreamEvent) -> Iterator[Event]:
        """The protocol events for `event`; none for what the protocol does not carry."""
        kind = type(event)
        if kind is TextDelta or kind is ThinkingDelta:
            yield from self._delta(event)  # type: ignore[arg-type]  # told by its type, for speed
        elif isinstance(event, ToolCallStart):
            yield from self._call_start(event)
        elif isinstance(event, ToolCallDelta):
            yield self._call_delta(event)
        elif isinstance(event, PartEnd):
            yield from self._part_end(event.index, event.part)
        elif isinstance(event, StreamStart):
            yield self._message_start(event)
        elif isinstance(event, StreamEnd):
            yield from self._message_finish(event.response)

    def _message_start(self, event: StreamStart) -> Event:
        self._started = True
        metadata = {"provider": self._vendor, "model": event.model}
        return {
            "event": "message-start",
            "role": "ai",
            "id": event.response_id or self._id or "",
            "metadata": {k: v for k, v in metadata.items() if v},
        }

    def _begin(self, index: int, skeleton: Event) -> Iterator[Event]:
        if not self._started:  # a provider that does not announce itself
            yield self._message_start(StreamStart())
        self._wire[index] = wire = len(self._wire)
        self._open.add(index)
        yield {"event": "content-block-start", "index": wire, "content": skeleton}

    def _delta(self, event: TextDelta | ThinkingDelta) -> Iterator[Event]:
        field = "text" if type(event) is TextDelta else "reasoning"
        if event.index not in self._wire:
            yield from self._begin(event.index, {"type": field, field: ""})
        if event.text:
            yield {
                "event": "content-block-delta",
                "index": self._wire[event.index],
                "delta": {"type": f"{field}-delta", field: event.text},
            }

    def _call_start(self, event: ToolCallStart) -> Iterator[Event]:
        skeleton = {"type": "tool_call_chunk", "id": event.id, "name": event.name, "args": "", "index": event.index}
        self._arguments[event.index] = dict(skeleton)
        yield from self._begin(event.index, skeleton)

    def _call_delta(self, event: ToolCallDelta) -> Event:
        if _TAKES_PIECES:
            delta: Event = {"type": "tool-call-delta", "args": event.arguments}
        else:
            fields = self._arguments[event.index]
            fields["args"] += event.arguments
            delta = {"type": "block-delta", "fields": dict(fields)}
        return {"event": "content-block-delta", "index": self._wire[event.index], "delta": delta}

    def _part_end(self, index: int, part: Part) -> Iterator[Event]:
        content = core_to_lc.block(part)
        if index not in self._wire:
            yield from self._begin(index, _skeleton(part, content))
        self._open.discard(index)
        yield {"event": "content-block-finish", "index": self._wire[index], "content": content}

    def _message_finish(self, response: ChatResponse) -> Iterator[Event]:
        for index, part in enumerate(response.message.parts):
            if index in self._open:
                yield from self._part_end(index, part)
        if core_to_lc.refused(response):
            index = len(response.message.parts)
            yield from self._begin(index, dict(core_to_lc.REFUSAL))
            yield {"event": "content-block-finish", "index": self._wire[index], "content": dict(core_to_lc.REFUSAL)}
        finish: Event = {"event": "message-finish", "metadata": core_to_lc.response_metadata(response)}
        if (usage := core_to_lc.usage_metadata(response.usage)) is not None:
            finish["usage"] = usage
        # Not in the specification, but read by LangChain, which writes it itself when it bridges chunks.
        if extra := core_to_lc.additional_kwargs(response, v1=True):
            finish["additional_kwargs"] = extra
        yield finish


def _skeleton(part: Part, content: Event) -> Event:
    """The start of a block that comes in one piece: its kind, without the payload that its finish carries."""
    if isinstance(part, Text):
        return {"type": "text", "text": ""}
    if isinstance(part, Thinking):
        return {"type": "reasoning", "reasoning": ""}
    if isinstance(part, ToolCall):
        return {"type": "tool_call_chunk", "id": part.id, "name": part.name, "args": ""}
    return {"type": content["type"], "value": {}}
