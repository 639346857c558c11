"""A limit on calls in flight, shared by threads and event loops: first come, first served."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Gate"]


@dataclass(slots=True, eq=False)
class _Ticket:
    wake: Callable[[], object]
    granted: bool = False


class Gate:
    """Lets `limit` callers in at a time. One gate may be waited on from threads and from several event loops."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._inside = 0
        self._queue: deque[_Ticket] = deque()
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """Callers that are in now."""
        return self._inside

    def try_enter(self) -> bool:
        """Take a place if one is free and nobody is waiting for it."""
        with self._lock:
            if self._inside < self.limit and not self._queue:
                self._inside += 1
                return True
            return False

    def enter(self, seconds: float | None = None) -> bool:
        """Wait for a place, at most `seconds`; False when none came free."""
        event = threading.Event()
        ticket = self._enter_or_queue(event.set)
        if ticket is None:
            return True
        try:
            granted = event.wait(seconds)
        except BaseException:  # Ctrl-C while it waits: its place must not be lost
            if not self._give_up(ticket):
                self.leave()
            raise
        return granted or not self._give_up(ticket)

    async def enter_async(self, seconds: float | None = None) -> bool:
        """`enter` for an event loop; cancelling the task leaves the queue."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(None))

        ticket = self._enter_or_queue(wake)
        if ticket is None:
            return True
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return not self._give_up(ticket)
        except asyncio.CancelledError:
            if not self._give_up(ticket):
                self.leave()
            raise
        return True

    def leave(self) -> None:
        """Give the place to the next in the queue."""
        while True:
            with self._lock:
                if not self._queue:
                    self._inside -= 1
                    return
                ticket = self._queue.popleft()
                ticket.granted = True
            try:
                ticket.wake()
            except RuntimeError:  # its event loop was closed while it waited: the next one
                continue
            return

    def _enter_or_queue(self, wake: Callable[[], object]) -> _Ticket | None:
        with self._lock:
            if self._inside < self.limit and not self._queue:
                self._inside += 1
                return None
            ticket = _Ticket(wake)
            self._queue.append(ticket)
            return ticket

    def _give_up(self, ticket: _Ticket) -> bool:
        """Leave the queue; False when the place had just been granted (the caller then has it)."""
        with self._lock:
            if ticket.granted:
                return False
            self._queue.remove(ticket)
            return True
