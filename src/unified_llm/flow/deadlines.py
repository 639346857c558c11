"""Deadlines of calls on an event loop, all with one timer.

`asyncio.timeout` arms a timer for each call and cancels it again; the loop keeps cancelled timers in its heap until
they are many. Three times dearer than this, and a stream with a deadline pays it for each event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

__all__ = ["DeadlineExpired", "within"]

T = TypeVar("T")


class DeadlineExpired(TimeoutError):  # noqa: N818  # turned into `APITimeoutError` by the flow
    """Our deadline, not somebody else's timeout."""


class _Scope:
    """One call: the task that makes it, and when it must end."""

    __slots__ = ("cancelling", "expired", "task", "when")

    def __init__(self, task: asyncio.Task[Any], when: float) -> None:
        self.task = task
        self.when = when
        self.cancelling = task.cancelling()
        self.expired = False

    def expire(self) -> None:
        self.expired = True
        self.task.cancel()


class _Deadlines:
    """The calls under way on one loop. The timer is left armed when its call ends: most deadlines come in order."""

    __slots__ = ("_at", "_loop", "_scopes", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._scopes: set[_Scope] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0

    def add(self, scope: _Scope) -> None:
        self._scopes.add(scope)
        if self._timer is None or scope.when < self._at:
            self._arm(scope.when)

    def remove(self, scope: _Scope) -> None:
        self._scopes.discard(scope)

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = when
        self._timer = self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        now = max(self._loop.time(), self._at)
        self._timer = None
        for scope in [scope for scope in self._scopes if scope.when <= now]:
            self._scopes.discard(scope)
            scope.expire()
        if self._scopes:
            self._arm(min(scope.when for scope in self._scopes))


_BY_LOOP: dict[asyncio.AbstractEventLoop, _Deadlines] = {}


def _deadlines_of(loop: asyncio.AbstractEventLoop) -> _Deadlines:
    known = _BY_LOOP.get(loop)
    if known is None:
        for other in [other for other in list(_BY_LOOP) if other.is_closed()]:
            _BY_LOOP.pop(other, None)
        known = _BY_LOOP[loop] = _Deadlines(loop)
    return known


async def within(seconds: float, work: Awaitable[T]) -> T:
    """What `work` gives, as long as it comes within `seconds`.

    Raises:
        DeadlineExpired: it did not, and was cancelled. As with `asyncio.timeout`, a cancellation from elsewhere wins.
    """
    loop = asyncio.get_running_loop()
    deadlines = _deadlines_of(loop)
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # coroutines run in tasks
    scope = _Scope(task, loop.time() + seconds)
    deadlines.add(scope)
    try:
        return await work
    except asyncio.CancelledError as exc:
        if scope.expired and task.uncancel() <= scope.cancelling:
            raise DeadlineExpired from exc
        raise
    finally:
        deadlines.remove(scope)
