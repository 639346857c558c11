"""Files become bytes before anything is encoded: codecs do no I/O. Images are checked to be images."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from unified_llm.errors import InvalidMessageError
from unified_llm.message_formats import split_data_url
from unified_llm.messages import Audio, File, Image, Message, Opaque, Part, Text, Thinking, ToolCall, ToolResult

__all__ = ["image_type", "needs_reading", "resolve", "resolve_async"]

MAX_BYTES = 100 * 1024 * 1024
_NO_MEDIA = frozenset({Text, Thinking, ToolCall, Opaque})
_Media = TypeVar("_Media", Image, Audio, File)

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def image_type(data: bytes) -> str | None:
    """Media type of some image bytes, from their first bytes, or None when they are no image we know."""
    for magic, media_type in _MAGIC:
        if data.startswith(magic):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"heic", b"heix", b"mif1"):
        return "image/avif" if data[8:12] == b"avif" else "image/heic"
    return None


def needs_reading(messages: Iterable[Message]) -> bool:
    """Whether any part is media, also inside a tool result, and so must pass through `resolve`."""
    for message in messages:
        for part in message.parts:
            kind = type(part)
            if kind is ToolResult:
                if not _NO_MEDIA.issuperset(map(type, part.parts)):  # type: ignore[union-attr]  # told by `kind`
                    return True
            elif kind not in _NO_MEDIA:
                return True
    return False


def resolve(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Read every path and data URL; check images. Messages without media come back as they are.

    Raises:
        InvalidMessageError: a file is missing, unreadable, too large (100 MiB), or an image that is no image.
    """
    return tuple(_resolve_message(m) for m in messages)


async def resolve_async(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """`resolve`, reading files in a thread."""
    return await asyncio.to_thread(resolve, messages)


def _resolve_message(message: Message) -> Message:
    parts = tuple(_resolve_part(p) for p in message.parts)
    if all(a is b for a, b in zip(parts, message.parts, strict=True)):
        return message
    return Message(message.role, parts, name=message.name, origin=message.origin, id=message.id)


def _resolve_part(part: Part) -> Part:
    if isinstance(part, ToolResult):
        inner = tuple(_resolve_part(p) for p in part.parts)
        if all(a is b for a, b in zip(inner, part.parts, strict=True)):
            return part
        return ToolResult(part.call_id, inner, is_error=part.is_error, name=part.name, native=part.native)
    if isinstance(part, Image):
        return _checked(_loaded(part))
    if isinstance(part, File):
        name = part.name or (Path(part.path).name if part.path is not None else None)
        return replace(_loaded(part), name=name)
    return _loaded(part) if isinstance(part, Audio) else part


def _loaded(part: _Media) -> _Media:
    if part.data is not None or part.file_id or part.native is not None:
        return part
    if part.url is not None:
        if not part.url.startswith("data:"):
            return _with_scheme(part, part.url)
        data, media_type = split_data_url(part.url)
        return replace(part, data=data, url=None, media_type=part.media_type or media_type)
    path = Path(part.path or "").expanduser()
    guessed = part.media_type or mimetypes.guess_type(path.name)[0]
    return replace(part, data=_read(path), path=None, media_type=guessed)


def _with_scheme(part: _Media, url: str) -> _Media:
    """`part`, whose address the server will fetch. Which schemes it takes (https, gs, s3...) is its own affair."""
    if "://" not in url:
        kind = type(part).__name__
        raise InvalidMessageError(
            f"the url {url!r} of {kind} has no scheme", hint=f"for a file on this machine use {kind}(path=...)"
        )
    return part


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidMessageError(f"{path} is larger than {MAX_BYTES >> 20} MiB", hint="send a smaller file")
        return path.read_bytes()
    except OSError as exc:
        raise InvalidMessageError(
            f"cannot read {path}: {exc.strerror or exc}", hint="check the path and its permissions"
        ) from exc


def _checked(image: Image) -> Image:
    if image.data is None:
        return image
    found = image_type(image.data)
    if found is None:
        raise InvalidMessageError(
            "the data is no image (its first bytes are of no known image format)",
            hint="send PNG, JPEG, GIF or WebP bytes; for other files use File",
        )
    return image if image.media_type == found else replace(image, media_type=found)
