"""Limits of one server: calls per minute and caller, calls at the same time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.settings import Settings

__all__ = ["Limits"]

MAX_CALLERS = 10_000


class Limits:
    """Checks that a call may be made. Each check raises `ToolCallError` with what to do."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._slots = asyncio.Semaphore(settings.max_concurrency)
        self._waiting = 0

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
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the places for calls to models; waits for a free one."""
        if self._slots.locked() and self._waiting >= self._settings.max_queue:
            raise ToolCallError(
                "busy",
                f"{self._settings.max_concurrency} calls are running and {self._waiting} are waiting",
                hint="wait for some of them to end",
                retryable=True,
            )
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()
