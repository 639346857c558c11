"""HTTP for threads: calls over the connections of `sync_pool`, whole or piece by piece."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self, cast

import httpcore

from unified_llm.drivers import failures
from unified_llm.drivers.decoding import BodyDecoder, DecodingError, body_decoder
from unified_llm.drivers.headers import RawHeaders
from unified_llm.drivers.http11 import Reply
from unified_llm.drivers.route import STALE_SECONDS, Route
from unified_llm.drivers.sync_pool import Connection, Pool
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
        self._connection: Connection | None = None
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
        self.pool = Pool(route, max_connections)
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

    def exchange(self, call: WireCall, timeout: float, expires: float | None = None) -> tuple[Connection, Reply]:
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
