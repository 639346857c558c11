"""Limits of one server: calls per minute and caller, calls at the same time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable

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
        self._waiting: dict[str, int] = {}

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

    def slot(self, subject: str, turn: asyncio.Lock | None = None) -> Slot:
        """Hold one of the places for calls to models, and `turn`; waits for both: for ``async with``.

        Raises (on entering):
            ToolCallError: as many calls of this caller wait already as may wait, or eight times that many of all.
        """
        return Slot(self, subject, turn)

    def _require_room(self, subject: str, turn: asyncio.Lock | None) -> None:
        """Raise `ToolCallError` when a call that has to wait would be one too many."""
        if not self._slots.all_taken and (turn is None or not turn.locked()):
            return
        limit, waiting = self._settings.max_queue, sum(self._waiting.values())
        if self._waiting.get(subject, 0) >= limit or waiting >= MOST_CALLERS * limit:
            raise ToolCallError(
                "busy",
                f"{self._settings.max_concurrency} calls run at the same time, and {waiting} are waiting",
                hint="wait for some of them to end",
                retryable=True,
            )

    async def _enter(self, subject: str, turn: asyncio.Lock | None) -> None:
        self._require_room(subject, turn)
        self._waiting[subject] = self._waiting.get(subject, 0) + 1
        try:
            if turn is not None:
                await turn.acquire()
            try:
                await self._slots.acquire(subject)
            except BaseException:
                if turn is not None:
                    turn.release()
                raise
        finally:
            self._waiting[subject] -= 1
            if not self._waiting[subject]:
                del self._waiting[subject]

    def _leave(self, subject: str, turn: asyncio.Lock | None) -> None:
        if turn is not None:
            turn.release()
        self._slots.release(subject)


class Slot:
    """A place that is held within ``async with``. A class: generators would cost more than all else that is done."""

    __slots__ = ("_limits", "_subject", "_turn")

    def __init__(self, limits: Limits, subject: str, turn: asyncio.Lock | None) -> None:
        self._limits, self._subject, self._turn = limits, subject, turn

    async def __aenter__(self) -> None:
        await self._limits._enter(self._subject, self._turn)

    async def __aexit__(self, *_: object) -> None:
        self._limits._leave(self._subject, self._turn)
