"""Calls through the real `anthropic` SDK: its credentials, addresses and HTTP client; connections and bytes are ours.

Building and validating typed models is most of what a call through the SDK costs, so answers are read as bytes (see
`anthropic_routes`), over our own connections (`anthropic_transport`). The SDK is imported on first use (it takes more
than a second), in a thread when an event loop is running, and never retries: that is the work of `policy`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from unified_llm.drivers.anthropic_clients import SDK, Line, SDKSettings
from unified_llm.drivers.anthropic_replies import Reading, SDKAsyncReplyStream, SDKReplyStream
from unified_llm.forks import renew_in_child
from unified_llm.wire import WireCall, WireReply

if TYPE_CHECKING:
    import httpx2

__all__ = ["AnthropicSDKDriver", "SDKSettings"]


class AnthropicSDKDriver:
    """Implements `drivers.base.Driver` over ``anthropic.Anthropic`` and ``anthropic.AsyncAnthropic``.

    One sync client, and one async client for each running event loop, whose connections are closed when it ends.

    Raises (at the first call):
        MissingDependencyError: the package is not installed.
        MissingCredentialError: the SDK's own credential chain found nothing.
    """

    def __init__(self, settings: SDKSettings) -> None:
        self.settings = settings
        self._line: Line | None = None
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, Line] = WeakKeyDictionary()
        self._lock = threading.Lock()
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"AnthropicSDKDriver({self.settings.base_url!r})"

    @cached_property
    def _sdk(self) -> SDK:
        with self._lock:
            known: SDK | None = self.__dict__.get("_sdk")
            return known or SDK(self.settings)

    # -- sync ---------------------------------------------------------------------------------------------------

    def _open_line(self) -> Line:
        line = self._line
        if line is None:
            sdk = self._sdk
            with self._lock:
                if self._line is None:
                    self._line = sdk.line()
                line = self._line
        return line

    def _exchange(self, call: WireCall, *, stream: bool) -> httpx2.Response:
        line = self._open_line()
        sdk = self._sdk
        try:
            response: httpx2.Response = line.route(call, stream)
        except sdk.anthropic.APIStatusError as exc:
            response = exc.response
        except sdk.failures.caught as exc:
            sdk.failures.raise_for(exc, self._seconds(call))
        if response.status_code == 401 and line.fetches_credential:
            self.close()  # a revoked token is fetched anew for the next call
        return response

    def _seconds(self, call: WireCall) -> float | None:
        return self.settings.timeout if call.timeout is None else call.timeout

    def _reading(self, call: WireCall) -> Callable[[], Reading]:
        """How to read the answer to `call`; the SDK is known by the time it is asked."""
        return lambda: Reading(self._sdk, self._seconds(call))

    def send(self, call: WireCall) -> WireReply:
        """See `Driver.send`."""
        with SDKReplyStream(lambda: self._exchange(call, stream=False), self._reading(call)) as reply:
            return WireReply(reply.status, reply.headers, reply.read())

    def open(self, call: WireCall) -> SDKReplyStream:
        """See `Driver.open`."""
        return SDKReplyStream(lambda: self._exchange(call, stream=True), self._reading(call))

    # -- async --------------------------------------------------------------------------------------------------

    async def _async_line(self) -> Line:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is not None:
            return line
        if "_sdk" not in self.__dict__:
            await asyncio.to_thread(lambda: self._sdk)
        line = self._lines.get(loop)  # another task may have been faster
        if line is None:
            self._forget_ended_loops()
            line = self._lines[loop] = self._sdk.async_line()
        return line

    async def _exchange_async(self, call: WireCall, *, stream: bool) -> httpx2.Response:
        line = await self._async_line()
        sdk = self._sdk
        try:
            response: httpx2.Response = await line.route(call, stream)
        except sdk.anthropic.APIStatusError as exc:
            response = exc.response
        except sdk.failures.caught as exc:
            sdk.failures.raise_for(exc, self._seconds(call))
        if response.status_code == 401 and line.fetches_credential:
            await self.aclose()
        return response

    async def send_async(self, call: WireCall) -> WireReply:
        """See `Driver.send_async`."""
        async with SDKAsyncReplyStream(lambda: self._exchange_async(call, stream=False), self._reading(call)) as reply:
            return WireReply(reply.status, reply.headers, await reply.read())

    def open_async(self, call: WireCall) -> SDKAsyncReplyStream:
        """See `Driver.open_async`."""
        return SDKAsyncReplyStream(lambda: self._exchange_async(call, stream=True), self._reading(call))

    # -- life ---------------------------------------------------------------------------------------------------

    def __del__(self) -> None:
        # A client that was dropped without close() leaves no open socket (and no ResourceWarning) behind.
        line = self.__dict__.get("_line")
        if line is not None and not sys.is_finalizing():
            line.client.close()

    def _forget_ended_loops(self) -> None:
        for loop in [loop for loop in self._lines if loop.is_closed()]:
            del self._lines[loop]

    def close(self) -> None:
        """See `Driver.close`."""
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            line.client.close()
        self._forget_ended_loops()

    async def aclose(self) -> None:
        """See `Driver.aclose`."""
        self.close()
        line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.client.close()
