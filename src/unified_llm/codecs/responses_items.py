"""Output items of the Responses API while they are streamed: what was told of them so far."""

from __future__ import annotations

from typing import Any

from unified_llm.messages import Part, Text, Thinking, ToolCall
from unified_llm.stream import StreamEvent, TextDelta, ThinkingDelta, ToolCallDelta

__all__ = ["CALLS", "OpenItem", "tell_whole"]

CALLS = ("function_call", "custom_tool_call")


class OpenItem:
    """An output item that has begun: its part number, and what was told of it."""

    __slots__ = ("call_id", "ended", "index", "kind", "name", "pieces", "section")

    def __init__(self, index: int, kind: str) -> None:
        self.index = index
        self.kind = kind
        self.pieces: list[str] = []
        self.ended = False
        self.name = ""
        self.call_id: str | None = None
        self.section: Any = None  # number of the summary part being told

    def part(self) -> Part | None:
        """What is known of an item that never ended, or None when nothing is."""
        text = "".join(self.pieces)
        if self.kind in CALLS:
            return ToolCall(self.name, text if text.strip() else "{", self.call_id)
        if not text:
            return None
        return Thinking(text) if self.kind == "reasoning" else Text(text)


def tell_whole(part: Part, index: int, events: list[StreamEvent]) -> None:
    """The deltas of an item whose server sent none: nobody who prints pieces may miss it."""
    if isinstance(part, Text) and part.text:
        events.append(TextDelta(part.text, index))
    elif isinstance(part, Thinking) and part.text:
        events.append(ThinkingDelta(part.text, index))
    elif isinstance(part, ToolCall) and part.arguments_json:
        events.append(ToolCallDelta(part.arguments_json, index))
