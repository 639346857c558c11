"""Calls through the real `anthropic` SDK: its credentials, proxies, TLS and telemetry; bytes in and out are ours.

``client.post(path, cast_to=httpx2.Response, content=...)`` is the SDK's own low-level call. It skips building and
validating typed models, which is most of what a call through the SDK costs. The SDK is imported on first use (it
takes more than a second), in a thread when an event loop is running, and never retries: that is `policy`'s work.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from unified_llm._optional import require
from unified_llm.credentials import Secret
from unified_llm.drivers import failures
from unified_llm.drivers.anthropic_failures import Translator
from unified_llm.errors import ConfigurationError
from unified_llm.wire import WireCall, WireReply

if TYPE_CHECKING:
    import anthropic
    import httpx2

__all__ = ["AnthropicSDKDriver", "SDKSettings"]


@dataclass(frozen=True, slots=True)
class SDKSettings:
    """How the SDK's clients are made.

    Attributes:
        base_url: without ``/v1``; None leaves the choice to the SDK (ANTHROPIC_BASE_URL, profile, api.anthropic.com).
        api_key: None leaves the SDK's own chain in charge (auth token, profile, workload identity).
        anonymous: send no credential at all (a local server without one).
        timeout: seconds without progress, or None for the SDK's own (600, connecting 5).
        headers: sent with every call.
        options: further keyword arguments of ``anthropic.Anthropic`` (profile, default_query, open_telemetry...).
        aiohttp: async calls over aiohttp, as the SDK's extra of that name does.
    """

    base_url: str | None = None
    api_key: Secret | None = None
    anonymous: bool = False
    timeout: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    aiohttp: bool = False


class _SDK:
    """The imported packages, and one TLS context for every client (making one takes 30 ms)."""

    def __init__(self, settings: SDKSettings) -> None:
        self.anthropic: Any = require("anthropic", extra="claude", purpose="Claude through its SDK")
        self.httpx2: Any = require("httpx2", extra="claude", purpose="Claude through its SDK")
        self.tls: ssl.SSLContext = self.httpx2.create_ssl_context()
        self.failures = Translator(self.anthropic, self.httpx2, settings.base_url)
        self._settings = settings

    def client(self) -> anthropic.Anthropic:
        transport = self.anthropic.DefaultHttpxClient(verify=self.tls)
        return self.anthropic.Anthropic(**self._arguments(), http_client=transport)  # type: ignore[no-any-return]

    def async_client(self) -> anthropic.AsyncAnthropic:
        if self._settings.aiohttp:
            transport = self.anthropic.DefaultAioHttpClient()
        else:
            transport = self.anthropic.DefaultAsyncHttpxClient(verify=self.tls)
        return self.anthropic.AsyncAnthropic(**self._arguments(), http_client=transport)  # type: ignore[no-any-return]

    def _arguments(self) -> dict[str, Any]:
        s = self._settings
        headers: dict[str, Any] = dict(s.headers)
        if s.anonymous:
            headers["Authorization"] = self.anthropic.Omit()
        arguments: dict[str, Any] = {"base_url": s.base_url, "max_retries": 0, "default_headers": headers, **s.options}
        if s.timeout is not None:
            arguments["timeout"] = self.timeout(s.timeout)
        if s.api_key is not None:
            arguments["api_key"] = s.api_key.get_secret_value()
        return arguments

    def timeout(self, seconds: float) -> Any:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
            raise ConfigurationError(
                f"timeout must be a positive number of seconds or None, not {seconds!r}",
                hint="it counts the seconds without progress: connecting, first byte, between bytes",
            )
        return self.httpx2.Timeout(seconds, connect=min(seconds, failures.CONNECT_SECONDS))

    def request_options(self, call: WireCall) -> dict[str, Any]:
        options: dict[str, Any] = {"headers": dict(call.headers)}
        if call.timeout is not None:
            options["timeout"] = self.timeout(call.timeout)
        return options


class AnthropicSDKDriver:
    """Implements `drivers.base.Driver` over ``anthropic.Anthropic`` and ``anthropic.AsyncAnthropic``.

    One sync client, and one async client for each running event loop, closed when its loop ends.

    Raises (at the first call):
        MissingDependencyError: the package is not installed.
        MissingCredentialError: the SDK's own credential chain found nothing.
    """

    def __init__(self, settings: SDKSettings) -> None:
        self.settings = settings
        self._client: anthropic.Anthropic | None = None
        self._homes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Home] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"AnthropicSDKDriver({self.settings.base_url!r})"

    @cached_property
    def _sdk(self) -> _SDK:
        with self._lock:
            known: _SDK | None = self.__dict__.get("_sdk")
            return known or _SDK(self.settings)

    # -- sync ---------------------------------------------------------------------------------------------------

    def _sync(self) -> anthropic.Anthropic:
        sdk = self._sdk
        with self._lock:
            if self._client is None:
                with sdk.failures.while_constructing():
                    self._client = sdk.client()
            return self._client

    def _exchange(self, call: WireCall, *, stream: bool) -> httpx2.Response:
        sdk, client = self._sdk, self._sync()
        try:
            response = _ask(sdk, client, call, stream)
        except sdk.anthropic.APIStatusError as exc:
            response = exc.response
        except sdk.failures.caught as exc:
            sdk.failures.raise_for(exc)
        return response  # type: ignore[no-any-return]

    def send(self, call: WireCall) -> WireReply:
        """See `Driver.send`."""
        return _reply(self._exchange(call, stream=False))

    def open(self, call: WireCall) -> _ReplyStream:
        """See `Driver.open`."""
        return _ReplyStream(self, call)

    # -- async --------------------------------------------------------------------------------------------------

    async def _async(self) -> anthropic.AsyncAnthropic:
        loop = asyncio.get_running_loop()
        home = self._homes.get(loop)
        if home is not None:
            return home.client
        if "_sdk" not in self.__dict__:
            await asyncio.to_thread(lambda: self._sdk)
        home = self._homes.get(loop)  # another task may have been faster
        if home is None:
            self._forget_ended_loops()
            with self._sdk.failures.while_constructing():
                home = self._homes[loop] = _Home(self._sdk.async_client())
        return home.client

    async def _exchange_async(self, call: WireCall, *, stream: bool) -> httpx2.Response:
        client = await self._async()
        sdk = self._sdk
        try:
            response = await _ask(sdk, client, call, stream)
        except sdk.anthropic.APIStatusError as exc:
            response = exc.response
        except sdk.failures.caught as exc:
            sdk.failures.raise_for(exc)
        return response  # type: ignore[no-any-return]

    async def send_async(self, call: WireCall) -> WireReply:
        """See `Driver.send_async`."""
        return _reply(await self._exchange_async(call, stream=False))

    def open_async(self, call: WireCall) -> _AsyncReplyStream:
        """See `Driver.open_async`."""
        return _AsyncReplyStream(self, call)

    # -- life ---------------------------------------------------------------------------------------------------

    def _forget_ended_loops(self) -> None:
        for loop in [loop for loop in self._homes if loop.is_closed()]:
            del self._homes[loop]

    def close(self) -> None:
        """See `Driver.close`."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
        self._forget_ended_loops()

    async def aclose(self) -> None:
        """See `Driver.aclose`."""
        self.close()
        home = self._homes.pop(asyncio.get_running_loop(), None)
        if home is not None:
            await home.close()


def _ask(sdk: _SDK, client: Any, call: WireCall, stream: bool) -> Any:
    """The SDK's response, or a coroutine of it."""
    options = sdk.request_options(call)
    if call.method == "GET":
        return client.get(call.path, cast_to=sdk.httpx2.Response, options=options)
    extra = {"stream": True, "stream_cls": sdk.anthropic.Stream} if stream else {}
    return client.post(call.path, cast_to=sdk.httpx2.Response, content=call.body or b"", options=options, **extra)


def _reply(response: httpx2.Response) -> WireReply:
    return WireReply(response.status_code, dict(response.headers), response.content)


class _Home:
    """An async client and the loop it lives in. When the loop shuts down its async generators, the client is closed.

    ``asyncio.run`` does that before it closes the loop, and it is the only notice of that event there is.
    """

    __slots__ = ("_watch", "client")

    def __init__(self, client: anthropic.AsyncAnthropic) -> None:
        self.client = client
        self._watch = self._until_the_loop_ends()
        with contextlib.suppress(StopIteration):
            self._watch.asend(None).send(None)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.client.close()

    async def close(self) -> None:
        await self._watch.aclose()


class _ReplyStream:
    """See `drivers.base.ReplyStream`."""

    __slots__ = ("_call", "_driver", "_response", "headers", "status")

    _response: httpx2.Response

    def __init__(self, driver: AnthropicSDKDriver, call: WireCall) -> None:
        self._driver = driver
        self._call = call
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        self._response = self._driver._exchange(self._call, stream=True)
        self.status = self._response.status_code
        self.headers = dict(self._response.headers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._response.close()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_bytes()
        except self._driver._sdk.httpx2.HTTPError as exc:
            raise self._driver._sdk.failures.of_body(exc, self.status) from exc

    def read(self) -> bytes:
        """See the protocol."""
        return self._response.content if self._response.is_stream_consumed else b"".join(self)


class _AsyncReplyStream:
    """See `drivers.base.AsyncReplyStream`."""

    __slots__ = ("_call", "_driver", "_response", "headers", "status")

    _response: httpx2.Response

    def __init__(self, driver: AnthropicSDKDriver, call: WireCall) -> None:
        self._driver = driver
        self._call = call
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        self._response = await self._driver._exchange_async(self._call, stream=True)
        self.status = self._response.status_code
        self.headers = dict(self._response.headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import anyio  # the SDK depends on it

        with anyio.CancelScope(shield=True):  # a cancelled scope would stop the closing, and the server go on writing
            await self._response.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_bytes():
                yield chunk
        except self._driver._sdk.httpx2.HTTPError as exc:
            raise self._driver._sdk.failures.of_body(exc, self.status) from exc

    async def read(self) -> bytes:
        """See the protocol."""
        if self._response.is_stream_consumed:
            return self._response.content
        return b"".join([chunk async for chunk in self])
