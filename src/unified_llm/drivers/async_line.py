"""A fair limit of calls at once on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from unified_llm.drivers import failures
from unified_llm.drivers.urls import Address

__all__ = ["AsyncLine"]


class AsyncLine:
    """`limit` places, given in the order of arrival. Costs a comparison while places are free."""

    __slots__ = ("_address", "_in_use", "_limit", "_line")

    def __init__(self, limit: int, address: Address) -> None:
        self._address = address
        self._limit = limit
        self._in_use = 0
        self._line: deque[asyncio.Future[None]] = deque()

    async def enter(self, seconds: float) -> None:
        """Take a place. Raises `APITimeoutError` when none became free in time."""
        if self._in_use < self._limit:
            self._in_use += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as exc:
            if turn.done() and not turn.cancelled():  # granted at the moment of giving up: the next one gets it
                self.leave()
            else:
                with contextlib.suppress(ValueError):
                    self._line.remove(turn)
            if isinstance(exc, TimeoutError):
                raise failures.timed_out(self._address, "pool", seconds) from exc
            raise

    def leave(self) -> None:
        """Give the place to the next in line, without its becoming free in between."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._in_use -= 1
