"""The plain answer, read without a parser: ``HTTP/1.1 200``, a Content-Length, a head that came in one piece.

Nearly every whole answer of a model server is one, and h11 takes 280 us to say so, more than everything else in a
call together (benchmarks/README.md). Whatever is not exactly plain is given to a real parser from its first byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import httpcore

from unified_llm.drivers.exchange import MAX_HEAD, Exchange
from unified_llm.drivers.headers import RawHeaders

__all__ = ["PlainExchange"]

_IN_NAMES: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IN_HEADS: Final = bytes([9, 10, 13, *range(0x20, 0x7F), *range(0x80, 0x100)])
_BODILESS: Final = (204, 304)


class _Head(NamedTuple):
    status: int
    headers: RawHeaders
    size: int
    close: bool


class PlainExchange:
    """`Exchange` that reads plain answers itself, and gives any other to the parser that `make` makes."""

    __slots__ = ("_asked", "_head", "_make", "_missing", "_parser", "_pieces", "_spent", "idle")

    def __init__(self, make: Callable[[], Exchange]) -> None:
        self._make = make
        self._parser: Exchange | None = None
        self._asked: tuple[bytes, bytes, RawHeaders, bytes] | None = None
        self._head: _Head | None = None
        self._pieces: list[bytes] = []
        self._missing = 0
        self._spent = False
        self.idle = True

    def request(self, method: bytes, target: bytes, headers: RawHeaders, body: bytes) -> list[bytes]:
        """See `Exchange`. The headers were checked when they were encoded (`headers`)."""
        self.idle = self._spent = False
        self._parser = self._head = None
        self._asked = (method, target, headers, body)
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, lines)
        return [head, body] if body else [head]

    def feed(self, data: bytes) -> None:
        """See `Exchange`."""
        if self._parser is not None:
            self._parser.feed(data)
        elif self._head is None:
            self._begin(data)
        elif data:
            self._more(data)
        else:
            self._ended(self._head.size)

    def _begin(self, data: bytes) -> None:
        assert self._asked is not None  # noqa: S101  # what is answered was asked
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD)
        head = None if end < 0 or self._asked[0] == b"HEAD" else _plain(data[:end])
        if head is None:
            parser = self._parser = self._make()
            parser.request(*self._asked)
            parser.feed(data)
        else:
            self._head, self._missing = head, head.size
            self._more(data[end + 4 :])
        self._asked = None

    def _more(self, data: bytes) -> None:
        if len(data) > self._missing:
            self._spent = True
            data = data[: self._missing]
        self._missing -= len(data)
        self._pieces.append(data)

    def _ended(self, size: int) -> None:
        self._spent = True
        if self._missing:
            raise httpcore.RemoteProtocolError(
                "peer closed connection without sending complete message body "
                f"(received {size - self._missing} bytes, expected {size})"  # h11's words
            )

    def response(self) -> tuple[int, RawHeaders] | None:
        """See `Exchange`."""
        if self._parser is not None:
            return self._parser.response()
        return None if self._head is None else (self._head.status, self._head.headers)

    def body(self) -> tuple[bytes, bool]:
        """See `Exchange`."""
        if self._parser is not None:
            return self._parser.body()
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return data, not self._missing

    def finish(self) -> None:
        """See `Exchange`."""
        if self._parser is not None:
            self._parser.finish()
            self.idle = self._parser.idle
        elif self._head is not None:
            self.idle = not (self._missing or self._spent or self._head.close)
        self._parser = None


def _plain(head: bytes) -> _Head | None:
    """The head of a plain answer, without its empty line; None when there is anything to judge."""
    lines = head.split(b"\r\n")
    status = lines[0][9:12]
    breaks = len(lines) - 1
    if (
        not (lines[0].startswith(b"HTTP/1.1 ") and status.isdigit() and lines[0][12:13] in (b"", b" "))
        or head.translate(None, _IN_HEADS)
        or head.count(b"\n") != breaks
        or head.count(b"\r") != breaks
    ):
        return None
    headers = []
    size: int | None = None
    close = False
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not (name and colon) or name.translate(None, _IN_NAMES):
            return None
        headers.append((name, value))
        lower = name.lower()
        if lower == b"content-length":
            if size is not None or not value.isdigit() or len(value) > 15:
                return None
            size = int(value)
        elif lower == b"transfer-encoding":
            return None
        elif lower == b"connection":
            if (wish := value.lower()) not in (b"close", b"keep-alive"):
                return None
            close = close or wish == b"close"
    code = int(status)
    if size is None or not 200 <= code < 600 or code in _BODILESS:
        return None
    return _Head(code, headers, size, close)
