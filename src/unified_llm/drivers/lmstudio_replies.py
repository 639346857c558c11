"""Answers of the websocket API, read by a thread or by a task, with a limit on the silence in between."""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from unified_llm.drivers.lmstudio_run import Run
from unified_llm.errors import APITimeoutError

__all__ = ["LMStudioAsyncReply", "LMStudioReply"]


def timed_out(seconds: float, began: bool) -> APITimeoutError:
    """The error for `seconds` of silence; `began` tells whether something of the answer had come."""
    return APITimeoutError(
        f"LM Studio said nothing for {seconds:g} s",
        hint="the answer began and then stopped: see LM Studio's log"
        if began
        else "loading a model or reading a long prompt takes long: raise timeout=, or load the model first",
    )


class LMStudioReply:
    """See `drivers.base.ReplyStream`. `begin` starts the run in the websockets' thread, and gives what stops it."""

    status = 200
    headers: Mapping[str, str] = {}

    def __init__(
        self,
        begin: Callable[[Callable[[Any], None]], Callable[[], None]],
        seconds: float,
        first: float,
    ) -> None:
        self._begin = begin
        self._seconds = seconds
        self._first = first
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stop: Callable[[], None] | None = None
        self._ended = False

    def __enter__(self) -> Self:
        self._stop = self._begin(self._inbox.put)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stop is not None and not self._ended:
            self._stop()

    def __iter__(self) -> Iterator[bytes]:
        inbox, began, limit = self._inbox, False, self._first
        while True:
            try:
                item = inbox.get(timeout=limit)
            except queue.Empty:
                raise timed_out(limit, began) from None
            pieces = []
            while type(item) is bytes:
                pieces.append(item)
                if inbox.empty():  # nobody else takes from it
                    break
                item = inbox.get()
            if pieces:
                began, limit = True, self._seconds
                yield b"".join(pieces)
            if type(item) is not bytes:
                self._ended = True
                if item is not None:
                    raise item
                return

    def read(self) -> bytes:
        """See the protocol."""
        return b"".join(self)


class _Inbox:
    """What was delivered, waited for by one task. One timer watches all of its waits: setting one for each is dear."""

    __slots__ = ("_items", "_loop", "_since", "_timer", "_waiter", "seconds")

    def __init__(self, seconds: float) -> None:
        self._items: deque[Any] = deque()
        self._loop = asyncio.get_running_loop()
        self.seconds = seconds
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: Any) -> None:
        """Deliver something. To be called in the loop."""
        self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> deque[Any]:
        """All there is, at least one thing; to be emptied. Raises `TimeoutError` after the seconds of silence."""
        if not self._items:
            self._waiter = self._loop.create_future()
            self._since = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(self.seconds, self._look)
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items

    def _look(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():  # the next wait sets a timer again
            return
        rest = self._since + self.seconds - self._loop.time()
        if rest > 0:
            self._timer = self._loop.call_later(rest, self._look)
        else:
            waiter.set_exception(TimeoutError())

    def close(self) -> None:
        """No more waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class LMStudioAsyncReply:
    """See `drivers.base.AsyncReplyStream`. `begin` makes the run, for the running event loop."""

    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, begin: Callable[[Callable[[Any], None]], Awaitable[Run]], seconds: float, first: float) -> None:
        self._begin = begin
        self._seconds = seconds
        self._first = first
        self._run: Run | None = None
        self._starting: asyncio.Task[None] | None = None
        self._ended = False

    async def __aenter__(self) -> Self:
        self._inbox = _Inbox(self._first)
        self._run = await self._begin(self._inbox.put)
        self._starting = asyncio.create_task(self._run.start())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._inbox.close()
        if self._run is None or self._ended:
            return
        if self._starting is not None:
            self._starting.cancel()
        # Shielded: it reaches the server even when the task that leaves is cancelled once more.
        await asyncio.shield(self._run.stop())

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        inbox, began = self._inbox, False
        while not self._ended:
            try:
                items = await inbox.get()
            except TimeoutError:
                raise timed_out(inbox.seconds, began) from None
            pieces = []
            while items and type(items[0]) is bytes:
                pieces.append(items.popleft())
            if pieces:
                began, inbox.seconds = True, self._seconds
                yield pieces[0] if len(pieces) == 1 else b"".join(pieces)
            elif items:
                self._ended = True
                if items[0] is not None:
                    raise items[0]

    async def read(self) -> bytes:
        """See the protocol."""
        return b"".join([piece async for piece in self])
