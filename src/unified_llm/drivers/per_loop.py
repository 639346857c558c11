"""Something that belongs to an event loop, such as its connections: one per running loop, closed when the loop ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["PerLoop"]

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Makes one `T` for each event loop, on first use.

    ``asyncio.run`` shuts down the loop's async generators before it closes the loop; that is the only notice of its
    end that a loop gives, so each `T` is closed by a generator that waits for it. Programs that call ``asyncio.run``
    again and again with one client leave no connection behind.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None, None]]]
        self._made = WeakKeyDictionary()

    def get(self) -> T:
        """The one of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._made.get(loop)
        if found is None:
            self.forget_ended()
            thing = self._make()
            found = self._made[loop] = (thing, self._watch(thing))
            with contextlib.suppress(StopIteration):
                found[1].asend(None).send(None)  # its first step registers the generator with the loop
        return found[0]

    async def _watch(self, thing: T) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._close(thing)

    def forget_ended(self) -> None:
        """Drop what belongs to loops that are closed."""
        for loop in [loop for loop in list(self._made) if loop.is_closed()]:
            self._made.pop(loop, None)

    async def aclose(self) -> None:
        """Close the one of the running loop; the next `get` makes another."""
        self.forget_ended()
        found = self._made.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found[1].aclose()
