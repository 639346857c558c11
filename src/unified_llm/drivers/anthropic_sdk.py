"""Calls through the real `anthropic` SDK: its credentials, addresses, proxies and HTTP client; the bytes are ours.

Building and validating typed models is most of what a call through the SDK costs, so answers are read as bytes (see
`anthropic_routes`). The SDK is imported on first use (it takes more than a second), in a thread when an event loop is
running, and never retries: that is the work of `policy`.
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
from unified_llm.drivers.anthropic_failures import Translator
from unified_llm.drivers.anthropic_routes import Route, direct, pipeline, timeout_of
from unified_llm.wire import WireCall, WireReply

if TYPE_CHECKING:
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
        options: further keyword arguments of ``anthropic.Anthropic`` (profile, middleware, default_query...).
        aiohttp: async calls over aiohttp, as the SDK's extra of that name does.
    """

    base_url: str | None = None
    api_key: Secret | None = None
    anonymous: bool = False
    timeout: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    aiohttp: bool = False


class _Line:
    """A client of the SDK, and the route of its calls."""

    __slots__ = ("client", "fetches_credential", "route")

    def __init__(self, client: Any, route: Route) -> None:
        self.client = client
        self.route = route
        self.fetches_credential = client.custom_auth is not None


class _SDK:
    """The imported packages, and one TLS context for every client (making one takes 30 ms)."""

    def __init__(self, settings: SDKSettings) -> None:
        self.anthropic: Any = require("anthropic", extra="claude", purpose="Claude through its SDK")
        self.httpx2: Any = require("httpx2", extra="claude", purpose="Claude through its SDK")
        self.tls: ssl.SSLContext = self.httpx2.create_ssl_context()
        self.failures = Translator(self.anthropic, self.httpx2, settings.base_url)
        self._settings = settings

    def line(self) -> _Line:
        http = self.anthropic.DefaultHttpxClient(**self._transport_options(verify=self.tls))
        return self._line(self.anthropic.Anthropic, http, self.anthropic.Stream)

    def async_line(self) -> _Line:
        if self._settings.aiohttp:
            http = self.anthropic.DefaultAioHttpClient(**self._transport_options())
        else:
            http = self.anthropic.DefaultAsyncHttpxClient(**self._transport_options(verify=self.tls))
        return self._line(self.anthropic.AsyncAnthropic, http, self.anthropic.AsyncStream)

    def _transport_options(self, **options: Any) -> dict[str, Any]:
        # The SDK's own clients follow redirects, and send x-api-key and the prompt to whatever host they name.
        options["follow_redirects"] = False
        seconds = self._settings.timeout
        return options if seconds is None else options | {"timeout": timeout_of(self.httpx2, seconds)}

    def _line(self, kind: Any, http: Any, stream_class: Any) -> _Line:
        s = self._settings
        headers: dict[str, Any] = dict(s.headers)
        if s.anonymous:
            headers["Authorization"] = self.anthropic.Omit()
        arguments: dict[str, Any] = {"base_url": s.base_url, "max_retries": 0, "default_headers": headers, **s.options}
        if s.timeout is not None:
            arguments["timeout"] = timeout_of(self.httpx2, s.timeout)
        if s.api_key is not None:
            arguments["api_key"] = s.api_key.get_secret_value()
        with self.failures.while_constructing():
            client = kind(http_client=http, **arguments)
        acts_itself = client.custom_auth is not None or client.middleware or s.options.keys() & {"default_query"}
        if acts_itself:
            return _Line(client, pipeline(self.httpx2, client, stream_class))
        return _Line(client, direct(self.httpx2, client, http))


class AnthropicSDKDriver:
    """Implements `drivers.base.Driver` over ``anthropic.Anthropic`` and ``anthropic.AsyncAnthropic``.

    One sync client, and one async client for each running event loop, closed when its loop ends.

    Raises (at the first call):
        MissingDependencyError: the package is not installed.
        MissingCredentialError: the SDK's own credential chain found nothing.
    """

    def __init__(self, settings: SDKSettings) -> None:
        self.settings = settings
        self._line: _Line | None = None
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

    def _open_line(self) -> _Line:
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

    def send(self, call: WireCall) -> WireReply:
        """See `Driver.send`."""
        return _reply(self._exchange(call, stream=False))

    def open(self, call: WireCall) -> _ReplyStream:
        """See `Driver.open`."""
        return _ReplyStream(self, call)

    # -- async --------------------------------------------------------------------------------------------------

    async def _async_line(self) -> _Line:
        loop = asyncio.get_running_loop()
        home = self._homes.get(loop)
        if home is not None:
            return home.line
        if "_sdk" not in self.__dict__:
            await asyncio.to_thread(lambda: self._sdk)
        home = self._homes.get(loop)  # another task may have been faster
        if home is None:
            self._forget_ended_loops()
            home = self._homes[loop] = _Home(self._sdk.async_line())
        return home.line

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
            line, self._line = self._line, None
        if line is not None:
            line.client.close()
        self._forget_ended_loops()

    async def aclose(self) -> None:
        """See `Driver.aclose`."""
        self.close()
        home = self._homes.pop(asyncio.get_running_loop(), None)
        if home is not None:
            await home.close()


def _reply(response: httpx2.Response) -> WireReply:
    return WireReply(response.status_code, dict(response.headers), response.content)


def _is_read_or_compressed(response: httpx2.Response) -> bool:
    return response.is_stream_consumed or "content-encoding" in response.headers


class _Home:
    """An async client and the loop it lives in. When the loop shuts down its async generators, the client is closed.

    ``asyncio.run`` does that before it closes the loop, and it is the only notice of that event there is.
    """

    __slots__ = ("_watch", "line")

    def __init__(self, line: _Line) -> None:
        self.line = line
        self._watch = self._until_the_loop_ends()
        with contextlib.suppress(StopIteration):
            self._watch.asend(None).send(None)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.line.client.close()

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
        response, driver = self._response, self._driver
        try:
            # Decoding layers cost more than the event they pass on, and event streams are hardly ever compressed.
            pieces: Any = response.iter_bytes() if _is_read_or_compressed(response) else response.stream
            yield from pieces
        except driver._sdk.httpx2.HTTPError as exc:
            raise driver._sdk.failures.of_body(exc, self.status, driver._seconds(self._call)) from exc

    def read(self) -> bytes:
        """See the protocol."""
        return b"".join(self)


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

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        response, driver = self._response, self._driver
        pieces: Any = response.aiter_bytes() if _is_read_or_compressed(response) else response.stream
        try:
            async for piece in pieces:
                yield piece
        except driver._sdk.httpx2.HTTPError as exc:
            raise driver._sdk.failures.of_body(exc, self.status, driver._seconds(self._call)) from exc

    async def read(self) -> bytes:
        """See the protocol."""
        return b"".join([piece async for piece in self])
