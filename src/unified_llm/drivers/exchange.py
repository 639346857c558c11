"""What one HTTP/1.1 connection knows of its exchange, without I/O; and h11, the parser that judges every answer."""

from __future__ import annotations

from typing import Any, Final, Protocol

import h11
import httpcore

from unified_llm.drivers.failures import DISCONNECTED
from unified_llm.drivers.headers import RawHeaders

__all__ = ["MAX_HEAD", "Exchange", "H11Exchange"]

MAX_HEAD: Final = 128 * 1024


class Exchange(Protocol):
    """One connection's protocol state, without I/O: bytes to send, bytes that came, and what they mean.

    Every method raises `httpcore.RemoteProtocolError` when the server breaks the protocol.
    """

    idle: bool
    """Whether the connection can carry another request."""

    def request(self, method: bytes, target: bytes, headers: RawHeaders, body: bytes) -> list[bytes]:
        """The bytes of a request."""
        ...

    def feed(self, data: bytes) -> None:
        """Take what came; no bytes mean the end of the connection."""
        ...

    def response(self) -> tuple[int, RawHeaders] | None:
        """Status and headers of the response, or None when more bytes are needed. Interim responses are skipped."""
        ...

    def body(self) -> tuple[bytes, bool]:
        """The body that is there, and whether it is complete. Nothing and False: more must be read."""
        ...

    def finish(self) -> None:
        """Become `idle`, if this call went to its end, nothing came after it, and nobody asked to close."""
        ...


class H11Exchange:
    """`Exchange` by h11."""

    __slots__ = ("_ended", "_h11", "idle")

    def __init__(self) -> None:
        self._ended = False
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self.idle = True

    def request(self, method: bytes, target: bytes, headers: RawHeaders, body: bytes) -> list[bytes]:
        self.idle = False
        state = self._h11
        pieces = [state.send(h11.Request(method=method, target=target, headers=headers))]
        if body:
            pieces.append(state.send(h11.Data(data=body)))
        state.send(h11.EndOfMessage())
        return [piece for piece in pieces if piece]

    def feed(self, data: bytes) -> None:
        if not data and self._h11.their_state is h11.SEND_RESPONSE:
            raise httpcore.RemoteProtocolError(DISCONNECTED)
        self._ended = not data
        self._h11.receive_data(data)

    def response(self) -> tuple[int, RawHeaders] | None:
        event = self._next()
        while isinstance(event, h11.InformationalResponse):
            if event.status_code == 101:
                raise httpcore.RemoteProtocolError("the server switched protocols unasked")
            event = self._next()
        return (event.status_code, event.headers.raw_items()) if isinstance(event, h11.Response) else None

    def body(self) -> tuple[bytes, bool]:
        pieces = []
        while True:
            event = self._next()
            if type(event) is not h11.Data:
                break
            pieces.append(event.data)
        data = bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
        return data, type(event) is h11.EndOfMessage

    def _next(self) -> Any:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as exc:
            raise httpcore.RemoteProtocolError(str(exc)) from exc

    def finish(self) -> None:
        state = self._h11
        both_done = state.our_state is h11.DONE and state.their_state is h11.DONE
        if both_done and not self._ended and not state.trailing_data[0]:
            state.start_next_cycle()
            self.idle = True
