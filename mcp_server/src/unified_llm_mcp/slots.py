"""Places for calls to models, shared fairly: a free place goes to the waiting caller who has the fewest."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

__all__ = ["Slots"]


class Slots:
    """So many places. Within a caller's calls, first come is first served."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def all_taken(self) -> bool:
        return self._free == 0

    async def acquire(self, subject: str) -> None:
        """Take a place for `subject`; waits for one."""
        if self._free:  # then nobody waits
            self._free -= 1
            self._running[subject] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(subject, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(subject, turn)
            else:  # the place was given at the same moment
                self.release(subject)
            raise

    def release(self, subject: str) -> None:
        """Give the place back, to whoever is next."""
        self._running[subject] -= 1
        if not self._running[subject]:
            del self._running[subject]
        while self._waiting:
            following = min(self._waiting, key=lambda one: self._running[one])
            turn = self._waiting[following][0]
            self._forget(following, turn)
            if not turn.done():  # it may have been cancelled, and not have heard of it yet
                self._running[following] += 1
                turn.set_result(None)
                return
        self._free += 1

    def _forget(self, subject: str, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(subject)
        if waiting is not None and turn in waiting:
            waiting.remove(turn)
        if not waiting:
            self._waiting.pop(subject, None)
