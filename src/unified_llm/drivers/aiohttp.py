"""Async calls over an aiohttp session, whose parser is written in C: for hundreds of calls in flight.

Everything above sees the same replies and the same errors as with `http_async`.
"""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple, Self
from weakref import WeakSet

import aiohttp
from yarl import URL

from unified_llm.drivers import failures
from unified_llm.drivers.async_line import AsyncLine
from unified_llm.drivers.decoding import BodyDecoder, DecodingError, body_decoder
from unified_llm.drivers.http_sync import MAX_ERROR_BODY, reply_headers
from unified_llm.drivers.per_loop import PerLoop
from unified_llm.drivers.proxies import Proxy
from unified_llm.drivers.route import IDLE_SECONDS, STALE_SECONDS, Route, keep_alive
from unified_llm.errors import ConfigurationError, UnifiedLLMError
from unified_llm.wire import WireCall, WireReply

__all__ = ["AiohttpReplyStream", "AiohttpTransport"]

_LARGE = 1024 * 1024
_log = logging.getLogger("unified_llm.drivers")
_reused: ContextVar[bool] = ContextVar("unified_llm_connection_reused")


class _Connector(aiohttp.TCPConnector):
    """Notes in `_reused` whether the calling task got a connection that was used before."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._seen: WeakSet[Any] = WeakSet()

    async def connect(self, *args: Any, **options: Any) -> Any:
        connection = await super().connect(*args, **options)
        known = connection.protocol in self._seen
        _reused.set(known)
        if not known:
            self._seen.add(connection.protocol)
            if connection.transport is not None:
                keep_alive(connection.transport.get_extra_info("socket"))
        return connection


class _Session(NamedTuple):
    session: aiohttp.ClientSession
    line: AsyncLine


class AiohttpReplyStream:
    """See `drivers.base.AsyncReplyStream`."""

    __slots__ = ("_body", "_call", "_decoder", "_line", "_response", "_timeout", "_transport", "headers", "status")

    def __init__(self, transport: AiohttpTransport, call: WireCall, timeout: float) -> None:
        self._transport = transport
        self._call = call
        self._timeout = timeout
        self._response: aiohttp.ClientResponse | None = None
        self._body: AsyncIterator[bytes] | None = None
        self._decoder: BodyDecoder | None = None
        self._line: AsyncLine | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        session = self._transport.sessions.get()
        await session.line.enter(self._timeout)
        try:
            self._response = await self._transport.exchange(session.session, self._call, self._timeout)
        except BaseException:
            session.line.leave()
            raise
        self._line = session.line
        self.status = self._response.status
        self.headers = reply_headers(self._response.raw_headers)
        try:
            self._decoder = body_decoder(self.headers.get("content-encoding"))
        except DecodingError as exc:
            self.close()
            raise self._transport.body_failed(exc, self._timeout, self.status) from exc
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        response = self._response
        if response is None or self._line is None:
            raise StopAsyncIteration
        if self._body is None:
            self._body = response.content.iter_any()
        try:
            if self._decoder is None:
                return await self._body.__anext__()
            return await self._decoded(self._body, self._decoder)
        except StopAsyncIteration:
            self.close()
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, DecodingError) as exc:
            self.close()
            raise self._transport.body_failed(exc, self._timeout, self.status) from exc

    async def _decoded(self, body: AsyncIterator[bytes], decoder: BodyDecoder) -> bytes:
        async for data in body:
            if piece := decoder.feed(data):
                return piece
        self._decoder = None
        if piece := decoder.close():
            return piece
        raise StopAsyncIteration

    async def read(self) -> bytes:
        """The rest of the body at once; of an error status, about `MAX_ERROR_BODY` bytes at most."""
        pieces = []
        size = 0
        async for piece in self:
            pieces.append(piece)
            size += len(piece)
            if self.status >= 400 and size >= MAX_ERROR_BODY:
                break
        return b"".join(pieces)

    def close(self) -> None:
        """End the call now. The server sees the connection closed, unless the answer is complete."""
        line, self._line = self._line, None
        if line is not None and self._response is not None:
            self._response.close()
            line.leave()


class AiohttpTransport:
    """Calls to one server from any event loop, each with its own session."""

    def __init__(self, route: Route, max_connections: int) -> None:
        if route.proxy is not None and route.proxy.scheme.startswith("socks"):
            raise ConfigurationError(
                "aiohttp cannot use a SOCKS proxy", hint="use transport='httpx', or the address of an http proxy"
            )
        self._route = route
        self._address = route.address
        self._max_connections = max_connections
        self.sessions = PerLoop(self._session, _close)
        self._urls: dict[str, URL] = {}
        self._options: dict[str, Any] = {"allow_redirects": False}
        self._forwarded: list[tuple[str, str]] = []
        if route.proxy is not None:
            self._use_proxy(route.proxy)
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    def _use_proxy(self, proxy: Proxy) -> None:
        self._options["proxy"] = proxy.url
        if proxy.authorization is None:
            return
        header = ("proxy-authorization", proxy.authorization)
        if self._address.tls:
            self._options["proxy_headers"] = [header]  # of the CONNECT request
        else:
            self._forwarded.append(header)  # the proxy reads the request itself

    def _session(self) -> _Session:
        # The limit is ours, so that waiting in line is fair and has an error of its own.
        connector = _Connector(limit=0, keepalive_timeout=IDLE_SECONDS, ssl=self._route.tls() or True)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("accept", "user-agent"),
            auto_decompress=False,  # ours notices a body that is incomplete
        )
        return _Session(session, AsyncLine(self._max_connections, self._address))

    async def send(self, call: WireCall, timeout: float) -> WireReply:  # noqa: ASYNC109
        """The complete answer. Raises what `exchange` raises, and the errors of a body that is cut or damaged."""
        async with AiohttpReplyStream(self, call, timeout) as reply:
            return WireReply(reply.status, reply.headers, await reply.read())

    def open(self, call: WireCall, timeout: float) -> AiohttpReplyStream:
        """The answer piece by piece; nothing is sent before the context is entered."""
        return AiohttpReplyStream(self, call, timeout)

    async def exchange(
        self,
        session: aiohttp.ClientSession,
        call: WireCall,
        timeout: float,  # noqa: ASYNC109
    ) -> aiohttp.ClientResponse:
        """Send `call` and read the head of its answer; the caller closes the response.

        Raises:
            APIConnectionError: no connection, or it ended before an answer.
            APITimeoutError: connecting, or the answer, took too long.
        """
        started = time.monotonic()
        _reused.set(False)
        try:
            try:
                return await self._request(session, call, timeout)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
                if not _reused.get() or time.monotonic() - started > STALE_SECONDS:
                    raise
                _log.debug("%s closed an idle connection as it was reused: %s", self._address.label, exc)
            return await self._request(session, call, timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise self._exchange_failed(exc, timeout) from exc

    async def _request(
        self,
        session: aiohttp.ClientSession,
        call: WireCall,
        timeout: float,  # noqa: ASYNC109
    ) -> aiohttp.ClientResponse:
        headers = [(k.decode("ascii"), v.decode("latin-1")) for k, v in self._route.headers(call)]
        headers += self._forwarded
        return await session.request(
            call.method,
            self._url(call.path),
            data=_upload(call.body),
            headers=headers,
            timeout=self._limits(timeout),
            **self._options,
        )

    def _url(self, path: str) -> URL:
        url = self._urls.get(path)
        if url is None:
            if len(self._urls) >= 64:
                self._urls.clear()
            url = self._urls[path] = URL(self._address.origin + self._address.target(path), encoded=True)
        return url

    def _limits(self, timeout: float) -> aiohttp.ClientTimeout:
        limits = self._timeouts.get(timeout)
        if limits is None:
            if len(self._timeouts) >= 64:
                self._timeouts.clear()
            connect = min(timeout, failures.CONNECT_SECONDS)
            limits = aiohttp.ClientTimeout(total=None, connect=connect, sock_read=timeout)
            self._timeouts[timeout] = limits
        return limits

    def _exchange_failed(self, exc: Exception, timeout: float) -> UnifiedLLMError:
        address = self._address
        if isinstance(exc, aiohttp.SocketTimeoutError):
            return failures.timed_out(address, "first byte", timeout)
        if isinstance(exc, aiohttp.ConnectionTimeoutError):
            return failures.timed_out(address, "connect", min(timeout, failures.CONNECT_SECONDS))
        if isinstance(exc, aiohttp.ClientConnectorCertificateError):
            return failures.connect_failed(address, exc.certificate_error, via=self._route.via)
        if isinstance(exc, aiohttp.ClientConnectorError):
            return failures.connect_failed(address, exc.os_error, via=self._route.via)
        if isinstance(exc, aiohttp.ClientHttpProxyError):
            refusal = ConnectionError(f"{exc.status} {exc.message}")
            return failures.connect_failed(address, refusal, via=self._route.via)
        if isinstance(exc, aiohttp.ClientResponseError):
            return failures.not_http(address, exc.message)
        return failures.lost(address, exc)

    def body_failed(self, exc: Exception, timeout: float, status: int) -> UnifiedLLMError:
        """The error for what aiohttp raised inside a body."""
        if isinstance(exc, TimeoutError):
            return failures.timed_out(self._address, "next byte", timeout)
        if isinstance(exc, DecodingError):
            return failures.damaged(self._address, status, str(exc))
        return failures.cut(self._address, status, str(exc.__cause__ or exc) or type(exc).__name__)

    def close(self) -> None:
        """Forget the sessions whose loop has ended."""
        self.sessions.forget_ended()

    async def aclose(self) -> None:
        """Close the session of the running loop."""
        await self.sessions.aclose()


def _upload(body: bytes | None) -> bytes | io.BytesIO | None:
    # aiohttp warns about large bytes, because it writes them in one go; from a file object it writes piece by piece.
    return body if body is None or len(body) < _LARGE else io.BytesIO(body)


async def _close(session: _Session) -> None:
    await session.session.close()
    await asyncio.sleep(0)  # transports close their sockets in the next round of the loop
