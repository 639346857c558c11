"""Answers of the websocket API, read by a thread or by a task, with a limit on the silence in between."""

from __future__ import annotations

import asyncio
import queue
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
    ) -> None:
        self._begin = begin
        self._seconds = seconds
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
        inbox, began = self._inbox, False
        while True:
            try:
                item = inbox.get(timeout=self._seconds)
            except queue.Empty:
                raise timed_out(self._seconds, began) from None
            pieces = []
            while type(item) is bytes:
                pieces.append(item)
                try:
                    item = inbox.get_nowait()
                except queue.Empty:
                    break
            if pieces:
                began = True
                yield b"".join(pieces)
            if type(item) is bytes:
                continue
            self._ended = True
            if item is not None:
                raise item
            return

    def read(self) -> bytes:
        """See the protocol."""
        return b"".join(self)


class LMStudioAsyncReply:
    """See `drivers.base.AsyncReplyStream`. `begin` makes the run, for the running event loop."""

    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, begin: Callable[[Callable[[Any], None]], Awaitable[Run]], seconds: float) -> None:
        self._begin = begin
        self._seconds = seconds
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._run: Run | None = None
        self._starting: asyncio.Task[None] | None = None
        self._ended = False

    async def __aenter__(self) -> Self:
        self._run = await self._begin(self._inbox.put_nowait)
        self._starting = asyncio.create_task(self._run.start())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
        while True:
            if inbox.empty():
                try:
                    async with asyncio.timeout(self._seconds):
                        item = await inbox.get()
                except TimeoutError:
                    raise timed_out(self._seconds, began) from None
            else:
                item = inbox.get_nowait()
            pieces = []
            while type(item) is bytes:
                pieces.append(item)
                if inbox.empty():
                    break
                item = inbox.get_nowait()
            if pieces:
                began = True
                yield b"".join(pieces)
            if type(item) is bytes:
                continue
            self._ended = True
            if item is not None:
                raise item
            return

    async def read(self) -> bytes:
        """See the protocol."""
        return b"".join([piece async for piece in self])
