"""Standard input and output as the MCP transport: nothing else may read the one or write to the other.

The SDK's own streams hop to a thread for every line read and twice for every line written, and a thread blocked on
standard input keeps the process from ending after a signal. These ones read in one daemon thread, and write in place
when that cannot block.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

__all__ = ["LineReader", "LineWriter", "Wire", "claim_wire"]

CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Wire:
    """File descriptors of the transport."""

    read_fd: int
    write_fd: int


def claim_wire() -> Wire:
    """Take standard input and output for the transport.

    From now on what prints, in this process or in a child, goes to standard error, and what reads standard input
    finds its end. Call it before anything is imported that might print.
    """
    sys.stdout.flush()
    wire = Wire(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return wire


class LineReader:
    """Lines of a file descriptor, as text, for ``async for``. Bytes that are no UTF-8 are replaced."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        threading.Thread(target=self._read, name="mcp-stdin", daemon=True).start()

    def _read(self) -> None:
        rest = b""
        try:
            while chunk := os.read(self._fd, CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                if lines:
                    self._loop.call_soon_threadsafe(self._put, [line.decode(errors="replace") for line in lines])
        except OSError:
            rest = b""  # the other side is gone: the same as the end
        finally:
            last = [rest.decode(errors="replace")] if rest.strip() else []
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._put, [*last, None])

    def _put(self, lines: Sequence[str | None]) -> None:
        for line in lines:
            if line is None or line.strip():
                self._lines.put_nowait(line)

    async def __aiter__(self) -> AsyncIterator[str]:
        while (line := await self._lines.get()) is not None:
            yield line


class LineWriter:
    """Writes text to a file descriptor, whole and in order, without blocking the event loop."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            self._poll.register(fd, select.POLLOUT)

    async def write(self, text: str) -> None:
        """Write `text`. Raises `OSError` when the other side is gone."""
        data = text.encode()
        if self._cannot_block(len(data)):
            os.write(self._fd, data)
        else:
            await asyncio.to_thread(self._write_all, data)

    async def flush(self) -> None:
        """Nothing is buffered."""

    def _cannot_block(self, size: int) -> bool:
        """POSIX: a pipe that polls writable takes PIPE_BUF bytes at once."""
        return self._poll is not None and size <= select.PIPE_BUF and bool(self._poll.poll(0))

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
