"""Lines over file descriptors, for the standard input and output of a process that serves one client.

The SDK's own streams hop to a thread for every line read and twice for every line written, and a thread blocked on
standard input keeps the process from ending after a signal. Pipes and sockets, which is what hosts use, are read and
written here by the event loop itself. It never makes them non-blocking, because that flag belongs to everybody who
holds the other copy of the descriptor (a shell, a terminal): it reads once when there is something, and writes no more
than fits. What an event loop cannot wait for (files, terminals, everything on Windows) has a thread.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
import sys
import threading
from collections.abc import Sequence

__all__ = ["LONGEST_LINE", "TOO_LONG", "LineReader", "LineWriter"]

CHUNK = 1 << 16
LONGEST_LINE = 1 << 26
"""Most bytes of a line: attachments of 20 MiB fit in well."""
TOO_LONG = "a line that was too long"
"""Stands, as this object, for a line of more bytes, of which nothing is kept."""
ATOMIC = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe or socket which polls writable takes without blocking."""


def _loop_can_wait(fd: int) -> bool:
    """Whether every kind of event loop can tell when `fd` is ready. Says no rather than wrongly yes."""
    if sys.platform == "win32":
        return False
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class LineReader:
    """Lines of a file descriptor, as text, blank ones left out. Bytes that are no UTF-8 are replaced.

    Made inside a running event loop, which it reads with from then on.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._begun: list[bytes] = []
        self._size = 0
        self._ended = False
        self._watched = _loop_can_wait(fd)
        if self._watched:
            self._loop.add_reader(fd, self._ready)
        else:
            threading.Thread(target=self._read, name="mcp-stdin", daemon=True).start()

    async def next(self) -> str | None:
        """The next line; None at the end, and for ever after."""
        if self._ended and self._lines.empty():
            return None
        return await self._lines.get()

    def close(self) -> None:
        """Read no more: what has not arrived yet is as if the end had come. Does not close the file descriptor."""
        if not self._ended:
            self._ended = True
            if self._watched:
                self._loop.remove_reader(self._fd)
            self._lines.put_nowait(None)

    def _ready(self) -> None:
        try:
            chunk = os.read(self._fd, CHUNK)
        except (BlockingIOError, InterruptedError):
            return  # somebody else made it non-blocking, and there is nothing after all
        except OSError:
            chunk = b""  # the other side is gone: the same as the end
        self._take(chunk)

    def _read(self) -> None:
        """In a thread of its own, which ends with the input or the process."""
        chunk = b"..."
        while chunk and not self._ended:
            try:
                chunk = os.read(self._fd, CHUNK)
            except OSError:
                chunk = b""
            try:
                self._loop.call_soon_threadsafe(self._take, chunk)
            except RuntimeError:
                return  # the loop is closed: nobody listens any more

    def _take(self, chunk: bytes) -> None:
        """Split what was read; an empty `chunk` is the end, which also ends the last line."""
        if self._ended:
            return
        first, *others = chunk.split(b"\n")
        self._size += len(first)
        if self._size > LONGEST_LINE:
            self._begun.clear()
        else:
            self._begun.append(first)
        if others or not chunk:
            if self._size > LONGEST_LINE:
                self._lines.put_nowait(TOO_LONG)
            self._put([b"".join(self._begun), *others[:-1]])
            self._begun = others[-1:]
            self._size = sum(map(len, self._begun))
        if not chunk:
            self.close()

    def _put(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            # A byte order mark, which PowerShell writes into pipes, is no part of a line.
            if text := line.decode(errors="replace").strip().removeprefix("\ufeff"):
                self._lines.put_nowait(text)


class LineWriter:
    """Writes text to a file descriptor, whole and in order, without blocking the event loop.

    A writer that is cancelled while it waits tears no line: what has been handed over is written all the same.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._unsent = bytearray()
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._error: OSError | None = None
        self._thread: asyncio.Task[None] | None = None
        self._poll = select.poll() if _loop_can_wait(fd) else None
        if self._poll is not None:
            self._poll.register(fd, select.POLLOUT)

    async def write(self, text: str) -> None:
        """Write `text`; returns when it is written. Raises `OSError` when the other side is gone."""
        if self._error is not None:
            raise self._error
        self._unsent += text.encode()
        if self._all_sent.is_set():
            self._send()
        await self.flush()

    async def flush(self) -> None:
        """Return when all is written. Raises `OSError` when the other side is gone."""
        if not self._all_sent.is_set():
            await self._all_sent.wait()
        if self._error is not None:
            raise self._error

    def _send(self) -> None:
        """Write what fits now, and see to the rest."""
        if self._poll is None:
            self._all_sent.clear()
            self._thread = asyncio.ensure_future(self._send_in_thread())
            return
        try:
            while self._unsent and self._poll.poll(0):
                del self._unsent[: os.write(self._fd, self._unsent[:ATOMIC])]
        except (BlockingIOError, InterruptedError):
            pass  # somebody else made it non-blocking, and it is full after all
        except OSError as error:
            self._fail(error)
        self._watch(bool(self._unsent))

    def _watch(self, more: bool) -> None:
        """Have the rest sent as soon as there is room; or tell those who wait that there is none."""
        if more and self._all_sent.is_set():
            self._all_sent.clear()
            self._loop.add_writer(self._fd, self._send)
        elif not more and not self._all_sent.is_set():
            self._loop.remove_writer(self._fd)
            self._all_sent.set()

    async def _send_in_thread(self) -> None:
        try:
            while self._unsent:
                data = bytes(self._unsent)
                self._unsent.clear()
                await asyncio.to_thread(_write_all, self._fd, data)
        except OSError as error:
            self._fail(error)
        finally:
            self._all_sent.set()

    def _fail(self, error: OSError) -> None:
        self._error = error
        self._unsent.clear()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
