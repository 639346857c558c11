"""Calls in tasks of their own: one can be watched, outlive the request that started it, and be fetched later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from unified_llm_mcp.failures import ToolCallError

__all__ = ["PATIENCE", "Run", "Runs"]

PATIENCE = 2.0
"""Seconds a cancelled call gets to close its upstream request: a provider may ignore that it was cancelled."""
R = TypeVar("R")


class Run(Generic[R]):
    """One call in flight, or done: the text so far, the model that its beginning names, and the result at the end."""

    def __init__(self, produce: Callable[[Run[R]], Awaitable[R]]) -> None:
        self.pieces: list[str] = []
        self.length = 0
        self.model: str | None = None
        self.started = time.monotonic()
        self._changed = asyncio.Event()
        self._awaited: list[asyncio.Future[None]] = []
        self._task = asyncio.create_task(self._work(produce))
        self._task.add_done_callback(self._ended)

    async def _work(self, produce: Callable[[Run[R]], Awaitable[R]]) -> R:
        try:
            return await produce(self)
        finally:
            self._wake()  # not only in `_ended`: who waits then wakes up in the same round of the event loop

    def _wake(self) -> None:
        self._changed.set()
        for awaited in self._awaited:
            _set(awaited)

    def _ended(self, task: asyncio.Task[R]) -> None:
        self._wake()  # also when it was cancelled before it began
        if not task.cancelled():
            task.exception()  # seen: a run nobody asks about any more must not be reported as forgotten by asyncio

    @property
    def done(self) -> bool:
        return self._task.done()

    @property
    def cancelled(self) -> bool:
        return self._task.cancelled()

    @property
    def text(self) -> str:
        """The text received so far."""
        return "".join(self.pieces)

    def add(self, piece: str) -> None:
        """Text has arrived."""
        self.pieces.append(piece)
        self.length += len(piece)
        self._changed.set()

    def result(self) -> R:
        """What the call returned; raises what it raised. Only once `done`."""
        if self._task.cancelled():
            raise ToolCallError("cancelled", "the call was cancelled", partial=self.text)
        return self._task.result()

    async def wait_text(self, position: int, seconds: float | None) -> None:
        """Return when there are more than `position` pieces, or the run is done, or `seconds` have passed."""
        if len(self.pieces) > position or self.done:
            return
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return  # nothing new: the caller looks at the clock

    async def wait_done(self, seconds: float | None) -> None:
        """Return when the run is done or `seconds` have passed. Cancelling the waiter leaves the run alone."""
        if self.done:
            return
        loop = asyncio.get_running_loop()
        awaited = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _set, awaited)
        self._awaited.append(awaited)
        try:
            await awaited
        finally:
            self._awaited.remove(awaited)
            if timer is not None:
                timer.cancel()

    def cancel(self) -> None:
        """Stop it; the upstream request is closed. Nothing happens when it is done."""
        self._task.cancel()


def _set(awaited: asyncio.Future[None]) -> None:
    if not awaited.done():
        awaited.set_result(None)


class Runs:
    """Every run of one server."""

    def __init__(self) -> None:
        self._alive: set[Run[object]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._alive)

    def start(self, produce: Callable[[Run[R]], Awaitable[R]]) -> Run[R]:
        """Start a run; once closed, one that ends before it begins: a call may have been on its way to here."""
        run: Run[R] = Run(produce)
        self._alive.add(run)  # type: ignore[arg-type]  # the set only cancels and awaits
        run._task.add_done_callback(lambda _: self._alive.discard(run))
        if self._closed:
            run.cancel()
        return run

    def close(self) -> None:
        """Cancel what is running, and from now on what is started."""
        self._closed = True
        for run in self._alive:
            run.cancel()

    async def aclose(self) -> None:
        """`close`, and wait until upstream requests are closed, for `PATIENCE` seconds at most."""
        self.close()
        if self._alive:
            await asyncio.wait([run._task for run in self._alive], timeout=PATIENCE)
