"""The connections of one event loop, and the line of those who wait for one.

Calls in flight do not slow each other down: a call takes the connection used last, or makes one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from unified_llm.drivers.async_line import AsyncLine
from unified_llm.drivers.asyncio_backend import AsyncioBackend
from unified_llm.drivers.exchange import Exchange
from unified_llm.drivers.http11 import connect_async
from unified_llm.drivers.route import IDLE_SECONDS, Route

__all__ = ["Connection", "Pool", "close_pool"]


class Connection:
    __slots__ = ("backend", "http", "idle_since", "reused")

    def __init__(self, route: Route, engine: Callable[[], Exchange]) -> None:
        self.backend = AsyncioBackend(http_only=route.proxy is None)
        self.http = connect_async(route, self.backend, engine)
        self.idle_since = 0.0
        self.reused = False


class Pool:
    """The connections of one event loop, and the line of those who wait for one."""

    def __init__(self, route: Route, limit: int, engine: Callable[[], Exchange]) -> None:
        self._route = route
        self._engine = engine
        self._idle: deque[Connection] = deque()
        self._line = AsyncLine(limit, route.address)
        self._closed = False

    async def acquire(self, timeout: float) -> Connection:  # noqa: ASYNC109  # also the words of the error
        """A connection, idle if there is one that the server has left open. Raises `APITimeoutError`."""
        await self._line.enter(timeout)
        try:
            while self._idle:
                connection = self._idle.pop()
                if time.monotonic() - connection.idle_since < IDLE_SECONDS and not connection.http.has_expired():
                    connection.reused = True
                    return connection
                connection.backend.abort()
            return self.fresh()
        except BaseException:
            self._line.leave()
            raise

    def fresh(self) -> Connection:
        """A new connection, for a caller that has a place already."""
        return Connection(self._route, self._engine)

    def release(self, connection: Connection, *, reusable: bool) -> None:
        """Give a place back, and its connection, to be used again or closed."""
        if reusable and not self._closed:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
            if connection.idle_since - self._idle[0].idle_since > IDLE_SECONDS:
                self._idle.popleft().backend.abort()  # left over from a busier time
        else:
            connection.backend.abort()
        self._line.leave()

    def close(self) -> None:
        """Close idle connections; those in use are closed when their call ends."""
        self._closed = True
        while self._idle:
            self._idle.pop().backend.abort()


async def close_pool(pool: Pool) -> None:
    pool.close()
    for _ in range(2):  # transports close their sockets in the next round of the loop, TLS ones in the one after
        await asyncio.sleep(0)
