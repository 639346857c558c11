"""Plain answers, read without a parser: a head that came in one piece, and a body of known size or in bare chunks.

Nearly all answers of model servers are plain, and h11 takes more CPU to say so than everything else in a call together:
ten times as much as this for a whole one, six times for a chunk (benchmarks/README.md). Whatever is not exactly plain
is given to a real parser, from its first byte or from the chunk where that shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import httpcore

from unified_llm.drivers.exchange import MAX_HEAD, Exchange
from unified_llm.drivers.headers import RawHeaders
from unified_llm.drivers.plain_bodies import ChunkedBody, NotPlain, PlainBody, SizedBody

__all__ = ["PlainExchange"]

_IN_NAMES: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IN_HEADS: Final = bytes([9, 10, 13, *range(0x20, 0x7F), *range(0x80, 0x100)])
_BODILESS: Final = (204, 304)


class _Head(NamedTuple):
    status: int
    headers: RawHeaders
    size: int | None
    """Bytes of the body; None when it comes in chunks."""
    close: bool


class PlainExchange:
    """`Exchange` that reads plain answers itself, and gives any other to the parser that `make` makes."""

    __slots__ = ("_asked", "_body", "_ended", "_failure", "_head", "_make", "_parser", "_raw_head", "idle")

    _asked: tuple[bytes, bytes, RawHeaders, bytes]
    _body: PlainBody
    _raw_head: bytes

    def __init__(self, make: Callable[[], Exchange]) -> None:
        self._make = make
        self._parser: Exchange | None = None
        self._head: _Head | None = None
        self._failure: httpcore.RemoteProtocolError | None = None
        self._ended = False
        self.idle = True

    def request(self, method: bytes, target: bytes, headers: RawHeaders, body: bytes) -> list[bytes]:
        """See `Exchange`. The headers were checked when they were encoded (`headers`)."""
        self.idle = self._ended = False
        self._parser = self._head = self._failure = None
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
            self._ended = True
            self._body.end()

    def _begin(self, data: bytes) -> None:
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD) + 4
        head = None if end < 4 or self._asked[0] == b"HEAD" else _plain(data[: end - 4])
        if head is None:
            self._parse(data)
            return
        self._head, self._raw_head = head, data[:end]
        self._body = ChunkedBody() if head.size is None else SizedBody(head.size)
        self._more(data[end:])

    def _more(self, data: bytes) -> None:
        """Take what came of the body. What is wrong with it is told by `body`: the head has to be read first."""
        try:
            try:
                self._body.feed(data)
            except NotPlain as exc:
                self._parse(self._raw_head + exc.rest)
                self._parser.response()  # type: ignore[union-attr]  # it is known
        except httpcore.RemoteProtocolError as exc:
            self._failure = exc

    def _parse(self, data: bytes) -> None:
        """Give the rest of the answer to a parser."""
        parser = self._make()
        parser.request(*self._asked)
        parser.feed(data)
        self._parser = parser

    def response(self) -> tuple[int, RawHeaders] | None:
        """See `Exchange`."""
        if self._head is not None:
            return self._head.status, self._head.headers
        return None if self._parser is None else self._parser.response()

    def body(self) -> tuple[bytes, bool]:
        """See `Exchange`."""
        if self._head is None:
            return (b"", False) if self._parser is None else self._parser.body()
        data, complete = self._body.take(), self._body.complete
        if self._parser is not None and self._failure is None:
            try:
                more, complete = self._parser.body()
                data += more
            except httpcore.RemoteProtocolError as exc:
                self._failure = exc
        if self._failure is not None and not data:
            raise self._failure
        return data, complete and self._failure is None

    def finish(self) -> None:
        """See `Exchange`."""
        if self._parser is not None:
            self._parser.finish()
            self.idle = self._parser.idle
        elif self._head is not None and self._failure is None:
            self.idle = self._body.complete and not (self._body.surplus or self._head.close or self._ended)
        self._parser = None


def _plain(head: bytes) -> _Head | None:
    """The head of a plain answer, without its empty line; None when there is anything to judge."""
    lines = head.split(b"\r\n")
    breaks = len(lines) - 1
    status = lines[0][9:12]
    if (
        not (lines[0].startswith(b"HTTP/1.1 ") and status.isdigit() and lines[0][12:13] in (b"", b" "))
        or head.translate(None, _IN_HEADS)
        or head.count(b"\n") != breaks
        or head.count(b"\r") != breaks
    ):
        return None
    headers = []
    framing: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not (name and colon) or name.translate(None, _IN_NAMES):
            return None
        headers.append((name, value))
        lower = name.lower()
        if lower in _FRAMING:
            if lower in framing:
                return None
            framing[lower] = value
    return _framed(int(status), headers, framing)


_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"connection"})


def _framed(status: int, headers: RawHeaders, framing: dict[bytes, bytes]) -> _Head | None:
    """The head, if `framing` says plainly where the body ends, and what becomes of the connection then."""
    size = framing.get(b"content-length")
    wish = framing.get(b"connection", b"keep-alive").lower()
    if not 200 <= status < 600 or status in _BODILESS or wish not in (b"close", b"keep-alive"):
        return None
    if size is None:
        chunked = framing.get(b"transfer-encoding", b"").lower() == b"chunked"
        return _Head(status, headers, None, wish == b"close") if chunked else None
    if b"transfer-encoding" in framing or not size.isdigit() or len(size) > 15:
        return None
    return _Head(status, headers, int(size), wish == b"close")
