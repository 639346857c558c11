"""Files kept by Claude's API: `ClaudeProvider.files`."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

from unified_llm.codecs.anthropic_files import FileCodec, FileInfo
from unified_llm.codecs.anthropic_objects import Pages
from unified_llm.errors import APIError, InvalidRequestError, ModelNotFoundError
from unified_llm.wire import WireCall, WireReply

if TYPE_CHECKING:
    from unified_llm.providers.claude import ClaudeProvider

__all__ = ["Files", "checked"]


class Files:
    """Files that are sent once and named in many messages.

        files = llm.get_provider("claude").files
        report = files.upload("report.pdf")
        llm.chat([Message("user", ["Summarise this.", File(file_id=report.id)])])

    Every method raises the `UnifiedLLMError` of what the API says.
    """

    def __init__(self, provider: ClaudeProvider) -> None:
        self._provider = provider
        self._codec = FileCodec()

    def upload(
        self, file: str | os.PathLike[str] | bytes, *, name: str | None = None, media_type: str | None = None
    ) -> FileInfo:
        """Send a file of this machine, or bytes, which need a `name`. The kind follows from the name if not given.

        Raises:
            InvalidRequestError: there is no such file, it is empty, or bytes have no name.
        """
        return self._described(self._send(self._upload(file, name, media_type)))

    async def upload_async(
        self, file: str | os.PathLike[str] | bytes, *, name: str | None = None, media_type: str | None = None
    ) -> FileInfo:
        """`upload`, without blocking the event loop."""
        call = await asyncio.to_thread(self._upload, file, name, media_type)
        return self._described(await self._send_async(call))

    def get(self, file_id: str) -> FileInfo:
        """What the API knows of a file."""
        return self._described(self._send(self._codec.one(file_id)))

    async def get_async(self, file_id: str) -> FileInfo:
        """`get`, without blocking the event loop."""
        return self._described(await self._send_async(self._codec.one(file_id)))

    def download(self, file_id: str) -> bytes:
        """The bytes of a file that Claude made."""
        return self._send(self._codec.one(file_id, content=True)).body

    async def download_async(self, file_id: str) -> bytes:
        """`download`, without blocking the event loop."""
        return (await self._send_async(self._codec.one(file_id, content=True))).body

    def delete(self, file_id: str) -> None:
        """Delete a file."""
        self._send(self._codec.one(file_id, method="DELETE"))

    async def delete_async(self, file_id: str) -> None:
        """`delete`, without blocking the event loop."""
        await self._send_async(self._codec.one(file_id, method="DELETE"))

    def list_files(self) -> list[FileInfo]:
        """All files of the workspace."""
        pages: Pages[FileInfo] = Pages(self._provider.name)
        while pages.more:
            pages.add(self._page(self._send(self._codec.page(pages.after))))
        return pages.found

    async def list_files_async(self) -> list[FileInfo]:
        """`list`, without blocking the event loop."""
        pages: Pages[FileInfo] = Pages(self._provider.name)
        while pages.more:
            pages.add(self._page(await self._send_async(self._codec.page(pages.after))))
        return pages.found

    # -- what both sides share --------------------------------------------------------------------------------------

    def _upload(self, file: str | os.PathLike[str] | bytes, name: str | None, media_type: str | None) -> WireCall:
        if isinstance(file, bytes):
            if not name:
                raise InvalidRequestError("bytes need a name", provider="claude", hint="upload(data, name='a.pdf')")
            data = file
        else:
            path = Path(file)
            name = name or path.name
            try:
                data = path.read_bytes()
            except OSError as exc:
                raise InvalidRequestError(
                    f"the file {path} cannot be read: {exc.strerror}", provider="claude", hint="check the path"
                ) from exc
        kind = media_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return self._codec.upload(data, name, kind)

    def _described(self, reply: WireReply) -> FileInfo:
        return self._codec.decode(reply, self._provider.context)

    def _page(self, reply: WireReply) -> tuple[list[FileInfo], str | None]:
        return self._codec.decode_page(reply, self._provider.context)

    def _send(self, call: WireCall) -> WireReply:
        return checked(self._provider, self._provider.driver.send(call), "list_files() shows what there is")

    async def _send_async(self, call: WireCall) -> WireReply:
        reply = await self._provider.driver.send_async(call)
        return checked(self._provider, reply, "list_files() shows what there is")


def checked(provider: ClaudeProvider, reply: WireReply, where: str) -> WireReply:
    """A reply that is no failure. `where` is the hint for what is not there: a 404 speaks of no model here."""
    if 200 <= reply.status < 300:
        return reply
    error = provider.chat_codec.error(reply.status, reply.headers, reply.body, provider.context)
    if not isinstance(error, ModelNotFoundError):
        raise error
    raise APIError(
        error.message,
        provider=error.provider,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        body=error.body,
        hint=where,
    )
