"""Hedged requests: a second one, when the first takes unusually long; whichever answers first counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from unified_llm.errors import UnifiedLLMError

__all__ = ["hedged"]

T = TypeVar("T")


async def hedged(
    seconds: float, first: Callable[[], Awaitable[T]], second: Callable[[], Awaitable[T]]
) -> tuple[T, bool]:
    """What `first` gives, or, if nothing came of it after `seconds`, what the faster of the two gives; and whether
    that was `second`.

    The slower one is cancelled, which closes its request, before this returns. A failure counts only when there is
    nobody left to wait for; then it is the first one's. Source of the idea: Dean and Barroso, "The Tail at Scale".
    """
    tasks = [asyncio.ensure_future(first())]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds)
        if done:
            return tasks[0].result(), False
        tasks.append(asyncio.ensure_future(second()))
        return await _fastest(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _fastest(tasks: Sequence[asyncio.Future[T]]) -> tuple[T, bool]:
    waiting: set[asyncio.Future[T]] = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            failure = task.exception()
            if failure is None:
                return task.result(), task is tasks[1]
            if not isinstance(failure, UnifiedLLMError):
                raise failure
    return tasks[0].result(), False
