"""HTTP for event loops: connections on plain asyncio, one pool per running loop (`async_pool`).

The pools of loops that ended are closed with them, so that programs that call ``asyncio.run`` again and again leave
nothing behind.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from types import TracebackType
from typing import Self, cast

import httpcore

from unified_llm.drivers import failures
from unified_llm.drivers.async_pool import Connection, Pool, close_pool
from unified_llm.drivers.decoding import BodyDecoder, DecodingError, body_decoder
from unified_llm.drivers.exchange import Exchange, H11Exchange
from unified_llm.drivers.headers import RawHeaders
from unified_llm.drivers.http11 import AsyncReply, DirectAsyncReply
from unified_llm.drivers.http_sync import MAX_ERROR_BODY, SURPLUS, reply_headers
from unified_llm.drivers.per_loop import PerLoop
from unified_llm.drivers.route import STALE_SECONDS, Route
from unified_llm.errors import UnifiedLLMError
from unified_llm.wire import WireCall, WireReply

__all__ = ["AsyncReplyStream", "AsyncTransport"]

_log = logging.getLogger("unified_llm.drivers")
_BODY_FAILURES = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, DecodingError)


class AsyncReplyStream:
    """See `drivers.base.AsyncReplyStream`. `decode` False leaves the body as it was sent."""

    __slots__ = (
        "_body",
        "_call",
        "_connection",
        "_decode",
        "_pool",
        "_response",
        "_timeout",
        "_transport",
        "headers",
        "status",
    )

    _pool: Pool
    _response: AsyncReply

    def __init__(self, transport: AsyncTransport, call: WireCall, timeout: float, *, decode: bool = True) -> None:
        self._decode = decode
        self._transport = transport
        self._call = call
        self._timeout = timeout
        self._connection: Connection | None = None
        self._body: AsyncGenerator[bytes, None] | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        self._pool = self._transport.pools.get()
        self._connection, self._response = await self._transport.exchange(self._pool, self._call, self._timeout)
        self.status = self._response.status
        self.headers = reply_headers(self._response.headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        body, self._body = self._body, None
        if body is not None:
            await body.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        connection = self._connection
        if connection is None:
            raise StopAsyncIteration
        try:
            if self._body is None:
                self._body = _body(self._response, self.encoding)
            return await self._body.__anext__()
        except StopAsyncIteration:
            await self._finish()
            raise
        except _BODY_FAILURES as exc:
            raise self._failed(connection, exc) from exc

    @property
    def encoding(self) -> str | None:
        """What to undo, or None."""
        return self.headers.get("content-encoding") if self._decode else None

    @property
    def raw_headers(self) -> RawHeaders:
        """The headers as they were sent."""
        return self._response.headers

    async def read(self) -> bytes:
        """The rest of the body at once; of an error status, about `MAX_ERROR_BODY` bytes at most."""
        whole = self._whole()
        if whole is not None:
            await self._finish()
            return whole
        pieces = []
        size = 0
        async for piece in self:
            pieces.append(piece)
            size += len(piece)
            if self.status >= 400 and size >= MAX_ERROR_BODY:
                break
        return b"".join(pieces)

    def _whole(self) -> bytes | None:
        """The body, if it is there already: a call that waits for nothing more needs no generators."""
        connection, response = self._connection, self._response
        if connection is None or self._body is not None or not isinstance(response, DirectAsyncReply):
            return None
        try:
            data = response.whole()
            decoder = None if data is None else body_decoder(self.encoding)
            return data if data is None or decoder is None else decoder.feed(data) + decoder.close()
        except _BODY_FAILURES as exc:
            raise self._failed(connection, exc) from exc

    def _failed(self, connection: Connection, exc: Exception) -> UnifiedLLMError:
        ended = connection.backend.ended
        self.close()
        return failures.body_failed(self._transport.address, exc, self._timeout, self.status, self.headers, ended)

    def close(self) -> None:
        """End the call now. The server sees the connection closed, unless the answer is complete."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release(connection, reusable=False)

    async def _finish(self) -> None:
        if self._connection is None:
            raise failures.cut(self._transport.address, self.status, "the stream was closed")
        await self._response.aclose()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release(connection, reusable=connection.http.is_idle())


def _body(response: AsyncReply, encoding: str | None) -> AsyncGenerator[bytes, None]:
    decoder = body_decoder(encoding)
    body = cast("AsyncIterable[bytes]", response.stream).__aiter__()
    pieces = cast("AsyncGenerator[bytes, None]", body)  # httpcore's is one; it must be closed
    return pieces if decoder is None else _decoded(pieces, decoder)


async def _decoded(body: AsyncGenerator[bytes, None], decoder: BodyDecoder) -> AsyncGenerator[bytes, None]:
    async for data in body:
        if piece := decoder.feed(data):
            yield piece
    if piece := decoder.close():
        yield piece


class AsyncTransport:
    """Calls to one server from any event loop, each with its own pool. `engine` makes the parser of a connection."""

    def __init__(self, route: Route, max_connections: int, engine: Callable[[], Exchange] = H11Exchange) -> None:
        self.address = route.address
        self._route = route
        self.pools = PerLoop(lambda: Pool(route, max_connections, engine), close_pool)

    async def send(self, call: WireCall, timeout: float) -> WireReply:  # noqa: ASYNC109
        """The complete answer. Raises what `exchange` raises, and the errors of a body that is cut or damaged."""
        async with AsyncReplyStream(self, call, timeout) as reply:
            return WireReply(reply.status, reply.headers, await reply.read())

    def open(self, call: WireCall, timeout: float) -> AsyncReplyStream:
        """The answer piece by piece; nothing is sent before the context is entered."""
        return AsyncReplyStream(self, call, timeout)

    async def exchange(
        self,
        pool: Pool,
        call: WireCall,
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[Connection, AsyncReply]:
        """Send `call` and read the head of its answer; the caller releases the connection.

        Raises:
            APIConnectionError: no connection, or it ended before an answer.
            APITimeoutError: the line for a connection, connecting, or the answer took too long.
        """
        request = self._route.request(call, timeout)
        connection = await pool.acquire(timeout)
        try:
            started = time.monotonic()
            try:
                connection.backend.begin()
                response = await connection.http.handle_async_request(request)
                if connection.backend.answered:
                    return connection, response
                _log.warning(SURPLUS, self.address.label)
            except failures.CLOSED as exc:
                if not connection.reused or connection.backend.answered or time.monotonic() - started > STALE_SECONDS:
                    raise
                _log.debug("%s closed an idle connection as it was reused: %s", self.address.label, exc)
            connection.backend.abort()
            connection = pool.fresh()
            return connection, await connection.http.handle_async_request(request)
        except BaseException as exc:
            pool.release(connection, reusable=False)
            error = failures.exchange_failed(
                self.address, exc, timeout, answered=connection.backend.answered, via=self._route.via
            )
            if error is None:
                raise
            raise error from exc

    def close(self) -> None:
        """Forget the pools whose loop has ended."""
        self.pools.forget_ended()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self.pools.aclose()
