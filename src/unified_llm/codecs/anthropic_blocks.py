"""A content block while it is streamed: rebuilt so that it equals the block of an answer that was not streamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unified_llm import _json

__all__ = ["OpenBlock"]


class OpenBlock:
    """A block on its way: what `content_block_start` said, and the pieces since, by the field they belong to."""

    __slots__ = ("index", "pieces", "raw")

    def __init__(self, raw: dict[str, Any], index: int) -> None:
        self.raw = raw
        self.index = index
        self.pieces: dict[str, list[str]] = {}

    def add(self, name: str, piece: str) -> None:
        try:
            self.pieces[name].append(piece)
        except KeyError:
            self.pieces[name] = [piece]

    def add_unknown(self, delta: Mapping[str, Any]) -> None:
        """A kind of delta this version does not know: its texts are joined, its other values replace."""
        for name, value in delta.items():
            if name == "type":
                continue
            if isinstance(value, str):
                self.add(name, value)
            else:
                self.raw[name] = value

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
