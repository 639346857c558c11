"""The way to one server: address, proxy, TLS; and the httpcore objects that go it."""

from __future__ import annotations

import functools
import os
import socket
import ssl
from typing import Any, Final

import httpcore

from unified_llm.drivers.failures import CONNECT_SECONDS
from unified_llm.drivers.headers import HeaderSet, RawHeaders
from unified_llm.drivers.proxies import Proxy
from unified_llm.drivers.urls import Address
from unified_llm.errors import MissingDependencyError
from unified_llm.wire import WireCall

__all__ = ["IDLE_SECONDS", "STALE_SECONDS", "Route", "keep_alive"]

IDLE_SECONDS: Final = 55.0
"""Longest rest of a connection before it is replaced: load balancers drop silent connections after 60 s."""

STALE_SECONDS: Final = 1.0
"""A reused connection that is closed, without a byte, within this time was closed before it saw the request.

A server that closes an idle connection and a client that reuses it may cross on the wire. Browsers and Go's net/http
send such a request again on a fresh connection, POST or not, and so do we, once. A close that comes later is the
server failing at the request itself: repeating it may cost money, so that is left to the caller's retry policy.
"""

# A model may think for minutes without a byte. Routers forget connections that are silent for so long, and then
# nobody is told; probes every minute keep them known, as the vendors' own SDKs do.
_KEEP_ALIVE = tuple(
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 60),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 5),
    )
    if hasattr(socket, name)  # macOS and Windows have some of them under other names
)
_MOST_URLS: Final = 64


def keep_alive(sock: Any) -> None:
    """Ask the kernel to keep a silent connection known to the routers on its way."""
    for level, name, value in _KEEP_ALIVE:
        sock.setsockopt(level, name, value)


class _URL(httpcore.URL):
    """A URL that keeps its origin: httpcore asks for it several times per call and makes it anew each time."""

    def __init__(self, origin: httpcore.Origin, port: int | None, target: bytes) -> None:
        super().__init__(scheme=origin.scheme, host=origin.host, port=port, target=target)
        self._origin = origin

    @property
    def origin(self) -> httpcore.Origin:
        return self._origin


class Route:
    """Builds connections to one server and requests for it. Everything that does not change is built once."""

    def __init__(
        self, address: Address, headers: HeaderSet, proxy: Proxy | None, verify: bool | ssl.SSLContext
    ) -> None:
        self.address = address
        self.proxy = proxy
        self._headers = headers
        self._verify = verify
        self._origin = httpcore.Origin(address.scheme.encode(), address.host.encode(), address.port)
        self._urls: dict[str, httpcore.URL] = {}
        self._timeouts: dict[tuple[float | None, ...], dict[str, Any]] = {}

    @property
    def via(self) -> str | None:
        """``host:port`` of the proxy, or None."""
        return None if self.proxy is None else f"{self.proxy.host}:{self.proxy.port}"

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context to connect with, or None for plain http."""
        return tls_context(self._verify) if self.address.tls else None

    def headers(self, call: WireCall) -> RawHeaders:
        """The headers of `call`. Raises `InvalidRequestError` for one that cannot be sent."""
        return self._headers.of(call)

    def request(self, call: WireCall, timeout: float) -> httpcore.Request:
        """The request of `call`. Raises `InvalidRequestError` for a header that cannot be sent."""
        url = self._urls.get(call.path) or self._keep_url(call.path, self.address.target(call.path))
        request = httpcore.Request(call.method, url, content=call.body, extensions=self._limits(timeout, call))
        request.headers = self._headers.of(call)  # they are what the constructor would make of them
        return request

    def _keep_url(self, key: str, target: str) -> httpcore.URL:
        if len(self._urls) >= _MOST_URLS:
            self._urls.clear()
        url = self._urls[key] = _URL(self._origin, self.address.written_port, target.encode("ascii"))
        return url

    def _limits(self, timeout: float, call: WireCall) -> dict[str, Any]:
        key = (timeout, call.connect, call.first)
        known = self._timeouts.get(key)
        if known is not None:
            return known
        if len(self._timeouts) >= _MOST_URLS:
            self._timeouts.clear()
        first = timeout if call.first is None else call.first
        if self.proxy is not None:
            first = max(first, timeout)  # httpcore's connections know one limit for all they read
        connect = min(timeout, CONNECT_SECONDS) if call.connect is None else call.connect
        limits = {"connect": connect, "read": first, "next": timeout, "write": timeout}
        extensions = self._timeouts[key] = {"timeout": limits}
        return extensions

    def proxied(self, backend: httpcore.NetworkBackend) -> httpcore.ConnectionInterface:
        """A connection through the proxy, not yet connected: httpcore's proxy pool makes it, and only that."""
        assert self.proxy is not None  # noqa: S101  # the caller looked
        kind = httpcore.SOCKSProxy if self.proxy.scheme.startswith("socks") else httpcore.HTTPProxy
        pool = _make_pool(kind, self.proxy, self._options(backend))
        made: httpcore.ConnectionInterface = pool.create_connection(self._origin)
        return made

    def proxied_async(self, backend: httpcore.AsyncNetworkBackend) -> httpcore.AsyncConnectionInterface:
        """`proxied`, for an event loop."""
        assert self.proxy is not None  # noqa: S101  # the caller looked
        kind = httpcore.AsyncSOCKSProxy if self.proxy.scheme.startswith("socks") else httpcore.AsyncHTTPProxy
        made: httpcore.AsyncConnectionInterface = _make_pool(
            kind, self.proxy, self._options(backend)
        ).create_connection(self._origin)
        return made

    def _options(self, backend: object) -> dict[str, Any]:
        return {"ssl_context": self.tls(), "keepalive_expiry": IDLE_SECONDS, "network_backend": backend}


def _make_pool(pool: Any, proxy: Proxy, options: dict[str, Any]) -> Any:
    try:
        return pool(proxy.url, proxy_auth=proxy.auth, **options)
    except RuntimeError as exc:  # httpcore's answer when socksio is absent
        raise MissingDependencyError(
            "a SOCKS proxy needs the package 'socksio', which is not installed", hint='pip install "httpx[socks]"'
        ) from exc


def tls_context(verify: bool | ssl.SSLContext) -> ssl.SSLContext:
    """The TLS context to connect with, as httpx builds it: certifi's authorities, or those of SSL_CERT_FILE or
    SSL_CERT_DIR. `verify` False trusts anybody.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    return _context(verify, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(maxsize=8)  # reading the authorities takes 20 to 50 ms: once per process, not per client
def _context(verify: bool, file: str | None, folder: str | None) -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context(verify=verify)
