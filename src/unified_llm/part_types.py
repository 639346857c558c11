"""Whether what was read from a dictionary has the types its fields say: JSON of others holds all sorts of things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from unified_llm.errors import InvalidMessageError
from unified_llm.messages import Message, Part, Text, ToolResult

__all__ = ["check_types"]

_TEXT = (str, type(None))
_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "signature": _TEXT,
    "redacted": _TEXT,
    "id": _TEXT,
    "name": _TEXT,
    "call_id": (str,),
    "arguments_json": (str,),
    "is_error": (bool,),
    "data": (bytes, type(None)),
    "url": _TEXT,
    "path": (str, Path, type(None)),
    "media_type": _TEXT,
    "file_id": _TEXT,
    "detail": _TEXT,
}


def check_types(message: Message) -> Message:
    """`message` itself. Raises `InvalidMessageError` for a field of another type than it should have."""
    if message.name is not None or message.id is not None:
        _check(message, ("name", "id"))
    _check_parts(message.parts)
    return message


def _check_parts(parts: Iterable[Part]) -> None:
    for part in parts:
        if type(part) is Text and type(part.text) is str and not part.citations:  # most parts
            continue
        _check(part, [f.name for f in fields(part)])
        if isinstance(part, Text) and not all(isinstance(one, Mapping) for one in part.citations):
            raise InvalidMessageError("a citation is no object", hint="citations are the objects an answer came with")
        if isinstance(part, ToolResult):
            _check_parts(part.parts)


def _check(value: Message | Part, names: Iterable[str]) -> None:
    for name in names:
        found = getattr(value, name)
        kinds = _TYPES.get(name)
        if kinds is not None and not isinstance(found, kinds):
            raise InvalidMessageError(
                f"{name} of a {type(value).__name__} is {type(found).__name__}",
                hint=f"it is {' or '.join(kind.__name__ for kind in kinds if kind is not type(None))}",
            )
