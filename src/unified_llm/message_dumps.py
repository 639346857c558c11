"""Messages in our own lossless form: JSON-safe dictionaries that read back equal, native blocks included."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from unified_llm.content_blocks import unbase64
from unified_llm.errors import InvalidMessageError
from unified_llm.messages import (
    Audio,
    File,
    Image,
    Message,
    Native,
    Opaque,
    Origin,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

__all__ = ["dump_message", "load_message"]

_KINDS: dict[str, type[Any]] = {
    "text": Text,
    "thinking": Thinking,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "image": Image,
    "audio": Audio,
    "file": File,
    "opaque": Opaque,
}
_KIND_OF = {cls: kind for kind, cls in _KINDS.items()}


def dump_message(message: Message) -> dict[str, Any]:
    """See `Message.dump`."""
    value: dict[str, Any] = {"role": message.role.value, "parts": [_dump_part(p) for p in message.parts]}
    if message.origin is not None:
        value["origin"] = {n: v for n in Origin.__slots__ if (v := getattr(message.origin, n)) is not False}
    return value | {k: v for k in ("name", "id") if (v := getattr(message, k)) is not None}


def _dump_part(part: Part) -> dict[str, Any]:
    value: dict[str, Any] = {"type": _KIND_OF[type(part)]}
    for f in fields(part):
        item = getattr(part, f.name)
        if f.name.startswith("_") or item is None or item == () or item is False:
            continue
        value[f.name] = _dump_value(f.name, item)
    return value


def _dump_value(name: str, item: Any) -> Any:
    if isinstance(item, Native):
        return {f.name: v for f in fields(item) if (v := getattr(item, f.name)) is not None}
    if isinstance(item, bytes):
        return base64.b64encode(item).decode()
    if name == "parts":
        return [_dump_part(p) for p in item]
    if name == "citations":
        return [dict(c) for c in item]
    return str(item) if name == "path" else item


def load_message(value: Mapping[str, Any]) -> Message:
    """Read what `dump_message` wrote. Raises `InvalidMessageError` for anything else."""
    origin = value.get("origin")
    try:
        return Message(
            value["role"],
            tuple(_load_part(p) for p in value["parts"]),
            name=value.get("name"),
            id=value.get("id"),
            origin=Origin(**origin) if origin else None,
        )
    except (KeyError, TypeError) as exc:
        raise InvalidMessageError(f"not a dumped message: {exc}", hint="pass what Message.dump() returned") from exc


def _load_part(value: Mapping[str, Any]) -> Part:
    given = dict(value)
    cls = _KINDS[given.pop("type")]
    if "native" in given:
        given["native"] = Native(**given["native"])
    if isinstance(given.get("data"), str):
        given["data"] = unbase64(given["data"])
    if "citations" in given:
        given["citations"] = tuple(given["citations"])
    if cls is ToolCall:
        return ToolCall(given["name"], given["arguments_json"], given["id"], native=given.get("native"))
    if cls is ToolResult:
        given["content"] = [_load_part(p) for p in given.pop("parts", ())]
    part: Part = cls(**given)
    return part
