"""Content blocks of messages, in the shapes of OpenAI and Anthropic, and the ``data:`` URLs inside them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unified_llm.errors import InvalidMessageError
from unified_llm.marks import DOCUMENT_MARKS, marked
from unified_llm.messages import Audio, File, Image, Opaque, Part, Text, Thinking, ToolCall, ToolResult

__all__ = ["KNOWN_TYPES", "data_url", "parts_from_block", "split_data_url", "unbase64"]

_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]*?)*?(?P<b64>;base64)?,(?P<data>.*)", re.DOTALL)


def data_url(data: bytes, media_type: str) -> str:
    """``data:<media_type>;base64,...`` of some bytes."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def split_data_url(url: str) -> tuple[bytes, str]:
    """Bytes and media type of a base64 ``data:`` URL. Raises `InvalidMessageError` when it is not one."""
    match = _DATA_URL.fullmatch(url)
    if match is None or not match["b64"]:
        raise InvalidMessageError(
            "the data URL is not base64", hint="write it as data:image/png;base64,..., or pass the bytes as data="
        )
    return unbase64(match["data"]), match["type"] or "application/octet-stream"


def unbase64(text: object) -> bytes:
    """The bytes behind base64 text. Raises `InvalidMessageError` when it is none."""
    if not isinstance(text, str):
        raise InvalidMessageError(
            f"base64 data must be text, not {type(text).__name__}", hint="raw bytes go into a part: Image(data=...)"
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidMessageError(
            f"the data is not valid base64: {exc}",
            hint="pass the raw bytes instead: Image(data=open(path, 'rb').read())",
        ) from exc


def parts_from_block(block: object) -> list[Part]:
    """The parts that one content block stands for: a str, a part, or a dict in the OpenAI or Anthropic shape.

    Raises:
        InvalidMessageError: its type is not known, or something in it is missing.
    """
    if isinstance(block, str):
        return [Text(block)] if block else []
    if not isinstance(block, Mapping):
        if isinstance(block, (Text, Thinking, ToolCall, ToolResult, Image, Audio, File, Opaque)):
            return [block]
        raise InvalidMessageError(f"a content part is {type(block).__name__}", hint="use a dict with a 'type'")
    kind = block.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise InvalidMessageError(
            f"unknown content part type {kind!r}", hint=f"known: {', '.join(sorted(_READERS))}; or pass an Opaque part"
        )
    part = reader(block)
    return [part if block.keys().isdisjoint(DOCUMENT_MARKS) else marked(part, block)]


def _read_text(block: Mapping[str, Any]) -> Part:
    text = block.get("text")
    if not isinstance(text, str):
        raise InvalidMessageError("a text part has no text", hint="{'type': 'text', 'text': '...'}")
    return Text(text, tuple(block.get("citations") or ()))


def _read_image_url(block: Mapping[str, Any]) -> Part:
    image = block.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str):
        raise InvalidMessageError(
            "an image_url part has no url", hint="{'type': 'image_url', 'image_url': {'url': 'https://...'}}"
        )
    detail = image.get("detail") if isinstance(image, Mapping) else None
    if url.startswith("data:"):
        data, media_type = split_data_url(url)
        return Image(data=data, media_type=media_type, detail=detail)
    return Image(url=url, detail=detail)


def _source(block: Mapping[str, Any]) -> dict[str, Any]:
    source = block.get("source")
    if not isinstance(source, Mapping):
        raise InvalidMessageError(
            f"a {block.get('type')} part has no source",
            hint="'source': {'type': 'base64', 'media_type': 'image/png', 'data': '...'}, or type url, file, text",
        )
    match source.get("type"):
        case "base64":
            return {"data": unbase64(source.get("data")), "media_type": source.get("media_type")}
        case "url":
            return {"url": source.get("url")}
        case "file":
            return {"file_id": source.get("file_id")}
        case "text":
            return {"data": str(source.get("data", "")).encode(), "media_type": "text/plain"}
        case other:
            raise InvalidMessageError(f"unknown source type {other!r}", hint="use base64, url, file or text")


def _read_audio(block: Mapping[str, Any]) -> Part:
    audio = block.get("input_audio") or {}
    return Audio(data=unbase64(audio.get("data")), media_type=f"audio/{audio.get('format', 'wav')}")


def _read_file(block: Mapping[str, Any]) -> Part:
    file = block.get("file", block)
    name, content = file.get("filename"), file.get("file_data")
    if isinstance(content, str):
        data, media_type = split_data_url(content) if content.startswith("data:") else (unbase64(content), None)
        return File(data=data, media_type=media_type, name=name)
    return File(file_id=file.get("file_id"), name=name)


def _read_tool_use(block: Mapping[str, Any]) -> Part:
    name, given = block.get("name"), block.get("input") or {}
    if not isinstance(name, str) or not name:
        raise InvalidMessageError("a tool_use part has no name", hint="name the tool that is called")
    if not isinstance(given, (Mapping, str)):
        raise InvalidMessageError(f"the input of a tool_use part is {type(given).__name__}", hint="use a dictionary")
    return ToolCall(name, given, block.get("id"))


def _read_tool_result(block: Mapping[str, Any]) -> Part:
    content, call_id = block.get("content"), block.get("tool_use_id")
    if not isinstance(call_id, str) or not call_id:
        raise InvalidMessageError("a tool_result part has no tool_use_id", hint="give the id of the call it answers")
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = [part for inner in content for part in parts_from_block(inner)]
    return ToolResult(call_id, content, is_error=bool(block.get("is_error")))


def _read_thinking(block: Mapping[str, Any]) -> Part:
    return Thinking(block.get("thinking") or "", block.get("signature"))


_READERS: dict[str, Callable[[Mapping[str, Any]], Part]] = {
    "text": _read_text,
    "input_text": _read_text,
    "output_text": _read_text,
    "image_url": _read_image_url,
    "image": lambda b: Image(**_source(b)),
    "document": lambda b: File(**_source(b), name=b.get("title")),
    "input_audio": _read_audio,
    "file": _read_file,
    "tool_use": _read_tool_use,
    "tool_result": _read_tool_result,
    "thinking": _read_thinking,
    "redacted_thinking": lambda b: Thinking("", redacted=b.get("data")),
    "refusal": lambda b: Text(str(b.get("refusal", ""))),
}

KNOWN_TYPES = frozenset(_READERS)
"""The block types that `parts_from_block` reads."""
