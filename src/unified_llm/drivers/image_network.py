"""The network that images are fetched over: it connects to addresses that were checked, and keeps to a limit of time.

Names are looked up here, and what was looked up is connected to, so that a name cannot mean another address the next
moment.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

import httpcore

from unified_llm.drivers.asyncio_backend import AsyncioBackend
from unified_llm.drivers.public_addresses import is_public

__all__ = ["AsyncNetwork", "Network"]


class Network(httpcore.NetworkBackend):
    """Sockets for threads. Everything ends at `end`, by `time.monotonic`: a server that sends one byte now and then
    would otherwise never be late. `private` allows addresses of this machine and its networks.
    """

    def __init__(self, private: bool, end: float) -> None:
        self._private, self._end = private, end
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """See `httpcore.NetworkBackend`. Raises `PermissionError` where an address of `host` is not allowed."""
        address = _allowed(_found(host, port, _left(self._end, httpcore.ConnectTimeout)), self._private)
        stream = self._sockets.connect_tcp(address, port, _left(self._end, httpcore.ConnectTimeout))
        return _Stream(stream, self._end)


class _Stream(httpcore.NetworkStream):
    """A connection that has until `end`."""

    def __init__(self, stream: httpcore.NetworkStream, end: float) -> None:
        self._stream, self._end = stream, end

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._end, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._end, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._end, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._end)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AsyncNetwork(AsyncioBackend):
    """Connections of an event loop. Their limit of time is the caller's, who cancels."""

    def __init__(self, private: bool) -> None:
        super().__init__(http_only=True)
        self._private = private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See `Network.connect_tcp`."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return await super().connect_tcp(_allowed(found, self._private), port, timeout)


def _found(host: str, port: int, seconds: float) -> Any:
    """What `socket.getaddrinfo` finds, which cannot be interrupted, and may take minutes: a thread waits for it.

    Raises:
        ConnectTimeout: of httpcore; it takes longer than `seconds`.
    """
    found: Future[Any] = Future()

    def look() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as exc:  # noqa: BLE001  # raised where it is waited for
            found.set_exception(exc)

    threading.Thread(target=look, name="unified-llm-lookup", daemon=True).start()
    try:
        return found.result(seconds)
    except TimeoutError as exc:
        raise httpcore.ConnectTimeout from exc


def _allowed(found: Iterable[Any], private: bool) -> str:
    """One of the addresses that were looked up. Raises `PermissionError` where any is not of the public internet."""
    addresses = [str(info[4][0]) for info in found]
    if not private and not all(map(is_public, addresses)):
        raise PermissionError("the address belongs to this machine or its networks (download_images='any' allows them)")
    return addresses[0]


def _left(end: float, late: type[httpcore.TimeoutException]) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise late
    return left
