"""Limits of one server: calls per minute and caller, calls at the same time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from unified_llm_mcp.expiring import MOST_CALLERS
from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.settings import Settings
from unified_llm_mcp.slots import Slots

__all__ = ["Limits"]

MAX_CALLERS = 10_000


class Limits:
    """Checks that a call may be made. Each check raises `ToolCallError` with what to do."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._slots = Slots(settings.max_concurrency)
        self._waiting: Counter[str] = Counter()

    def admit(self, subject: str) -> None:
        """Count a call of `subject` (a token bucket); refuse it when the caller is too fast."""
        rate = self._settings.calls_per_minute
        now = self._clock()
        level, since = self._buckets.pop(subject, (float(rate), now))
        level = min(float(rate), level + (now - since) * rate / 60)
        allowed = level >= 1
        self._buckets[subject] = (level - 1 if allowed else level, now)
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise ToolCallError(
                "rate_limited",
                f"more than {rate} tool calls a minute",
                hint="make fewer calls; embed takes up to 2048 texts at once",
                retryable=True,
                retry_after_s=math.ceil((1 - level) * 60 / rate * 10) / 10,
            )

    @asynccontextmanager
    async def slot(self, subject: str, turn: asyncio.Lock | None = None) -> AsyncIterator[None]:
        """Hold one of the places for calls to models, and `turn`; waits for both.

        Raises:
            ToolCallError: as many calls of this caller wait already as may wait, or eight times that many of all.
        """
        waits = self._slots.all_taken or (turn is not None and turn.locked())
        limit = self._settings.max_queue
        if waits and (self._waiting[subject] >= limit or self._waiting.total() >= MOST_CALLERS * limit):
            raise ToolCallError(
                "busy",
                f"{self._settings.max_concurrency} calls run at the same time, and {self._waiting.total()} are waiting",
                hint="wait for some of them to end",
                retryable=True,
            )
        async with self._waits(subject), AsyncExitStack() as held:
            if turn is not None:
                await held.enter_async_context(turn)
            await self._slots.acquire(subject)
            held.callback(self._slots.release, subject)
            held = held.pop_all()
        async with held:
            yield

    @asynccontextmanager
    async def _waits(self, subject: str) -> AsyncIterator[None]:
        self._waiting[subject] += 1
        try:
            yield
        finally:
            self._waiting[subject] -= 1
            if not self._waiting[subject]:
                del self._waiting[subject]
