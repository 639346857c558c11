"""HTTP for threads: httpcore connections, a list of idle ones, the last used first.

Each call has a connection to itself. The pool costs a lock and a list operation per call, however many calls are in
flight; httpx's walks all its connections and requests for each. A call beyond `max_connections` waits in line.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self, cast

import httpcore

from unified_llm.drivers import failures
from unified_llm.drivers.decoding import BodyDecoder, DecodingError, body_decoder
from unified_llm.drivers.headers import RawHeaders
from unified_llm.drivers.http11 import Direct, Reply, connect
from unified_llm.drivers.route import IDLE_SECONDS, STALE_SECONDS, Route
from unified_llm.drivers.sync_backend import SyncBackend
from unified_llm.errors import UnifiedLLMError
from unified_llm.wire import WireCall, WireReply, request_id_of

__all__ = ["MAX_ERROR_BODY", "SURPLUS", "SyncReplyStream", "SyncTransport", "limited", "reply_headers"]

_log = logging.getLogger("unified_llm.drivers")

SURPLUS = "%s sent more than one answer to one request; the surplus is thrown away"
"""httpcore would take it for the answer to the next call. It is noticed because nothing was read from the socket; nor
was anything sent, as the network holds a request back until its answer is read. So a fresh connection is safe."""

MAX_ERROR_BODY = 1024 * 1024
"""Most bytes read of the body of an error status; the rest is not waited for."""


def reply_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers with lower-case names, repeated ones joined with a comma."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


class _Connection:
    """One connection. `generation` tells whether its pool was closed while it was in use."""

    __slots__ = ("backend", "generation", "http", "idle_since", "reused")

    def __init__(self, route: Route, generation: int) -> None:
        self.backend = SyncBackend(http_only=route.proxy is None)
        self.http = connect(route, self.backend)
        self.generation = generation
        self.idle_since = 0.0
        self.reused = False

    def begin(self, expires: float | None) -> None:
        """A call begins that must have ended at `expires`, of `time.monotonic`."""
        self.backend.begin()
        if isinstance(self.http, Direct):
            self.http.expires = expires


class _Pool:
    """Idle connections, and the line of those who wait for one."""

    def __init__(self, route: Route, limit: int) -> None:
        self._route = route
        self._limit = limit
        self._reset()
        _POOLS.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._idle: deque[_Connection] = deque()
        self._line: deque[threading.Lock] = deque()
        self._in_use = 0
        self._generation = 0

    def acquire(self, timeout: float) -> _Connection:
        """A connection, idle if there is one that the server has left open. Raises `APITimeoutError`."""
        self._enter(timeout)
        try:
            while True:
                with self._lock:
                    connection = self._idle.pop() if self._idle else None
                if connection is None:
                    return self.fresh()
                if time.monotonic() - connection.idle_since < IDLE_SECONDS and not connection.http.has_expired():
                    connection.reused = True
                    return connection
                connection.backend.abort()
        except BaseException:
            self._leave()
            raise

    def fresh(self) -> _Connection:
        """A new connection, for a caller that has a place already."""
        return _Connection(self._route, self._generation)

    def _enter(self, timeout: float) -> None:
        """Take one of the `limit` places, in the order of arrival."""
        with self._lock:
            if self._in_use < self._limit:
                self._in_use += 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._line.append(turn)
        try:
            granted = turn.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
        except BaseException:
            if self._withdraw(turn):
                self._leave()
            raise
        if not granted and not self._withdraw(turn):
            raise failures.timed_out(self._route.address, "pool", timeout)

    def _withdraw(self, turn: threading.Lock) -> bool:
        """Leave the line; True when the place was granted meanwhile."""
        with self._lock:
            if turn in self._line:
                self._line.remove(turn)
                return False
        return True

    def _leave(self) -> None:
        with self._lock:
            if self._line:
                self._line.popleft().release()  # the place changes hands without becoming free
            else:
                self._in_use -= 1

    def release(self, connection: _Connection, *, reusable: bool) -> None:
        """Give a place back, and its connection, to be used again or closed."""
        if reusable and connection.generation == self._generation:
            now = connection.idle_since = time.monotonic()
            with self._lock:
                self._idle.append(connection)
                oldest = self._idle.popleft() if now - self._idle[0].idle_since > IDLE_SECONDS else None
            if oldest is not None:  # left over from a busier time; one per call is enough to let them all go
                oldest.backend.abort()
        else:
            connection.backend.abort()
        self._leave()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, deque()
            self._generation += 1
        for connection in idle:
            connection.backend.abort()

    def __del__(self) -> None:
        # A client that was dropped without close() leaves no open socket (and no ResourceWarning) behind. At the end
        # of the interpreter the system closes them, and the modules that would are half gone.
        if not sys.is_finalizing():
            for connection in self._idle:
                connection.backend.abort()

    def after_fork(self) -> None:
        """In the child: the connections are the parent's, and the lock may be held by a thread that is not here."""
        idle = self._idle
        self._reset()
        for connection in idle:
            connection.backend.abandon()


_POOLS: weakref.WeakSet[_Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class SyncReplyStream:
    """See `drivers.base.ReplyStream`. `close` may be called from another thread: the reader then gets an error.

    `decode` False leaves the body as it was sent, for a caller that decompresses it itself.
    """

    __slots__ = (
        "_call",
        "_connection",
        "_decode",
        "_expires",
        "_response",
        "_timeout",
        "_transport",
        "headers",
        "status",
    )

    _response: Reply

    def __init__(self, transport: SyncTransport, call: WireCall, timeout: float, *, decode: bool = True) -> None:
        self._decode = decode
        self._expires: float | None = None
        self._transport = transport
        self._call = call
        self._timeout = timeout
        self._connection: _Connection | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        if self._call.total is not None:
            self._expires = time.monotonic() + self._call.total
        self._connection, self._response = self._transport.exchange(self._call, self._timeout, self._expires)
        self.status = self._response.status
        self.headers = reply_headers(self._response.headers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        connection = self._connection
        if connection is None:
            return
        try:
            decoder = body_decoder(self.headers.get("content-encoding")) if self._decode else None
            body = cast("Iterable[bytes]", self._response.stream)
            pieces = body if decoder is None else _decoded(body, decoder)
            if self._expires is None:
                yield from pieces
            else:
                yield from self._in_time(pieces, self._expires)
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, DecodingError) as exc:
            ended = connection.backend.ended
            self.close()
            if self._expires is not None and time.monotonic() >= self._expires:
                raise self._late() from exc
            raise failures.body_failed(
                self._transport.address, exc, self._timeout, self.status, self.headers, ended
            ) from exc
        self._finish()

    def _in_time(self, pieces: Iterable[bytes], expires: float) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            if time.monotonic() >= expires:
                self.close()
                raise self._late()

    def _late(self) -> UnifiedLLMError:
        error = failures.timed_out(self._transport.address, "total", self._call.total or 0.0)
        return error.with_context(status=self.status, request_id=request_id_of(self.headers))

    @property
    def raw_headers(self) -> RawHeaders:
        """The headers as they were sent."""
        return self._response.headers

    def read(self) -> bytes:
        """The rest of the body at once; of an error status, about `MAX_ERROR_BODY` bytes at most."""
        if self.status < 400:
            return b"".join(self)
        return b"".join(limited(self))

    def close(self) -> None:
        """End the call now. The server sees the connection closed, unless the answer is complete."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport.pool.release(connection, reusable=False)

    def _finish(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            raise failures.cut(self._transport.address, self.status, "the stream was closed")
        self._response.close()
        self._transport.pool.release(connection, reusable=connection.http.is_idle())


def _decoded(body: Iterable[bytes], decoder: BodyDecoder) -> Iterator[bytes]:
    for data in body:
        if piece := decoder.feed(data):
            yield piece
    if piece := decoder.close():
        yield piece


def limited(body: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of an error body, until they are more than anybody will read."""
    size = 0
    for piece in body:
        yield piece
        size += len(piece)
        if size >= MAX_ERROR_BODY:
            return


class SyncTransport:
    """Calls to one server, from any thread."""

    def __init__(self, route: Route, max_connections: int) -> None:
        self.address = route.address
        self.pool = _Pool(route, max_connections)
        self._route = route

    def send(self, call: WireCall, timeout: float) -> WireReply:
        """The complete answer. Raises what `exchange` raises, and the errors of a body that is cut or damaged."""
        with SyncReplyStream(self, call, timeout) as reply:
            return WireReply(reply.status, reply.headers, reply.read())

    def open(self, call: WireCall, timeout: float) -> SyncReplyStream:
        """The answer piece by piece; nothing is sent before the context is entered."""
        return SyncReplyStream(self, call, timeout)

    def close(self) -> None:
        """Close idle connections; those in use are closed when their call ends."""
        self.pool.close()

    def exchange(self, call: WireCall, timeout: float, expires: float | None = None) -> tuple[_Connection, Reply]:
        """Send `call` and read the head of its answer; the caller releases the connection.

        `expires` is the time, of `time.monotonic`, at which the whole exchange must have ended.

        Raises:
            APIConnectionError: no connection, or it ended before an answer.
            APITimeoutError: the line for a connection, connecting, or the answer took too long.
        """
        request = self._route.request(call, timeout)
        connection = self.pool.acquire(timeout)
        try:
            started = time.monotonic()
            try:
                connection.begin(expires)
                response = connection.http.handle_request(request)
                if connection.backend.answered:
                    return connection, response
                _log.warning(SURPLUS, self.address.label)
            except failures.CLOSED as exc:
                if not connection.reused or connection.backend.answered or time.monotonic() - started > STALE_SECONDS:
                    raise
                _log.debug("%s closed an idle connection as it was reused: %s", self.address.label, exc)
            connection.backend.abort()
            connection = self.pool.fresh()
            connection.begin(expires)
            return connection, connection.http.handle_request(request)
        except BaseException as exc:
            self.pool.release(connection, reusable=False)
            if isinstance(exc, httpcore.TimeoutException) and expires is not None and time.monotonic() >= expires:
                raise failures.timed_out(self.address, "total", call.total or 0.0) from exc
            error = failures.exchange_failed(
                self.address, exc, timeout, answered=connection.backend.answered, via=self._route.via
            )
            if error is None:
                raise
            raise error from exc
