"""The HTTP driver: one server, sync and async.

What is used of httpx is its engine: httpcore's networks (`http11`), its TLS settings (`route`), httpcore's connections
through proxies, and h11 for every answer that is not plain (`plain_answers`). `http_sync` and `http_async` keep the
connections; `aiohttp` puts that library's parser in the place of h11. httpx's client is left out because its ladder of
per-request steps is half the cost of a call, and its pool slows down with every call in flight (benchmarks/README.md).
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from unified_llm._optional import require
from unified_llm.drivers.headers import HeaderSet
from unified_llm.drivers.proxies import find_proxy
from unified_llm.drivers.urls import Address, normalize_base_url
from unified_llm.errors import ConfigurationError, InvalidRequestError
from unified_llm.forks import renew_in_child
from unified_llm.wire import WireCall, WireReply

if TYPE_CHECKING:
    from unified_llm.drivers.base import AsyncReplyStream, ReplyStream
    from unified_llm.drivers.exchange import Exchange
    from unified_llm.drivers.http_async import AsyncTransport
    from unified_llm.drivers.http_sync import SyncTransport
    from unified_llm.drivers.route import Route

__all__ = ["MAX_CONNECTIONS", "PROGRESS_SECONDS", "HTTPDriver", "async_engine", "normalize_base_url"]

MAX_CONNECTIONS: Final = 500
"""Half of the usual limit of open files of a process (1024)."""

PROGRESS_SECONDS: Final = 600.0
"""Longest silence. Reading a long prompt, or thinking, takes minutes without a byte on the wire."""


class HTTPDriver:
    """Carries calls to the server at `base_url`. Implements `drivers.base.Driver`.

    Redirects are not followed: a 3xx comes back as a reply, because following one could send the key elsewhere.

    Args:
        base_url: see `urls.normalize_base_url`.
        headers: sent with every call, credentials included; they show in no repr and no error.
        timeout: seconds without progress (waiting for a free connection, first byte, between bytes), 600 by default.
            Connecting takes at most 10 seconds, or `timeout` if that is less. A call's own timeout wins.
        transport: "httpx" (the engine underneath it), or "aiohttp", whose parser is written in C, for answers to async
            calls that are not plain. Sync calls, and calls through a proxy, are the same with both.
        max_connections: most calls at once, for the sync side and for each event loop; further calls wait in line.
        verify: False trusts any certificate; an `ssl.SSLContext` replaces ours.
        query: sent behind the path of every call, such as ``{"api-version": "preview"}``.
        proxy: address of an http or socks5 proxy; by default that of the environment (HTTP_PROXY, HTTPS_PROXY,
            ALL_PROXY, NO_PROXY) or the system.

    Raises:
        InvalidBaseURLError: `base_url` cannot be used.
        ConfigurationError: another argument cannot be used.
        MissingDependencyError: transport "aiohttp" without the extra of that name.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        transport: Literal["httpx", "aiohttp"] = "httpx",
        max_connections: int = MAX_CONNECTIONS,
        verify: bool | ssl.SSLContext = True,
        proxy: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        self._address = Address.parse(base_url, query)
        self.base_url = self._address.origin + self._address.path
        self.transport = transport
        self._timeout = _seconds(timeout)
        self._max_connections = _positive(max_connections)
        self._headers = _header_set(self._address.netloc, headers or {})
        self._proxy = find_proxy(self._address, proxy)
        self._verify = verify
        if transport == "aiohttp":
            require("aiohttp", extra="aiohttp", purpose="transport='aiohttp'")
        elif transport != "httpx":
            raise ConfigurationError(f"unknown transport {transport!r}", hint="use 'httpx' or 'aiohttp'")
        self._lock = threading.Lock()
        self._route_made: Route | None = None
        self._sync_made: SyncTransport | None = None
        self._async_made: AsyncTransport | None = None
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"HTTPDriver({self.base_url!r}, transport={self.transport!r})"

    def send(self, call: WireCall) -> WireReply:
        """The complete answer to `call`. Raises `APIConnectionError`, `APITimeoutError`, `StreamInterruptedError`."""
        return self._sync().send(call, self._limit(call))

    async def send_async(self, call: WireCall) -> WireReply:
        """`send`, without blocking the event loop. Cancelling it closes the connection."""
        return await self._async().send(call, self._limit(call))

    def open(self, call: WireCall) -> ReplyStream:
        """A streamed answer; the call is sent when the context is entered, with the errors of `send`."""
        return self._sync().open(call, self._limit(call))

    def open_async(self, call: WireCall) -> AsyncReplyStream:
        """`open`, for the running event loop."""
        return self._async().open(call, self._limit(call))

    def close(self) -> None:
        """Close idle sync connections, and drop async ones whose loop is gone. The driver stays usable."""
        if self._sync_made is not None:
            self._sync_made.close()
        if self._async_made is not None:
            self._async_made.close()

    async def aclose(self) -> None:
        """`close`, and the connections of the running loop."""
        self.close()
        if self._async_made is not None:
            await self._async_made.aclose()

    def _limit(self, call: WireCall) -> float:
        return self._timeout if call.timeout is None else _seconds(call.timeout)

    # The transports are made on first use: importing httpcore takes longer than the rest of this package together.

    def _sync(self) -> SyncTransport:
        if self._sync_made is None:
            from unified_llm.drivers.http_sync import SyncTransport

            with self._lock:
                self._sync_made = self._sync_made or SyncTransport(self._route(), self._max_connections)
        return self._sync_made

    def _async(self) -> AsyncTransport:
        if self._async_made is None:
            with self._lock:
                self._async_made = self._async_made or self._make_async()
        return self._async_made

    def _make_async(self) -> AsyncTransport:
        from unified_llm.drivers.http_async import AsyncTransport

        engine = async_engine(aiohttp=self.transport == "aiohttp")
        return AsyncTransport(self._route(), self._max_connections, engine)

    def _route(self) -> Route:
        if self._route_made is None:
            from unified_llm.drivers.route import Route

            self._route_made = Route(self._address, self._headers, self._proxy, self._verify)
        return self._route_made


def async_engine(*, aiohttp: bool) -> type[Exchange]:
    """The parser of an event loop's connections."""
    if aiohttp:
        from unified_llm.drivers.aiohttp import AiohttpExchange

        return AiohttpExchange
    from unified_llm.drivers.exchange import H11Exchange

    return H11Exchange


def _seconds(timeout: float | None) -> float:
    if timeout is None:
        return PROGRESS_SECONDS
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise ConfigurationError(
            f"timeout must be a positive number of seconds or None, not {timeout!r}",
            hint="it counts the seconds without progress: connecting, first byte, between bytes",
        )
    return float(timeout)


def _positive(connections: int) -> int:
    if connections < 1:
        raise ConfigurationError(
            f"max_connections must be at least 1, not {connections}", hint=f"the default is {MAX_CONNECTIONS}"
        )
    return connections


def _header_set(netloc: str, headers: Mapping[str, str]) -> HeaderSet:
    try:
        return HeaderSet(netloc, headers)
    except InvalidRequestError as exc:  # found before any request was made
        raise ConfigurationError(exc.message, hint=exc.hint) from exc
