"""Transports for the SDK's HTTP client: our connections in the place of httpx2's, whose calls cost twice as much.

A transport is what httpx2 offers for this: the SDK's client still builds every request and reads every response. What
goes wrong is raised in the words of our error tree, with the address, as it is without the SDK.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx2

from unified_llm.drivers.exchange import Exchange
from unified_llm.drivers.headers import HeaderSet
from unified_llm.drivers.http import MAX_CONNECTIONS, PROGRESS_SECONDS
from unified_llm.drivers.http_async import AsyncReplyStream, AsyncTransport
from unified_llm.drivers.http_sync import SyncReplyStream, SyncTransport
from unified_llm.drivers.proxies import find_proxy
from unified_llm.drivers.route import Route
from unified_llm.drivers.urls import Address
from unified_llm.wire import WireCall

__all__ = ["AsyncSDKTransport", "SDKTransport"]


@dataclass(frozen=True, slots=True)
class _Call(WireCall):
    """A request that httpx2 has built."""

    built: Any = None
    content: bytes = b""

    @classmethod
    def of(cls, request: httpx2.Request, content: bytes) -> _Call:
        limits = request.extensions
        return cls(
            path="",
            built=request,
            content=content,
            connect=limits.get("connect"),
            first=limits.get("first"),
            total=limits.get("total"),
        )

    @property
    def seconds(self) -> float:
        """Longest silence, as the SDK wants it."""
        read = self.built.extensions.get("timeout", {}).get("read")
        return PROGRESS_SECONDS if read is None else float(read)


class _Route(Route):
    """The way to a server for requests that are built already."""

    def __init__(self, origin: str, verify: ssl.SSLContext) -> None:
        address = Address.parse(origin)
        super().__init__(address, HeaderSet(address.netloc, {}), find_proxy(address, None), verify)

    def request(self, call: WireCall, timeout: float) -> httpcore.Request:
        assert isinstance(call, _Call)  # noqa: S101  # the transports below send nothing else
        built = call.built
        target = built.url.raw_path.decode("ascii")
        url = self._urls.get(target) or self._keep_url(target, target)
        request = httpcore.Request(built.method, url, content=call.content, extensions=self._limits(timeout, call))
        request.headers = built.headers.raw
        return request


class _Body(httpx2.SyncByteStream):
    def __init__(self, reply: SyncReplyStream) -> None:
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._reply)

    def close(self) -> None:
        self._reply.close()


class _AsyncBody(httpx2.AsyncByteStream):
    def __init__(self, reply: AsyncReplyStream) -> None:
        self._reply = reply

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._reply)

    async def aclose(self) -> None:
        await self._reply.__aexit__(None, None, None)


class SDKTransport(httpx2.BaseTransport):
    """For the sync client. `verify` is the TLS context. Proxies are those of the environment."""

    def __init__(self, verify: ssl.SSLContext) -> None:
        self._verify = verify
        self._ways: dict[str, SyncTransport] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it and read the head of its answer. Raises `APIConnectionError`, `APITimeoutError`."""
        call = _Call.of(request, request.read())
        origin = _origin(request)
        way = self._ways.get(origin)
        if way is None:
            way = self._ways.setdefault(origin, SyncTransport(_Route(origin, self._verify), MAX_CONNECTIONS))
        reply = SyncReplyStream(way, call, call.seconds, decode=False)
        reply.__enter__()
        return httpx2.Response(reply.status, headers=reply.raw_headers, stream=_Body(reply))

    def close(self) -> None:
        for way in self._ways.values():
            way.close()


class AsyncSDKTransport(httpx2.AsyncBaseTransport):
    """For an async client. `engine` makes the parser of each connection."""

    def __init__(self, verify: ssl.SSLContext, engine: Callable[[], Exchange]) -> None:
        self._verify = verify
        self._engine = engine
        self._ways: dict[str, AsyncTransport] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it and read the head of its answer. Raises `APIConnectionError`, `APITimeoutError`."""
        call = _Call.of(request, await request.aread())
        origin = _origin(request)
        way = self._ways.get(origin)
        if way is None:
            way = self._ways[origin] = AsyncTransport(_Route(origin, self._verify), MAX_CONNECTIONS, self._engine)
        reply = AsyncReplyStream(way, call, call.seconds, decode=False)
        await reply.__aenter__()
        return httpx2.Response(reply.status, headers=reply.raw_headers, stream=_AsyncBody(reply))

    async def aclose(self) -> None:
        for way in self._ways.values():
            await way.aclose()


def _origin(request: httpx2.Request) -> str:
    url = request.url
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
