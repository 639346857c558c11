"""Hedged requests: a second one, when the first takes unusually long; whichever answers first counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from unified_llm.errors import UnifiedLLMError

__all__ = ["Won", "hedged"]

T = TypeVar("T")


class Won(NamedTuple, Generic[T]):
    """The answer that counts, whether the second request brought it, and what came of the other: its answer, if it came
    at the same time, or its failure."""

    value: T
    by_second: bool
    lost: T | None = None
    failure: BaseException | None = None


async def hedged(seconds: float, first: Callable[[], Awaitable[T]], second: Callable[[], Awaitable[T]]) -> Won[T]:
    """What `first` gives, or, if nothing came of it after `seconds`, what the faster of the two gives.

    The slower one is cancelled, which closes its request, before this returns. A failure counts only when there is
    nobody left to wait for; then it is the first one's. What stops the second before it is sent is no failure of the
    call. Source of the idea: Dean and Barroso, "The Tail at Scale".
    """
    tasks = [asyncio.ensure_future(first())]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds)
        if done:
            return Won(tasks[0].result(), by_second=False)
        tasks.append(asyncio.ensure_future(second()))
        winner = await _fastest(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    other = tasks[1 - winner]
    failure = asyncio.CancelledError() if other.cancelled() else other.exception()
    return Won(tasks[winner].result(), winner == 1, None if failure else other.result(), failure)


async def _fastest(tasks: Sequence[asyncio.Future[T]]) -> int:
    """Which of two tasks answered first; the first one when none did."""
    waiting: set[asyncio.Future[T]] = set(tasks)
    while waiting:
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for position, task in enumerate(tasks):
            if task.done() and task.exception() is None:
                return position
        failure = tasks[0].exception() if tasks[0].done() else None
        if failure is not None and not isinstance(failure, UnifiedLLMError):
            raise failure
    return 0
