"""Splits the reasoning that servers leave inside the text: ``<think>...</think>answer``, however it is cut.

Only a block at the very start of the text counts, white space aside: a model that explains what ``<think>`` means is
quoted in full. Reasoning models open with the tag; what they say after the block is their answer.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["Piece", "ThinkTagSplitter", "split_think_tags"]

Piece: TypeAlias = tuple[Literal["thinking", "text"], str]

# Qwen, DeepSeek, Nemotron and most others; Magistral; Gemini-derived chat templates; some fine-tunes.
_TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
)
_LONGEST = max(len(start) for start, _ in _TAGS)
_FIRST = tuple({start[0] for start, _ in _TAGS})


class ThinkTagSplitter:
    """Takes text piece by piece; says which of it is thinking and which is the answer.

    `plain` is true once no tag can come any more: from then on the text needs no splitting.
    """

    __slots__ = ("_end", "_held", "_state", "plain")

    def __init__(self) -> None:
        self._state: Literal["start", "lead", "thinking", "gap", "text"] = "start"
        self._end = ""
        self._held = ""
        self.plain = False

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain now; an incomplete tag is held back."""
        pieces: list[Piece] = []
        self._held += text
        while self._step(pieces):
            pass
        return [p for p in pieces if p[1]]

    @property
    def held(self) -> str:
        """Text that may still become a tag."""
        return self._held

    def close(self) -> list[Piece]:
        """What was held back, when nothing more comes. An unclosed block is all thinking."""
        held, self._held = self._held, ""
        kind: Literal["thinking", "text"] = "thinking" if self._state == "thinking" else "text"
        self._become_plain()
        return [(kind, held)] if held else []

    def _step(self, pieces: list[Piece]) -> bool:
        """Consume some of what is held; False when more text is needed."""
        match self._state:
            case "start":
                return self._open()
            case "lead":
                self._held = self._held.lstrip("\n")
                self._state = "thinking" if self._held else "lead"
                return bool(self._held)
            case "thinking":
                return self._think(pieces)
            case "gap":  # the blank line between the block and the answer belongs to neither
                self._held = self._held.lstrip()
                if self._held:
                    self._become_plain()
                return bool(self._held)
        pieces.append(("text", self._held))
        self._held = ""
        return False

    def _open(self) -> bool:
        head = self._held.lstrip()
        if head and not head.startswith(_FIRST):
            self._become_plain()
            return True
        for start, end in _TAGS:
            if head.startswith(start):
                self._state, self._end, self._held = "lead", end, head[len(start) :]
                return True
        if not head or (len(head) < _LONGEST and any(start.startswith(head) for start, _ in _TAGS)):
            return False
        self._become_plain()
        return True

    def _think(self, pieces: list[Piece]) -> bool:
        thought, found, rest = self._held.partition(self._end)
        if found:
            pieces.append(("thinking", thought.rstrip("\n")))
            self._state, self._held = "gap", rest
            return True
        keep = _overlap(self._held, self._end)
        certain = self._held[: len(self._held) - keep].rstrip("\n")  # newlines may turn out to be the block's last
        pieces.append(("thinking", certain))
        self._held = self._held[len(certain) :]
        return False

    def _become_plain(self) -> None:
        self._state = "text"
        self.plain = True


def _overlap(text: str, tag: str) -> int:
    """Length of the longest end of `text` that is a beginning of `tag`."""
    return next((n for n in range(min(len(text), len(tag) - 1), 0, -1) if tag.startswith(text[-n:])), 0)


def split_think_tags(text: str) -> list[Piece]:
    """The pieces of a complete text: at most one of thinking, then at most one of text."""
    if text[:1].isalnum():  # no tag can open it
        return [("text", text)]
    splitter = ThinkTagSplitter()
    return [*splitter.feed(text), *splitter.close()]
