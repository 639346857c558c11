"""LM Studio's websocket API through the `lmstudio` package, as a driver."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from unified_llm.drivers.http import PROGRESS_SECONDS
from unified_llm.drivers.lmstudio_replies import LMStudioAsyncReply, LMStudioReply
from unified_llm.drivers.lmstudio_run import Run
from unified_llm.drivers.lmstudio_sdk import CONNECT_SECONDS, auth_message, load_sdk
from unified_llm.drivers.lmstudio_session import DEFAULT_TTL, Session, soon
from unified_llm.drivers.per_loop import PerLoop
from unified_llm.forks import renew_in_child
from unified_llm.wire import WireCall, WireReply

__all__ = ["LMStudioDriver"]


class LMStudioDriver:
    """Implements `drivers.base.Driver`. Bodies are orders (see `codecs.lmstudio_encode`), answers are lines of JSON.

    Sync calls share the websockets of one thread that runs an event loop; async calls use those of their own loop.
    The SDK is imported at the first call, in a thread when an event loop is running (it takes a third of a second).

    Args:
        netloc: ``host:port``; token: in LM Studio's form ``sk-lm-...:...``; anything else makes the client a guest.
        timeout: seconds without progress.
        ttl: seconds of idleness after which LM Studio unloads a model that was loaded for a call.

    Raises (at the first call):
        MissingDependencyError, ConfigurationError: no usable `lmstudio` package.
        LinkRefusedError, TokenRefusedError, APIConnectionError: no connection; nothing was asked.
    """

    def __init__(
        self, netloc: str, *, token: str | None = None, timeout: float | None = None, ttl: float | None = None
    ) -> None:
        self._netloc = netloc
        self._token = token
        self._timeout = PROGRESS_SECONDS if timeout is None else timeout
        self._ttl = DEFAULT_TTL if ttl is None else ttl
        self._sdk: ModuleType | None = None
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None
        self._sessions = PerLoop(self._session, Session.close)
        renew_in_child(self)

    def __repr__(self) -> str:
        return f"LMStudioDriver({self._netloc!r})"

    def _session(self) -> Session:
        if self._sdk is None:
            self._sdk = load_sdk()
        return Session(self._sdk, self._netloc, auth_message(self._token), self._ttl)

    def _limits(self, call: WireCall) -> tuple[float, float]:
        """Seconds of silence that are allowed: later on, and before anything came."""
        seconds = self._timeout if call.timeout is None else call.timeout
        return seconds, seconds if call.first is None else call.first

    def _run(self, session: Session, call: WireCall, deliver: Callable[[Any], None]) -> Run:
        connect = min(self._limits(call)[0], CONNECT_SECONDS) if call.connect is None else call.connect
        return Run(session, call, deliver, connect)

    # -- sync -------------------------------------------------------------------------------------------------------

    def send(self, call: WireCall) -> WireReply:
        """See `Driver.send`."""
        with self.open(call) as reply:
            return _reply(reply.read())

    def open(self, call: WireCall) -> LMStudioReply:
        """See `Driver.open`."""

        def begin(deliver: Callable[[Any], None]) -> Callable[[], None]:
            thread = self._running_thread()
            return thread.start(self._run(thread.session, call, deliver))

        return LMStudioReply(begin, *self._limits(call))

    def _running_thread(self) -> _LoopThread:
        with self._lock:
            if self._thread is None:
                self._thread = _LoopThread(self._session)
            return self._thread

    # -- async ------------------------------------------------------------------------------------------------------

    async def send_async(self, call: WireCall) -> WireReply:
        """See `Driver.send_async`."""
        async with self.open_async(call) as reply:
            return _reply(await reply.read())

    def open_async(self, call: WireCall) -> LMStudioAsyncReply:
        """See `Driver.open_async`."""

        async def begin(deliver: Callable[[Any], None]) -> Run:
            if self._sdk is None:
                self._sdk = await asyncio.to_thread(load_sdk)
            return self._run(self._sessions.get(), call, deliver)

        return LMStudioAsyncReply(begin, *self._limits(call))

    # -- life -------------------------------------------------------------------------------------------------------

    def __del__(self) -> None:
        # A client that was dropped without close() leaves no open socket behind.
        thread = self.__dict__.get("_thread")
        if thread is not None and not sys.is_finalizing():
            thread.stop(wait=False)

    def after_fork(self) -> None:
        """See `Forkable`: the thread did not come along, and its websockets are the parent's to close."""
        self._lock = threading.Lock()
        if self._thread is not None:
            _OF_THE_PARENT.append(self._thread)
        self._thread = None

    def close(self) -> None:
        """See `Driver.close`."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop(wait=True)
        self._sessions.forget_ended()

    async def aclose(self) -> None:
        """See `Driver.aclose`."""
        await asyncio.to_thread(self.close)
        await self._sessions.aclose()


_OF_THE_PARENT: list[_LoopThread] = []


class _LoopThread:
    """A thread with an event loop, and the session that lives in it."""

    def __init__(self, make: Callable[[], Session]) -> None:
        self.session = make()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name="unified-llm-lmstudio", daemon=True)
        self._thread.start()
        self._ready.wait()

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._ready.set()
        try:
            await self._over.wait()
        finally:
            await self.session.close()

    def start(self, run: Run) -> Callable[[], None]:
        """Start `run` in the loop. Calling the result stops it."""
        starting: list[asyncio.Task[None]] = []
        self._loop.call_soon_threadsafe(lambda: starting.append(soon(run.start())))

        def stop() -> None:
            starting[0].cancel()
            run.stop()

        def stop_threadsafe() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed, and the websockets with it
                self._loop.call_soon_threadsafe(stop)

        return stop_threadsafe

    def stop(self, *, wait: bool) -> None:
        """Close the session and end the thread."""
        with contextlib.suppress(RuntimeError):  # it ended in between
            self._loop.call_soon_threadsafe(self._over.set)
        if wait and threading.current_thread() is not self._thread:  # the collector runs finalizers in any thread
            self._thread.join(timeout=5)


def _reply(body: bytes) -> WireReply:
    return WireReply(200, {}, body)
