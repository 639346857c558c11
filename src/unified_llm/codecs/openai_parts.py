"""The text and thinking of a streamed answer as numbered parts, in the order in which they change over."""

from __future__ import annotations

from typing import Any

from unified_llm.codecs.think_tags import ThinkTagSplitter
from unified_llm.messages import Text, Thinking
from unified_llm.stream import PartEnd, StreamEvent, TextDelta, ThinkingDelta

__all__ = ["PartWriter"]


class PartWriter:
    """Turns pieces of text into delta events, and closes a part when another kind begins.

    Attributes:
        count: parts begun so far, those of tool calls included.
        part: number of the open part; pieces: its text so far.
        fast: whether the next piece of text needs nothing but its delta. The decoder's short path relies on it.
    """

    __slots__ = ("_citations", "_kind", "_single", "_tags", "count", "fast", "part", "pieces")

    def __init__(self, *, think_tags: bool, single: bool) -> None:
        self._tags = ThinkTagSplitter() if think_tags else None
        self._single = single  # one choice was asked for, so every delta belongs to it
        self._kind = ""  # "text" or "thinking" while such a part is open
        self._citations: list[Any] = []
        self.pieces: list[str] = []
        self.count = 0
        self.part = 0
        self.fast = False

    @property
    def holds_text(self) -> bool:
        """Whether text is held back that may become a tag."""
        return self._tags is not None and bool(self._tags.held)

    @property
    def writes_text(self) -> bool:
        """Whether a text is open that nothing was cited for yet."""
        return self._kind == "text" and not self._citations

    def say(self, kind: str, text: str, events: list[StreamEvent]) -> None:
        """Append a piece of ``text`` or ``thinking``."""
        if self._kind != kind:
            self.end_part(events)
            self._kind = kind
            self.part = self.count
            self.count += 1
            self.fast = kind == "text" and self._tags is None and self._single
        self.pieces.append(text)
        events.append(TextDelta(text, self.part) if kind == "text" else ThinkingDelta(text, self.part))

    def say_content(self, text: str, events: list[StreamEvent]) -> None:
        """Append text that may open with a ``<think>`` block."""
        if self._tags is None:
            self.say("text", text, events)
            return
        for kind, piece in self._tags.feed(text):
            self.say(kind, piece, events)
        if self._tags.plain:
            self._tags = None
            self.fast = self._kind == "text" and self._single

    def cite(self, citation: dict[str, Any]) -> None:
        """Add a citation to the open text."""
        self._citations.append(citation)

    def end_part(self, events: list[StreamEvent]) -> None:
        """Close the open text or thinking part, if there is one."""
        if not self._kind:
            return
        text = "".join(self.pieces)
        if self._kind == "text":
            events.append(PartEnd(Text(text, tuple(self._citations)), self.part))
            self._citations = []
        else:
            events.append(PartEnd(Thinking(text), self.part))
        self._kind, self.pieces, self.fast = "", [], False

    def flush_tags(self, events: list[StreamEvent]) -> None:
        """Give out what might have become a tag; from here on tags are plain text."""
        if self._tags is not None:
            held, self._tags = self._tags.close(), None
            for kind, text in held:
                self.say(kind, text, events)
