"""Bodies of plain answers: so many bytes, or chunks without extensions and trailers. Pure: bytes in, bytes out."""

from __future__ import annotations

from typing import Final, Protocol

import httpcore

__all__ = ["ChunkedBody", "NotPlain", "PlainBody", "SizedBody"]

_HEX: Final = b"0123456789abcdefABCDEF"
_LONGEST_SIZE: Final = 15
"""Digits of a chunk's size: more than a petabyte needs."""


class NotPlain(Exception):  # noqa: N818  # never leaves the drivers
    """What comes next needs a real parser: `rest`, which begins between two chunks."""

    def __init__(self, rest: bytes) -> None:
        self.rest = rest


class PlainBody(Protocol):
    """`complete`: all of it came; `surplus`: and more than that."""

    complete: bool
    surplus: bool

    def feed(self, data: bytes) -> None:
        """Take what came. Raises `httpcore.RemoteProtocolError`, `NotPlain`."""

    def end(self) -> None:
        """The connection ended. Raises `httpcore.RemoteProtocolError` when the body is not complete."""

    def take(self) -> bytes:
        """What came since the last time."""
        ...


class _Pieces:
    __slots__ = ("complete", "pieces", "surplus")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.complete = self.surplus = False

    def take(self) -> bytes:
        pieces, self.pieces = self.pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class SizedBody(_Pieces):
    """A body of `size` bytes."""

    __slots__ = ("_missing", "_size")

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = self._missing = size
        self.complete = not size

    def feed(self, data: bytes) -> None:
        """See `PlainBody`."""
        if len(data) > self._missing:
            self.surplus = True
            data = data[: self._missing]
        self._missing -= len(data)
        self.complete = not self._missing
        self.pieces.append(data)

    def end(self) -> None:
        """See `PlainBody`."""
        if self._missing:
            raise httpcore.RemoteProtocolError(
                "peer closed connection without sending complete message body "
                f"(received {self._size - self._missing} bytes, expected {self._size})"  # h11's words
            )


class ChunkedBody(_Pieces):
    """A body in chunks. What came of a chunk is given at once, however much of it is still to come."""

    __slots__ = ("_inside", "_missing", "_rest")

    def __init__(self) -> None:
        super().__init__()
        self._missing = 0  # bytes of the chunk that is open
        self._inside = False  # whether the line end behind a chunk's bytes is still to come
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """See `PlainBody`."""
        data, self._rest = self._rest + data, b""
        place = self._through_open_chunk(data) if self._inside else 0
        while place < len(data):
            if self.complete:
                self.surplus = True
                return
            line = data.find(b"\r\n", place, place + _LONGEST_SIZE + 2)
            if line < 0:
                self._keep(data[place:])
                return
            size = _size(data[place:line])
            if size is None:
                raise NotPlain(data[place:])
            start, end = line + 2, line + 2 + size
            if size and data.startswith(b"\r\n", end):  # the whole chunk is there, as nearly always
                self.pieces.append(data[start:end])
                place = end + 2
            elif size:
                self._inside, self._missing = True, size
                place = start + self._through_open_chunk(data[start:])
            elif data.startswith(b"\r\n", start):
                self.complete = True
                place = start + 2
            elif data[start:] in (b"", b"\r"):
                self._rest = data[place:]
                return
            else:
                raise NotPlain(data[place:])  # trailers

    def _through_open_chunk(self, data: bytes) -> int:
        """Take what `data` begins with of the open chunk and its line end; how much that was."""
        piece = data[: self._missing]
        if piece:
            self.pieces.append(piece)
            self._missing -= len(piece)
        if self._missing:
            return len(data)
        tail = data[len(piece) : len(piece) + 2]
        if tail == b"\r\n":
            self._inside = False
        elif tail in (b"", b"\r"):
            self._rest = tail
            return len(data)
        else:
            raise httpcore.RemoteProtocolError(f"expected the end of a chunk, not {tail!r}")
        return len(piece) + 2

    def _keep(self, rest: bytes) -> None:
        """Keep a size whose line has not ended yet."""
        if _size(rest.removesuffix(b"\r")) is None:
            raise NotPlain(rest)
        self._rest = rest

    def end(self) -> None:
        """See `PlainBody`."""
        if not self.complete:
            raise httpcore.RemoteProtocolError(
                "peer closed connection without sending complete message body (incomplete chunked read)"
            )


def _size(digits: bytes) -> int | None:
    """The size of a chunk; None for what is not just that."""
    if not 0 < len(digits) <= _LONGEST_SIZE or digits.translate(None, _HEX):
        return None
    return int(digits, 16)
