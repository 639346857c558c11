"""httpcore's blocking sockets, with what a driver must know about them and one packet per small request."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore

from unified_llm.drivers.route import keep_alive

__all__ = ["SyncBackend"]

PIECE: Final = 64 * 1024


class SyncBackend(httpcore.NetworkBackend):
    """The network of one connection.

    Attributes:
        answered: whether a byte has come since `begin`.
        ended: whether the server has closed its side.
    """

    def __init__(self, *, http_only: bool) -> None:
        self._sockets = httpcore.SyncBackend()
        self._stream: httpcore.NetworkStream | None = None
        self._http_only = http_only  # no proxy speaks first
        self.answered = False
        self.ended = False

    def begin(self) -> None:
        """A request is about to be sent."""
        self.answered = False

    def received(self, data: bytes) -> None:
        """Take note of what came. Raises `httpcore.RemoteProtocolError` for what cannot become HTTP."""
        if not data:
            self.ended = True
        elif not self.answered:
            self.answered = True
            check_start(data, self._http_only)

    def abort(self) -> None:
        """Close at once; a thread that is reading wakes up."""
        if self._stream is not None:
            sock = self._stream.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            self._stream.close()

    def abandon(self) -> None:
        """Close the descriptor only: after a fork, the connection still belongs to the parent."""
        if self._stream is not None:
            self._stream.close()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._sockets.connect_tcp(host, port, timeout, local_address, socket_options or ())
        keep_alive(stream.get_extra_info("socket"))
        return self.wrap(stream)

    def wrap(self, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        """Watch `stream`, which replaces the one before (TLS over TCP)."""
        self._stream = stream
        return _Stream(stream, self)


def check_start(data: bytes, http_only: bool) -> None:
    """Refuse the first bytes of another protocol, which would otherwise be waited for until the timeout."""
    if http_only and not data.startswith(b"HTTP/"[: len(data)]):
        raise httpcore.RemoteProtocolError(f"it answered {data[:16]!r}")


class _Stream(httpcore.NetworkStream):
    """Holds back what is written until something is read: head and body of a request leave together."""

    def __init__(self, stream: httpcore.NetworkStream, backend: SyncBackend) -> None:
        self._stream = stream
        self._backend = backend
        self._unsent: list[bytes] = []
        self._timeout: float | None = None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._unsent.append(buffer)
        self._timeout = timeout

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._unsent:
            self._flush()
        data = self._stream.read(max_bytes, timeout)
        self._backend.received(data)
        return data

    def _flush(self) -> None:
        data = b"".join(self._unsent)
        self._unsent.clear()
        try:
            # In pieces: the timeout is for silence, not for a whole upload.
            for start in range(0, len(data), PIECE):
                self._stream.write(data[start : start + PIECE], self._timeout)
        except httpcore.WriteError:
            # The server may have answered before it closed (401, 413): httpcore goes on to read too.
            self._backend.ended = True

    def close(self) -> None:
        self._backend.abort()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return self._backend.wrap(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
