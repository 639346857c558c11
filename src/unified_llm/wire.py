"""What crosses the driver seam: `WireCall` out, bytes back; and the incremental splitters of streamed bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from unified_llm.errors import StreamInterruptedError
from unified_llm.responses import Adjustment

__all__ = ["LineSplitter", "SSEEvent", "SSESplitter", "WireCall", "WireReply", "parse_event", "request_id_of"]

MAX_EVENT_BYTES = 64 * 1024 * 1024

_REQUEST_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-amzn-requestid",
    "x-generation-id",
    "x-trace-id",
    "cf-ray",
)


@dataclass(frozen=True, slots=True)
class WireCall:
    """One HTTP-shaped request, without address or credentials.

    Attributes:
        path: relative to the provider's base URL, such as ``chat/completions``.
        body: encoded JSON, or None for GET.
        headers: extra headers of this call (lower-case names); never credentials.
        stream: whether the answer is read piece by piece.
        timeout: seconds without progress, or None for the driver's default.
        connect: most seconds to connect, or None for the driver's default.
        first: seconds without progress before the first piece of the body, or None for `timeout`.
        total: most seconds for the whole exchange, or None; blocking drivers obey it, as nothing can interrupt them.
        adjustments: what the codec could not keep.
    """

    path: str
    body: bytes | None = None
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    stream: bool = False
    timeout: float | None = None
    adjustments: tuple[Adjustment, ...] = ()
    connect: float | None = None
    first: float | None = None
    total: float | None = None


@dataclass(slots=True)
class WireReply:
    """A complete answer: status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The server's id of the request, from whichever header carries it (names in lower case), or None."""
    for name in _REQUEST_ID_HEADERS:
        if value := headers.get(name):
            return value
    return None


class SSEEvent(NamedTuple):
    """One server-sent event. `data` lines are joined with newlines, as the standard says."""

    event: bytes
    data: bytes


class SSESplitter:
    """Cuts a byte stream into server-sent events, whatever the cuts of the network are.

    Handles LF, CRLF and CR line ends, comments, several ``data:`` lines, a byte order mark, and a last event
    without its blank line (`close`). Source: WHATWG HTML, section 9.2 "Server-sent events".
    """

    __slots__ = ("_buffer", "_cr", "_started", "limit")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._buffer = b""
        self._cr = False
        self._started = False
        self.limit = limit

    def feed(self, chunk: bytes) -> list[SSEEvent]:
        """Add bytes; return the events they complete."""
        events = []
        for block in self.blocks(chunk):
            event = parse_event(block)
            if event is not None:
                events.append(event)
        return events

    def blocks(self, chunk: bytes) -> list[bytes]:
        """`feed`, without taking the events apart (see `parse_event`): for dialects that use ``data:`` alone."""
        if not chunk:  # nothing between the halves of a CRLF is still a CRLF
            return []
        if not self._started:
            chunk = self._strip_bom(chunk)
            if not self._started:
                return []
        if self._cr or b"\r" in chunk:
            chunk = self._unix(chunk)
        buffer = self._buffer + chunk if self._buffer else chunk
        if b"\n\n" not in buffer:
            self._keep(buffer)
            return []
        *blocks, rest = buffer.split(b"\n\n")
        self._keep(rest)
        return blocks

    def close(self) -> list[SSEEvent]:
        """Return the event left without a blank line, if there is one."""
        rest, self._buffer = self._buffer, b""
        event = parse_event(rest.strip(b"\n")) if rest.strip() else None
        return [] if event is None else [event]

    def _keep(self, rest: bytes) -> None:
        if len(rest) > self.limit:
            raise StreamInterruptedError(
                f"a single stream event is larger than {self.limit} bytes",
                hint="the server does not speak server-sent events, or the limit is too small",
                retryable=False,
            )
        self._buffer = rest

    def _strip_bom(self, chunk: bytes) -> bytes:
        head = self._buffer + chunk
        if len(head) < 3 and b"\xef\xbb\xbf".startswith(head):
            self._buffer = head
            return b""
        self._buffer = b""
        self._started = True
        return head.removeprefix(b"\xef\xbb\xbf")

    def _unix(self, chunk: bytes) -> bytes:
        # A CR at the end of a chunk may be half of a CRLF: it counts as a line end, and the LF that follows is skipped.
        if self._cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._cr = False
            if not chunk:
                return b""
        self._cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def parse_event(block: bytes) -> SSEEvent | None:
    """The event in a block of lines, or None when it has no data (comments, keep-alives)."""
    if block.startswith(b"data: ") and b"\n" not in block:  # what nearly every chunk looks like
        return SSEEvent(b"", block[6:])
    event = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
    return SSEEvent(event, b"\n".join(data)) if data else None


class LineSplitter:
    """Cuts a byte stream into lines (NDJSON); empty lines are dropped."""

    __slots__ = ("_buffer", "limit")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._buffer = b""
        self.limit = limit

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add bytes; return the lines they complete."""
        *lines, rest = (self._buffer + chunk).split(b"\n")
        if len(rest) > self.limit:
            raise StreamInterruptedError(
                f"a single line is larger than {self.limit} bytes",
                retryable=False,
                hint="the server does not speak this dialect, or sends without line ends",
            )
        self._buffer = rest
        return list(_filled(lines))

    def close(self) -> list[bytes]:
        """Return the last line, when it had no line end."""
        rest, self._buffer = self._buffer, b""
        return list(_filled([rest]))


def _filled(lines: list[bytes]) -> Iterator[bytes]:
    return (stripped for line in lines if (stripped := line.strip()))
