"""Clients of the `anthropic` SDK: made on first use, with one TLS context, and the route that their calls take."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from unified_llm._optional import require
from unified_llm.credentials import Secret
from unified_llm.drivers.anthropic_failures import Translator
from unified_llm.drivers.anthropic_routes import Route, direct, pipeline, timeout_of
from unified_llm.drivers.urls import Address
from unified_llm.errors import MissingDependencyError

__all__ = ["PLATFORMS", "SDK", "Line", "SDKSettings"]


PLATFORMS: Final = {
    "anthropic": "Anthropic",
    "bedrock": "AnthropicBedrock",
    "vertex": "AnthropicVertex",
    "foundry": "AnthropicFoundry",
    "aws": "AnthropicAWS",
}
"""Platform to the SDK's client for it."""


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
        platform: a key of `PLATFORMS`: Claude on somebody else's cloud, with the SDK's client for it.
        aiohttp: async calls are parsed by aiohttp (see `drivers.aiohttp`).
    """

    base_url: str | None = None
    api_key: Secret | None = None
    anonymous: bool = False
    timeout: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    aiohttp: bool = False
    platform: str = "anthropic"


class Line:
    """A client of the SDK, and the route of its calls."""

    __slots__ = ("client", "fetches_credential", "route")

    def __init__(self, client: Any, route: Route) -> None:
        self.client = client
        self.route = route
        self.fetches_credential = client.custom_auth is not None


class SDK:
    """The imported packages, and one TLS context for every client (making one takes 30 ms)."""

    def __init__(self, settings: SDKSettings) -> None:
        self.anthropic: Any = require("anthropic", extra="claude", purpose="Claude through its SDK")
        self.httpx2: Any = require("httpx2", extra="claude", purpose="Claude through its SDK")
        if settings.aiohttp:
            require("aiohttp", extra="aiohttp", purpose="transport='sdk-aiohttp'")
        self.tls: ssl.SSLContext = self.httpx2.create_ssl_context()
        self.failures = Translator(self.anthropic, self.httpx2, settings.base_url)
        self._settings = settings

    def line(self) -> Line:
        from unified_llm.drivers.anthropic_transport import SDKTransport

        http = self.anthropic.DefaultHttpxClient(**self._transport_options(SDKTransport(self.tls)))
        return self._line(self._kind(""), http, self.anthropic.Stream)

    def async_line(self) -> Line:
        from unified_llm.drivers.anthropic_transport import AsyncSDKTransport
        from unified_llm.drivers.http import async_engine

        transport = AsyncSDKTransport(self.tls, async_engine(aiohttp=self._settings.aiohttp))
        http = self.anthropic.DefaultAsyncHttpxClient(**self._transport_options(transport))
        return self._line(self._kind("Async"), http, self.anthropic.AsyncStream)

    def _kind(self, prefix: str) -> Any:
        name = prefix + PLATFORMS[self._settings.platform]
        kind = getattr(self.anthropic, name, None)
        if kind is None:
            raise MissingDependencyError(
                f"the anthropic SDK installed here has no {name}", hint="pip install --upgrade anthropic"
            )
        return kind

    def _transport_options(self, transport: Any) -> dict[str, Any]:
        # The SDK's own clients follow redirects, and send x-api-key and the prompt to whatever host they name.
        options = {"transport": transport, "follow_redirects": False}
        seconds = self._settings.timeout
        return options if seconds is None else options | {"timeout": timeout_of(self.httpx2, seconds)}

    def _line(self, kind: Any, http: Any, stream_class: Any) -> Line:
        s = self._settings
        headers: dict[str, Any] = dict(s.headers)
        if s.anonymous and s.platform == "anthropic":
            headers["Authorization"] = self.anthropic.Omit()
        arguments: dict[str, Any] = {"base_url": s.base_url, "max_retries": 0, "default_headers": headers, **s.options}
        if s.timeout is not None:
            arguments["timeout"] = timeout_of(self.httpx2, s.timeout)
        if s.api_key is not None:
            arguments["api_key"] = s.api_key.get_secret_value()
        with self.failures.while_constructing():
            client = kind(http_client=http, **arguments)
        if s.base_url is None:
            self.failures.address = Address.parse(str(client.base_url))  # messages name whom the SDK chose
        acts_itself = client.custom_auth is not None or client.middleware or s.options.keys() & {"default_query"}
        if acts_itself or s.platform != "anthropic":
            return Line(client, pipeline(self.httpx2, client, stream_class, platform=s.platform))
        return Line(client, direct(self.httpx2, client, http))
