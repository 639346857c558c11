"""A limit on calls in flight, shared by threads and event loops: first come, first served."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["Gate"]

LOOK_AGAIN = 1.0
"""Seconds after which those who wait look whether a place was lost: nobody tells them when an event loop is closed."""


@dataclass(slots=True, eq=False)
class _Ticket:
    wake: Callable[[], object]
    granted: bool = False


class Gate:
    """Lets `limit` callers in at a time. One gate may be waited on from threads and from several event loops.

    `reclaim` is called now and then while somebody waits: it calls `leave` for those who cannot any more.

    `leave` never waits: the garbage collector may end a call in the middle of any of these methods, also while they
    hold `lock`. Who leaves says so in `left`; who has the lock, now or next, sees to it.
    """

    def __init__(self, limit: int, *, reclaim: Callable[[], object] = lambda: None) -> None:
        self.limit = limit
        self._inside = 0
        self._queue: deque[_Ticket] = deque()
        self.left: deque[None] = deque()
        self._reclaim = reclaim
        self.lock = threading.Lock()

    @property
    def inside(self) -> int:
        """Callers that are in now."""
        return self._inside

    def try_enter(self) -> bool:
        """Take a place if one is free and nobody is waiting for it."""
        with self.lock:
            inside = self.try_enter_locked()
        if self.left:
            self.settle()
        return inside

    def try_enter_locked(self) -> bool:
        """`try_enter` for who holds `lock`."""
        if self._inside < self.limit and not self._queue:
            self._inside += 1
            return True
        return False

    def enter(self, seconds: float | None = None) -> bool:
        """Wait for a place, at most `seconds`; False when none came free."""
        turn = threading.Lock()  # an `Event` has a lock of its own, which `leave` might have to wait for
        turn.acquire()
        ticket = self._enter_or_queue(turn.release)
        if ticket is None:
            return True
        until = None if seconds is None else time.monotonic() + seconds
        try:
            while not turn.acquire(timeout=_next(until)):
                if until is not None and time.monotonic() >= until:
                    return not self._give_up(ticket)
                self._reclaim()
        except BaseException:  # Ctrl-C while it waits: its place must not be lost
            if not self._give_up(ticket):
                self.leave()
            raise
        return True

    async def enter_async(self, seconds: float | None = None) -> bool:
        """`enter` for an event loop; cancelling the task leaves the queue."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(None))

        ticket = self._enter_or_queue(wake)
        if ticket is None:
            return True
        until = None if seconds is None else time.monotonic() + seconds
        try:
            while not (await asyncio.wait((future,), timeout=_next(until)))[0]:
                if until is not None and time.monotonic() >= until:
                    return not self._give_up(ticket)
                self._reclaim()
        except asyncio.CancelledError:
            if not self._give_up(ticket):
                self.leave()
            raise
        return True

    def leave(self) -> None:
        """Give the place to the next in the queue. Never waits."""
        self.left.append(None)
        self.settle()

    def settle(self) -> None:
        """See to those who left, unless somebody holds `lock`, who does it then."""
        while self.left and self.lock.acquire(False):  # by position, it is half as dear
            try:
                granted = self.settle_locked()
            finally:
                self.lock.release()
            if granted:
                self.wake(granted)

    def settle_locked(self) -> list[_Ticket]:
        """`settle` for who holds `lock`: those who are in now, to be woken without it."""
        granted: list[_Ticket] = []
        while self.left:
            self.left.popleft()
            if (ticket := self.leave_locked()) is not None:
                granted.append(ticket)
        return granted

    def leave_locked(self) -> _Ticket | None:
        """Leave, for who holds `lock`: the one who is in instead, to be woken without it."""
        if not self._queue:
            self._inside -= 1
            return None
        ticket = self._queue.popleft()
        ticket.granted = True
        return ticket

    def wake(self, granted: Iterable[_Ticket]) -> None:
        """Tell those who wait that they are in."""
        for ticket in granted:
            try:
                ticket.wake()
            except RuntimeError:  # its event loop was closed while it waited: the next one
                self.leave()

    def _enter_or_queue(self, wake: Callable[[], object]) -> _Ticket | None:
        ticket = _Ticket(wake)
        with self.lock:
            inside = self.try_enter_locked()
            if not inside:
                self._queue.append(ticket)
        if self.left:
            self.settle()
        return None if inside else ticket

    def _give_up(self, ticket: _Ticket) -> bool:
        """Leave the queue; False when the place had just been granted (the caller then has it)."""
        with self.lock:
            if not ticket.granted:
                self._queue.remove(ticket)
        if self.left:
            self.settle()
        return not ticket.granted


def _next(until: float | None) -> float:
    """How long to wait before looking again."""
    return LOOK_AGAIN if until is None else max(0.0, min(LOOK_AGAIN, until - time.monotonic()))
