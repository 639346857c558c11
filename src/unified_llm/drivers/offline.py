"""The offline driver: carries out the plans of `offline.server` in this process. No socket, no thread.

It behaves as a transport does: delays respect the call's timeout, a cut raises in mid-body, leaving a stream early or
cancelling the task ends the request at once and is noted in its record.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType
from typing import Self

from unified_llm.errors import APITimeoutError
from unified_llm.offline.dialect import Break, Pause
from unified_llm.offline.requests import RecordedRequest
from unified_llm.offline.server import Exchange, OfflineServer
from unified_llm.wire import WireCall, WireReply

__all__ = ["OfflineDriver"]


class OfflineDriver:
    """A `drivers.base.Driver` over an `OfflineServer`.

    Args:
        server: who answers.
        timeout: seconds without progress before `APITimeoutError`, when the call names none. None: wait for ever.
    """

    def __init__(self, server: OfflineServer, *, timeout: float | None = None) -> None:
        self.server = server
        self.timeout = timeout

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """The requests so far, oldest first."""
        return tuple(self.server.requests)

    def send(self, call: WireCall) -> WireReply:
        with self.open(call) as reply:
            return WireReply(reply.status, reply.headers, reply.read())

    async def send_async(self, call: WireCall) -> WireReply:
        async with self.open_async(call) as reply:
            return WireReply(reply.status, reply.headers, await reply.read())

    def open(self, call: WireCall) -> OfflineReply:
        """Start a streamed call when the context is entered."""
        return OfflineReply(self.server, call, self._patience(call))

    def open_async(self, call: WireCall) -> AsyncOfflineReply:
        """Start a streamed call when the context is entered."""
        return AsyncOfflineReply(self.server, call, self._patience(call))

    def _patience(self, call: WireCall) -> float | None:
        return self.timeout if call.timeout is None else call.timeout

    def close(self) -> None:
        """Nothing is held."""

    async def aclose(self) -> None:
        """Nothing is held."""


class _Reply:
    """What the sync and the async reply share: the exchange, and how it ended."""

    def __init__(self, server: OfflineServer, call: WireCall, patience: float | None) -> None:
        self._server = server
        self._call = call
        self._patience = patience
        self._exchange: Exchange | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    @property
    def _started(self) -> Exchange:
        if self._exchange is None:
            raise RuntimeError("the call has not been sent: enter its context first")
        return self._exchange

    def _start(self) -> None:
        self._exchange = self._server.answer(self._call)
        self.status, self.headers = self._exchange.status, self._exchange.headers

    def _wait(self, pause: Pause) -> float:
        """Seconds to wait; when that is longer than the patience, the caller waits that and then gives up."""
        return pause.seconds if self._patience is None else min(pause.seconds, self._patience)

    def _check(self, pause: Pause) -> None:
        if self._patience is not None and pause.seconds > self._patience:
            self._started.request.outcome = "failed"
            raise APITimeoutError(
                f"nothing arrived for {self._patience:g} s", hint="raise timeout=, or lower the delay of the script"
            )

    def _broken(self, action: Break) -> Exception:
        self._started.request.outcome = "failed"
        return action.error

    def _finished(self) -> None:
        self._started.request.outcome = "complete"

    def _left(self) -> None:
        request = self._started.request
        if request.outcome == "open":
            request.outcome = "abandoned"


class OfflineReply(_Reply):
    """A `drivers.base.ReplyStream`."""

    def __init__(self, server: OfflineServer, call: WireCall, patience: float | None) -> None:
        super().__init__(server, call, patience)
        self._gone = threading.Event()

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._gone.set()
        self._left()

    def __iter__(self) -> Iterator[bytes]:
        for action in self._started.actions:
            if isinstance(action, Pause):
                self._gone.wait(self._wait(action))  # an event, so that closing from another thread ends the wait
                self._check(action)
            elif isinstance(action, Break):
                raise self._broken(action)
            else:
                yield action
            if self._gone.is_set():
                return
        self._finished()

    def read(self) -> bytes:
        """The rest of the body at once."""
        return b"".join(self)


class AsyncOfflineReply(_Reply):
    """A `drivers.base.AsyncReplyStream`."""

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for action in self._started.actions:
            if isinstance(action, Pause):
                await asyncio.sleep(self._wait(action))
                self._check(action)
            elif isinstance(action, Break):
                raise self._broken(action)
            else:
                await asyncio.sleep(0)  # no real transport keeps the loop for a whole answer
                yield action
        self._finished()

    async def read(self) -> bytes:
        """The rest of the body at once."""
        return b"".join([chunk async for chunk in self])
