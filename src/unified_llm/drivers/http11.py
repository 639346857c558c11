"""HTTP/1.1 connections without httpcore's per-call machinery: its sockets, and h11, the parser underneath it.

httpcore's own connection objects take a trace, a lock and a context manager for each step of a call, and under asyncio
three anyio locks that each go round the event loop: twice the cost of the parsing itself. A
connection here belongs to one call at a time, so it needs none of them. Behind a proxy httpcore's connections are used
as they are; both look the same to the pools (`Connection`, `AsyncConnection`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final, Protocol

import httpcore

from unified_llm.drivers.asyncio_backend import AsyncioBackend
from unified_llm.drivers.exchange import Exchange, H11Exchange
from unified_llm.drivers.headers import RawHeaders
from unified_llm.drivers.plain_answers import PlainExchange
from unified_llm.drivers.route import Route
from unified_llm.drivers.sync_backend import SyncBackend

__all__ = [
    "AsyncConnection",
    "AsyncReply",
    "Connection",
    "Direct",
    "DirectAsyncReply",
    "Reply",
    "connect",
    "connect_async",
]

READ_BYTES: Final = 256 * 1024


class Reply(Protocol):
    """The part of `httpcore.Response` that is used."""

    status: int
    headers: RawHeaders
    stream: Any

    def close(self) -> None: ...


class AsyncReply(Protocol):
    """`Reply` of an event loop; `stream` is an asynchronous generator."""

    status: int
    headers: RawHeaders

    @property
    def stream(self) -> Any: ...

    async def aclose(self) -> None: ...


class Connection(Protocol):
    """The part of `httpcore.ConnectionInterface` that is used. A `Direct` one knows when its call `expires`, too."""

    def handle_request(self, request: httpcore.Request) -> Reply: ...
    def has_expired(self) -> bool: ...
    def is_idle(self) -> bool: ...


class AsyncConnection(Protocol):
    """`Connection` of an event loop."""

    async def handle_async_request(self, request: httpcore.Request) -> AsyncReply: ...
    def has_expired(self) -> bool: ...
    def is_idle(self) -> bool: ...


def _body_of(request: httpcore.Request) -> bytes:
    return b"".join(request.stream)  # type: ignore[arg-type]  # made from bytes, always


def connect(route: Route, backend: SyncBackend) -> Connection:
    """A connection along `route`, made on its first request."""
    return Direct(route, backend) if route.proxy is None else route.proxied(backend)


def connect_async(route: Route, backend: AsyncioBackend, engine: Callable[[], Exchange]) -> AsyncConnection:
    """`connect`, for an event loop. `engine` makes the parser."""
    return _AsyncDirect(route, backend, PlainExchange(engine)) if route.proxy is None else route.proxied_async(backend)


class _DirectReply:
    """What a direct connection answers; `stream` can be read once."""

    __slots__ = ("_exchange", "headers", "status", "stream")

    def __init__(self, response: tuple[int, RawHeaders], exchange: Exchange, stream: Any) -> None:
        self.status, self.headers = response
        self.stream = stream
        self._exchange = exchange

    def close(self) -> None:
        """Say that the call is over."""
        self._exchange.finish()


class DirectAsyncReply:
    """`_DirectReply`, for an event loop; either `whole` or `stream` is used."""

    __slots__ = ("_early", "_exchange", "_limits", "_network", "headers", "status")

    def __init__(
        self,
        response: tuple[int, RawHeaders],
        exchange: Exchange,
        network: httpcore.AsyncNetworkStream,
        limits: Mapping[str, float],
    ) -> None:
        self.status, self.headers = response
        self._exchange = exchange
        self._network = network
        self._limits = limits
        self._early = b""

    def whole(self) -> bytes | None:
        """The body, if all of it came with the head, as most do; else None, and nothing of it is lost."""
        data, complete = self._exchange.body()
        if complete:
            return data
        self._early = data
        return None

    @property
    def stream(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        seconds = self._limits["read"]
        early, self._early = self._early, b""
        if early:
            seconds = self._limits["next"]
            yield early
        while True:
            data, complete = self._exchange.body()
            if data:
                seconds = self._limits["next"]
                yield data
            if complete:
                return
            if not data:  # what is wrong with the rest is told first
                self._exchange.feed(await self._network.read(READ_BYTES, seconds))

    async def aclose(self) -> None:
        """Say that the call is over."""
        self._exchange.finish()


class Direct:
    """A blocking connection to the server itself."""

    __slots__ = ("_backend", "_exchange", "_route", "_stream", "expires")

    def __init__(self, route: Route, backend: SyncBackend) -> None:
        self.expires: float | None = None
        self._route = route
        self._backend = backend
        self._stream: httpcore.NetworkStream | None = None
        self._exchange = PlainExchange(H11Exchange)

    def handle_request(self, request: httpcore.Request) -> Reply:
        """Connect if need be, send the request and read the head of its answer."""
        limits = request.extensions["timeout"]
        stream = self._stream or self._connect(limits["connect"])
        exchange, read = self._exchange, limits["read"]
        for piece in exchange.request(request.method, request.url.target, request.headers, _body_of(request)):
            stream.write(piece, limits["write"])
        while True:
            exchange.feed(stream.read(READ_BYTES, self._within(read)))
            response = exchange.response()
            if response is not None:
                return _DirectReply(response, exchange, self._body(stream, read, limits["next"]))

    def _connect(self, timeout: float) -> httpcore.NetworkStream:
        address, context = self._route.address, self._route.tls()
        stream = self._backend.connect_tcp(address.host, address.port, timeout)
        if context is not None:
            context.set_alpn_protocols(["http/1.1"])
            stream = stream.start_tls(context, address.host, timeout)
        self._stream = stream
        return stream

    def _body(self, stream: httpcore.NetworkStream, first: float, following: float) -> Iterator[bytes]:
        exchange, seconds = self._exchange, first
        while True:
            data, complete = exchange.body()
            if data:
                seconds = following
                yield data
            if complete:
                return
            if not data:  # what is wrong with the rest is told first
                exchange.feed(stream.read(READ_BYTES, self._within(seconds)))

    def _within(self, seconds: float) -> float:
        """How long one read may take: no longer than the call may."""
        return seconds if self.expires is None else max(0.001, min(seconds, self.expires - time.monotonic()))

    def is_idle(self) -> bool:
        """Whether it can carry another request."""
        return self._exchange.idle

    def has_expired(self) -> bool:
        """Whether the server has closed it, as far as this machine knows."""
        return self._stream is None or bool(self._stream.get_extra_info("is_readable"))


class _AsyncDirect:
    """`Direct`, for an event loop."""

    __slots__ = ("_backend", "_exchange", "_route", "_stream")

    def __init__(self, route: Route, backend: AsyncioBackend, exchange: Exchange) -> None:
        self._route = route
        self._backend = backend
        self._stream: httpcore.AsyncNetworkStream | None = None
        self._exchange = exchange

    async def handle_async_request(self, request: httpcore.Request) -> AsyncReply:
        """Connect if need be, send the request and read the head of its answer."""
        limits = request.extensions["timeout"]
        stream = self._stream or await self._connect(limits["connect"])
        exchange, read = self._exchange, limits["read"]
        for piece in exchange.request(request.method, request.url.target, request.headers, _body_of(request)):
            await stream.write(piece, limits["write"])
        while True:
            exchange.feed(await stream.read(READ_BYTES, read))
            response = exchange.response()
            if response is not None:
                return DirectAsyncReply(response, exchange, stream, limits)

    async def _connect(self, timeout: float) -> httpcore.AsyncNetworkStream:  # noqa: ASYNC109
        address, context = self._route.address, self._route.tls()
        stream = await self._backend.connect_tcp(address.host, address.port, timeout)
        if context is not None:
            context.set_alpn_protocols(["http/1.1"])
            stream = await stream.start_tls(context, address.host, timeout)
        self._stream = stream
        return stream

    def is_idle(self) -> bool:
        """Whether it can carry another request."""
        return self._exchange.idle

    def has_expired(self) -> bool:
        """Whether the server has closed it, as far as this machine knows."""
        return self._stream is None or bool(self._stream.get_extra_info("is_readable"))
