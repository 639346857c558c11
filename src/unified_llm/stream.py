"""Typed stream events, and the one accumulator that turns them into a `ChatResponse` for every provider.

A stream is: `StreamStart`, then deltas, then `Finish`, then one `StreamEnd` that carries the whole response.
Parts are numbered by `index`, counted from 0 in the order in which they first appear; a part is complete at its
`PartEnd`, which carries the finished `Text`, `Thinking`, `ToolCall` or `Opaque`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeAlias, Union

from unified_llm.messages import Message, Opaque, Origin, Part, Text, Thinking, ToolCall
from unified_llm.responses import ChatResponse, FinishReason, Usage

__all__ = [
    "PRELUDE",
    "Accumulator",
    "CitationDelta",
    "Finish",
    "PartEnd",
    "Progress",
    "StreamEnd",
    "StreamEvent",
    "StreamStart",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallDelta",
    "ToolCallStart",
    "UsageUpdate",
]


@dataclass(slots=True)
class StreamStart:
    """The server accepted the request. `model` is the one it says it uses."""

    type: ClassVar[str] = "start"
    model: str | None = None
    response_id: str | None = None
    request_id: str | None = None


@dataclass(slots=True)
class TextDelta:
    """More text of part `index`."""

    type: ClassVar[str] = "text_delta"
    text: str
    index: int = 0


@dataclass(slots=True)
class ThinkingDelta:
    """More reasoning text of part `index`."""

    type: ClassVar[str] = "thinking_delta"
    text: str
    index: int = 0


@dataclass(slots=True)
class ToolCallStart:
    """A tool call begins as part `index`."""

    type: ClassVar[str] = "tool_call_start"
    id: str
    name: str
    index: int = 0


@dataclass(slots=True)
class ToolCallDelta:
    """More JSON text of the arguments of the call at `index`. Never run a call before its `PartEnd`."""

    type: ClassVar[str] = "tool_call_delta"
    arguments: str
    index: int = 0


@dataclass(slots=True)
class CitationDelta:
    """A citation of the text at `index`, as the provider wrote it."""

    type: ClassVar[str] = "citation_delta"
    citation: dict[str, Any]
    index: int = 0


@dataclass(slots=True)
class PartEnd:
    """Part `index` is complete."""

    type: ClassVar[str] = "part_end"
    part: Part
    index: int = 0


@dataclass(slots=True)
class Progress:
    """Work before the first token: loading a model, reading the prompt. `fraction` is 0..1, or None."""

    type: ClassVar[str] = "progress"
    stage: Literal["load", "prefill", "download"]
    fraction: float | None = None


@dataclass(slots=True)
class UsageUpdate:
    """The usage known so far; the last one wins."""

    type: ClassVar[str] = "usage"
    usage: Usage


@dataclass(slots=True)
class Finish:
    """The model stopped. `native` is the server's own word, `details` what else it says of that."""

    type: ClassVar[str] = "finish"
    reason: FinishReason | None
    native: str | None = None
    details: Mapping[str, Any] | None = None


@dataclass(slots=True)
class StreamEnd:
    """The last event: the whole response, usage included."""

    type: ClassVar[str] = "end"
    response: ChatResponse = field(default_factory=ChatResponse)


StreamEvent: TypeAlias = Union[
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallStart,
    ToolCallDelta,
    CitationDelta,
    PartEnd,
    Progress,
    UsageUpdate,
    Finish,
    StreamEnd,
]


PRELUDE = frozenset({"start", "progress", "usage"})
"""Types of the events that are no part of an answer: a server may send them long before the first token, or instead."""


class Accumulator:
    """Collects events; at any moment it can say what the response is so far.

    Pieces of one part are joined only when the part is asked for, so a long stream costs one append per delta.
    """

    __slots__ = ("_names", "_parts", "_pieces", "finish", "start", "usage")

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[str, list[str]]] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._parts: dict[int, Part] = {}
        self.start = StreamStart()
        self.finish = Finish(None)
        self.usage = Usage()

    def add(self, event: StreamEvent) -> None:
        """Take one event into account; events of other kinds are ignored."""
        kind = event.type
        if kind == "text_delta" or kind == "thinking_delta":
            self._append(event.index, kind, event.text)  # type: ignore[union-attr]  # told apart by `type`, for speed
        elif kind == "tool_call_delta":
            self._append(event.index, kind, event.arguments)  # type: ignore[union-attr]
        elif isinstance(event, ToolCallStart):
            self._names[event.index] = (event.id, event.name)
            self._append(event.index, "tool_call_delta", "")
        elif isinstance(event, PartEnd):
            self._parts[event.index] = event.part
            self._pieces.pop(event.index, None)
        elif isinstance(event, UsageUpdate):
            self.usage = event.usage
        elif isinstance(event, StreamStart):
            self.start = event
        elif isinstance(event, Finish):
            self.finish = event

    def _append(self, index: int, kind: str, piece: str) -> None:
        known = self._pieces.get(index)
        if known is None:
            self._pieces[index] = (kind, [piece])
        else:
            known[1].append(piece)

    def _part(self, index: int) -> Part:
        kind, pieces = self._pieces[index]
        text = "".join(pieces)
        if kind == "text_delta":
            return Text(text)
        if kind == "thinking_delta":
            return Thinking(text)
        call_id, name = self._names.get(index, ("", ""))
        # The call has not ended: without any argument yet, it must not look like a call that needs none.
        return ToolCall(name, text if text.strip() else "{", call_id)

    def parts(self) -> tuple[Part, ...]:
        """The parts so far, in order; unfinished ones hold what has arrived."""
        indices = sorted(self._parts.keys() | self._pieces.keys())
        return tuple(self._parts[i] if i in self._parts else self._part(i) for i in indices)

    def response(self, *, origin: Origin | None = None, **details: Any) -> ChatResponse:
        """The response so far. `details` are fields of `ChatResponse` that events do not carry."""
        given = {
            "model": self.start.model,
            "response_id": self.start.response_id,
            "request_id": self.start.request_id,
            "finish_reason": self.finish.reason,
            "native_finish_reason": self.finish.native,
            "finish_details": self.finish.details,
            "usage": self.usage,
        }
        if origin is not None and self.finish.reason is FinishReason.PAUSE:
            origin = replace(origin, paused=True)
        return ChatResponse(
            Message("assistant", self.parts(), origin=origin),
            **(given | {k: v for k, v in details.items() if v is not None}),
        )


def events_of(response: ChatResponse) -> list[StreamEvent]:
    """The events a stream of this response would have had: for providers that cannot stream."""
    events: list[StreamEvent] = [StreamStart(response.model, response.response_id, response.request_id)]
    for index, part in enumerate(response.message.parts):
        if isinstance(part, Text):
            events.append(TextDelta(part.text, index))
        elif isinstance(part, Thinking) and part.text:
            events.append(ThinkingDelta(part.text, index))
        elif isinstance(part, ToolCall):
            events += [ToolCallStart(part.id, part.name, index), ToolCallDelta(part.arguments_json, index)]
        elif not isinstance(part, (Opaque, Thinking)):
            continue
        events.append(PartEnd(part, index))
    return [
        *events,
        UsageUpdate(response.usage),
        Finish(response.finish_reason, response.native_finish_reason, response.finish_details),
        StreamEnd(response),
    ]
