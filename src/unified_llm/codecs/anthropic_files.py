"""``/v1/files``: files kept by the API, named in messages by their id."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from unified_llm.codecs.anthropic_objects import object_in, page_in, unusable
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.fields import count_of, text_of
from unified_llm.errors import InvalidRequestError
from unified_llm.wire import WireCall, WireReply

__all__ = ["FileCodec", "FileInfo"]

PATH: Final = "v1/files"
_WHAT: Final = "description of a file"
_COMMON: Final = (("anthropic-version", "2026-10-21"), ("anthropic-beta", "files-api-2025-04-14"))


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file kept by the API. `size` in bytes; only files that Claude made are `downloadable`."""

    id: str
    name: str | None = None
    media_type: str | None = None
    size: int | None = None
    created_at: str | None = None
    downloadable: bool | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


class FileCodec:
    """Files to calls and back."""

    def upload(self, data: bytes, name: str, media_type: str) -> WireCall:
        """The call that sends a file. Raises `InvalidRequestError` for a name that cannot be sent."""
        if not data:
            raise InvalidRequestError(f"the file {name!r} is empty", hint="send a file with something in it")
        if any(character in name + media_type for character in '\r\n"'):
            raise InvalidRequestError(
                f"a file cannot be called {name!r}", hint="leave out quotation marks and line breaks"
            )
        border = secrets.token_hex(16)
        while border.encode() in data:
            border = secrets.token_hex(16)
        head = (
            f'--{border}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n'
            f"content-type: {media_type}\r\n\r\n"
        )
        body = b"".join((head.encode(), data, f"\r\n--{border}--\r\n".encode()))
        return WireCall(PATH, body, headers=(*_COMMON, ("content-type", f"multipart/form-data; boundary={border}")))

    def one(self, file_id: str, *, method: str = "GET", content: bool = False) -> WireCall:
        """The call that describes, deletes or reads a file."""
        return WireCall(f"{PATH}/{quote(file_id, safe='')}{'/content' if content else ''}", None, method, _COMMON)

    def page(self, after: str | None = None) -> WireCall:
        """The call that lists files."""
        more = f"&after_id={quote(after, safe='')}" if after else ""
        return WireCall(f"{PATH}?limit=1000{more}", None, "GET", _COMMON)

    def decode(self, reply: WireReply, context: CodecContext) -> FileInfo:
        """A file's description."""
        return _info(object_in(reply, context, _WHAT), reply, context)

    def decode_page(self, reply: WireReply, context: CodecContext) -> tuple[list[FileInfo], str | None]:
        """The files of a page, and where the next one begins."""
        return page_in(reply, context, "files", lambda row: _info(row, reply, context))


def _info(value: Any, reply: WireReply, context: CodecContext) -> FileInfo:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise unusable(reply, context, f"no {_WHAT}")
    return FileInfo(
        value["id"],
        text_of(value.get("filename")),
        text_of(value.get("mime_type")),
        count_of(value.get("size_bytes")),
        text_of(value.get("created_at")),
        downloadable if isinstance(downloadable := value.get("downloadable"), bool) else None,
        value,
    )
