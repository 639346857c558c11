"""Deadlines of calls: on an event loop all with one timer, elsewhere with a thread for what cannot be interrupted.

`asyncio.timeout` arms a timer for each call and cancels it again; the loop keeps cancelled timers in its heap until
they are many. Three times dearer than this, and a stream with a deadline pays it for each event.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from unified_llm.errors import APITimeoutError

__all__ = ["DeadlineExpired", "Scope", "in_time", "late", "scope_of", "within"]

T = TypeVar("T")


class DeadlineExpired(TimeoutError):  # noqa: N818  # turned into `APITimeoutError` by the flow
    """Our deadline, not somebody else's timeout."""


def late(seconds: float) -> APITimeoutError:
    """The error (not raised) of a call that did not end in the `seconds` that it had left."""
    return APITimeoutError(
        f"the deadline passed: {max(0.0, seconds):.1f} s were left for this request",
        hint="raise deadline=, or add fallbacks",
    )


class Scope:
    """A part of a call that must end in time: it is entered by the task that makes the call, which is cancelled then.

    `expired_by` tells this cancellation from others; leave the scope in any case.
    """

    __slots__ = ("_cancelling", "_deadlines", "_taken_back", "_task", "expired", "when")

    def __init__(self, deadlines: _Deadlines, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101  # coroutines run in tasks
        self._deadlines, self._task, self._cancelling = deadlines, task, task.cancelling()
        self.expired = self._taken_back = False
        self.when = when = loop.time() + seconds
        deadlines.scopes.add(self)
        if when < deadlines.at:
            deadlines.arm(when)

    def leave(self) -> None:
        """Nothing is cancelled from now on, nor counts as cancelled: somebody may have made an error of it."""
        self._deadlines.scopes.discard(self)
        if self.expired and not self._taken_back:
            self._task.uncancel()

    def expire(self) -> None:
        """Cancel the task."""
        self.expired = True
        self._task.cancel()

    def expired_by(self) -> bool:
        """Whether a `CancelledError` that was caught is this scope's own. A cancellation from elsewhere wins."""
        if not self.expired:
            return False
        self._taken_back = True
        return self._task.uncancel() <= self._cancelling


class _Deadlines:
    """The calls under way on one loop. The timer is left armed when its call ends: most deadlines come in order."""

    __slots__ = ("_loop", "_timer", "at", "scopes")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.scopes: set[Scope] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.at = math.inf

    def arm(self, when: float) -> None:
        """Look at the loop's time `when`, and not at `at`, which is later."""
        if self._timer is not None:
            self._timer.cancel()
        self.at = when
        self._timer = self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        now = max(self._loop.time(), self.at)
        self._timer, self.at = None, math.inf
        for scope in [scope for scope in self.scopes if scope.when <= now]:
            self.scopes.discard(scope)
            scope.expire()
        if self.scopes:
            self.arm(min(scope.when for scope in self.scopes))


_BY_LOOP: dict[asyncio.AbstractEventLoop, _Deadlines] = {}


def scope_of(seconds: float) -> Scope:
    """Enter a scope of so many seconds in the running task."""
    loop = asyncio.get_running_loop()
    known = _BY_LOOP.get(loop)
    if known is None:
        for other in [other for other in list(_BY_LOOP) if other.is_closed()]:
            _BY_LOOP.pop(other, None)
        known = _BY_LOOP[loop] = _Deadlines(loop)
    return Scope(known, loop, seconds)


async def within(seconds: float, work: Awaitable[T]) -> T:
    """What `work` gives, as long as it comes within `seconds`.

    Raises:
        DeadlineExpired: it did not, and was cancelled. As with `asyncio.timeout`, a cancellation from elsewhere wins.
    """
    scope = scope_of(seconds)
    try:
        return await work
    except asyncio.CancelledError as exc:
        if scope.expired_by():
            raise DeadlineExpired from exc
        raise
    finally:
        scope.leave()


def in_time(seconds: float, work: Callable[[], T], *, daemon: bool = True) -> T:
    """What `work` gives, as long as it comes within `seconds`.

    It runs in a thread, as nothing interrupts blocking code: late, it goes on to its end there, unheard; the process
    waits for that unless it is a `daemon`.

    Raises:
        DeadlineExpired: it is late.
    """
    outcome: list[tuple[T | None, BaseException | None]] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            outcome.append((context.run(work), None))
        except BaseException as exc:  # noqa: BLE001  # raised again in the calling thread
            outcome.append((None, exc))

    thread = threading.Thread(target=run, name="unified_llm in time", daemon=daemon)
    thread.start()
    thread.join(max(0.0, seconds) if seconds < threading.TIMEOUT_MAX else None)
    if not outcome:
        raise DeadlineExpired
    value, failure = outcome[0]
    if failure is not None:
        raise failure
    return value  # type: ignore[return-value]  # what `work` returned, None if it returns that
