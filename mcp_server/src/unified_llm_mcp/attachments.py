"""Attachments of a chat: files inside the allowed folders, and data URIs. Nothing is fetched from a network."""

from __future__ import annotations

import asyncio
import errno
import mimetypes
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from unified_llm.attachments import image_type
from unified_llm.errors import InvalidMessageError
from unified_llm.message_formats import split_data_url
from unified_llm.messages import Audio, File, Image, Part
from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.settings import Settings

__all__ = ["read_attachments"]


async def read_attachments(given: Sequence[str], settings: Settings) -> list[Part]:
    """The parts of the attachments, in order, read in a thread.

    Raises:
        ToolCallError: not an absolute path or data URI; outside the allowed folders, also through a link or ``..``;
            no regular file; too large, all of them together.
    """
    return await asyncio.to_thread(_parts, given, settings) if given else []


def _parts(given: Sequence[str], settings: Settings) -> list[Part]:
    parts: list[Part] = []
    left = settings.max_attachment_bytes
    for one in given:
        part = _part(one, settings, left)
        left = max(0, left - len(part.data or b""))
        parts.append(part)
    return parts


def _part(given: str, settings: Settings, limit: int) -> Image | Audio | File:
    if given.startswith("data:"):
        return _from_data_uri(given, limit)
    if "://" in given:
        raise _refused(
            "an attachment is a URL, and this server fetches none", "pass a file path, or the content as a data: URI"
        )
    return _from_path(Path(given), settings, limit)


def _from_data_uri(uri: str, limit: int) -> Image | Audio | File:
    if len(uri) > limit * 4 // 3 + 1024:
        raise _too_large("the data: URI", limit)
    try:
        data, media_type = split_data_url(uri)
    except InvalidMessageError as error:
        raise _refused(error.message, "write it as data:image/png;base64,...") from error
    return _typed(data, media_type, None)


def _from_path(path: Path, settings: Settings, limit: int) -> Image | Audio | File:
    if "\0" in str(path):
        raise _refused("an attachment's path holds a null character", "pass the path of a file")
    if not path.is_absolute():
        raise _refused("an attachment is neither an absolute path nor a data: URI", "pass the absolute path")
    if not settings.allow_dirs:
        raise _refused("this server reads no files", "start it with --allow-dir FOLDER, or pass a data: URI")
    real = Path(os.path.realpath(path))
    allowed = [Path(os.path.realpath(folder)) for folder in settings.allow_dirs]
    if not any(real.is_relative_to(folder) for folder in allowed):
        raise _refused(
            f"{path} is outside the folders attachments may come from",
            f"allowed: {', '.join(map(str, settings.allow_dirs))} (links are followed before the check)",
        )
    return _typed(_read(real, path, limit), mimetypes.guess_type(real.name)[0], real.name)


def _read(real: Path, given: Path, limit: int) -> bytes:
    """Read a file that was checked; errors name it as the caller did.

    A link put in its place since then is refused, not followed.
    """
    try:
        descriptor = os.open(real, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        reason = "is a link" if error.errno == errno.ELOOP else error.strerror
        raise _refused(f"cannot read {given}: {reason}", "check the path and its permissions") from error
    try:
        # Before it is opened as a file: Python refuses a folder there with an error of its own.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _refused(f"{given} is no regular file", "pass a file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise _too_large(str(given), limit)
    return data


def _typed(data: bytes, media_type: str | None, name: str | None) -> Image | Audio | File:
    kind = (media_type or "").partition("/")[0]
    found = image_type(data)
    if kind == "image" or (found is not None and media_type is None):
        if found is None:
            raise _refused(f"{name or 'an attachment'} says it is an image, and is none", "send PNG, JPEG, GIF or WebP")
        return Image(data=data, media_type=found)
    if kind == "audio":
        return Audio(data=data, media_type=media_type)
    return File(data=data, media_type=media_type, name=name)


def _refused(message: str, hint: str | None) -> ToolCallError:
    return ToolCallError("attachment", message, hint=hint)


def _too_large(what: str, limit: int) -> ToolCallError:
    return _refused(
        f"{what} is larger than the {limit / (1 << 20):.3g} MiB that are left for it", "send less, or smaller files"
    )
