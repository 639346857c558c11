"""An httpcore network on plain asyncio: one protocol object per connection, one packet per small request.

httpcore's own asyncio network goes through anyio, whose cancel scopes and streams are a third of the cost of a small
call.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import httpcore

from unified_llm.drivers.route import keep_alive
from unified_llm.drivers.sync_backend import check_start

__all__ = ["AsyncioBackend"]

HIGH_WATER: Final = 512 * 1024
"""Bytes kept for a slow reader; beyond them the server has to wait."""


class AsyncioBackend(httpcore.AsyncNetworkBackend):
    """The network of one connection. The attributes are those of `SyncBackend`."""

    def __init__(self, *, http_only: bool) -> None:
        self._stream: _Stream | None = None
        self._http_only = http_only
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
        """Close at once. The socket is closed in the next round of the loop."""
        if self._stream is not None:
            self._stream.abort()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        # Other loops (uvloop) have no such option.
        options: dict[str, Any] = {"happy_eyeballs_delay": 0.25} if isinstance(loop, asyncio.BaseEventLoop) else {}
        stream = self._stream = _Stream(loop, self)
        try:
            async with asyncio.timeout(timeout):
                await loop.create_connection(lambda: stream, host, port, **options)
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except OSError as exc:
            raise httpcore.ConnectError(str(exc)) from exc
        return stream

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Silence(Exception):  # noqa: N818  # never leaves this module
    """Nothing came for the longest time allowed."""


class _Stream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """Protocol and stream at once: what the loop delivers is what httpcore reads.

    What is written is held back until something is read, so that head and body of a request leave together.
    The timer of the longest silence is armed once and moves itself: a call does not pay for a timer of its own.
    """

    _transport: asyncio.Transport
    _socket: Any
    _readable: Callable[[], bool]

    def __init__(self, loop: asyncio.AbstractEventLoop, backend: AsyncioBackend) -> None:
        self._loop = loop
        self._backend = backend
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._unsent: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._error: Exception | None = None
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self._seconds = 0.0
        self._unsent_bytes = 0

    # -- what the loop calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # create_connection makes no other
        self._socket = transport.get_extra_info("socket")
        self._readable = _watch(self._socket)
        keep_alive(self._socket)

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._buffered += len(data)
        if self._buffered > HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._error = self._error or exc
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- what httpcore calls ----------------------------------------------------------------------------------------

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._unsent.append(buffer)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self._unsent:
            self._flush()
        if not self._pieces and not self._ended:
            await self._wait(timeout)
        data = self._pop(max_bytes)
        if not data and self._error is not None:
            raise httpcore.ReadError(str(self._error)) from self._error
        self._backend.received(data)
        return data

    def _flush(self) -> None:
        data = b"".join(self._unsent)
        self._unsent.clear()
        if not self._ended:
            self._transport.write(data)
            self._unsent_bytes = self._transport.get_write_buffer_size()

    def _pop(self, max_bytes: int) -> bytes:
        if not self._pieces:
            return b""
        data = self._pieces.popleft()
        if len(data) > max_bytes:
            self._pieces.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        self._buffered -= len(data)
        if self._paused and self._buffered < HIGH_WATER // 2:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def _wait(self, seconds: float | None) -> None:
        if seconds is not None:
            self._arm(seconds)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except _Silence as exc:
            raise httpcore.ReadTimeout(f"nothing came for {seconds} s") from exc
        finally:
            self._waiter = None

    def _arm(self, seconds: float) -> None:
        self._seconds = seconds
        deadline = self._deadline = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        now = self._loop.time()
        unsent = self._transport.get_write_buffer_size()
        if unsent != self._unsent_bytes:  # a long upload is progress too
            self._unsent_bytes = unsent
            self._deadline = now + self._seconds
        if now < self._deadline:
            self._timer_at = self._deadline
            self._timer = self._loop.call_at(self._deadline, self._tick)
        else:
            waiter.set_exception(_Silence())

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        self._pieces.clear()
        self._buffered = 0
        try:
            async with asyncio.timeout(timeout):
                transport = await self._loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError as exc:
            self.abort()
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except OSError as exc:  # ssl.SSLError is one
            self.abort()
            raise httpcore.ConnectError(str(exc)) from exc
        except BaseException:
            self.abort()
            raise
        if transport is None:
            raise httpcore.ConnectError("the connection was closed during the TLS handshake")
        self._transport = transport
        return self

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        transport = getattr(self, "_transport", None)
        if transport is not None and not self._loop.is_closed():
            transport.abort()
        self._wake()

    async def aclose(self) -> None:
        self.abort()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._ended or bool(self._pieces) or self._readable()
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))


def _watch(sock: Any) -> Callable[[], bool]:
    """What tells whether something waits in the kernel that the loop has not read yet: on an idle connection, its end,
    or bytes that would be taken for the next answer.
    """
    if not hasattr(select, "poll"):
        return lambda: bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return lambda: bool(poll.poll(0))
