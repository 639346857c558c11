"""Whether LM Studio's websockets can be used: decided once, before anything is asked over them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from unified_llm import _json
from unified_llm._optional import installed
from unified_llm.codecs.lmstudio_encode import fits_websocket
from unified_llm.codecs.lmstudio_errors import UnknownShapeError
from unified_llm.drivers.http import HTTPDriver
from unified_llm.drivers.lmstudio_sdk import LinkRefusedError, TokenRefusedError
from unified_llm.drivers.proxies import find_proxy
from unified_llm.drivers.urls import Address
from unified_llm.errors import (
    APIConnectionError,
    ConfigurationError,
    MissingDependencyError,
    UnifiedLLMError,
    UnsupportedOptionError,
)
from unified_llm.requests import ChatRequest
from unified_llm.wire import WireCall, WireReply

__all__ = ["UNUSABLE", "Transport", "WebsocketChoice"]

Transport: TypeAlias = Literal["auto", "sdk", "http", "httpx", "aiohttp"]
UNUSABLE = (LinkRefusedError, TokenRefusedError, MissingDependencyError, ConfigurationError, UnknownShapeError)
"""What shows that the websockets cannot be used: before anything was asked of them, or by an answer of another form."""

_log = logging.getLogger("unified_llm")
_GREETING = WireCall("lmstudio-greeting", method="GET", timeout=2.0)
_PROVIDER = "lmstudio"


class WebsocketChoice:
    """Decides for one address. `native` reaches LM Studio's own HTTP API, `http_only` are settings of HTTP alone.

    Raises:
        ConfigurationError: `transport` is none, or "sdk" where the SDK cannot go.
    """

    def __init__(
        self,
        transport: Transport,
        address: Address,
        native: HTTPDriver,
        http_only: Mapping[str, Any],
    ) -> None:
        if transport not in ("auto", "sdk", "http", "httpx", "aiohttp"):
            raise ConfigurationError(f"unknown transport {transport!r}", hint="use 'auto', 'sdk', 'http' or 'aiohttp'")
        self._forced = transport == "sdk"
        self._auto = transport == "auto"
        self._native = native
        self.decided: bool | None = None  # None until it is known
        obstacle = _obstacle(address, http_only)
        if self._forced and obstacle is not None:
            raise ConfigurationError(f"transport='sdk' cannot be used: {obstacle}", hint="use transport='http'")
        if not self._auto:
            self.decided = self._forced
        elif obstacle is not None:
            self._decide(False, obstacle)

    @property
    def forced(self) -> bool:
        """Whether the caller allows nothing but the websockets."""
        return self._forced

    def usable(self) -> bool:
        """Whether the websockets can be used, as far as can be known before they are."""
        if self.decided is None and self._installed():
            try:
                return self._greeted(self._native.send(_GREETING))
            except UnifiedLLMError as exc:
                return self._no_greeting(exc)
        return bool(self.decided)

    async def usable_async(self) -> bool:
        """`usable`, without blocking the event loop."""
        if self.decided is None and self._installed():
            try:
                return self._greeted(await self._native.send_async(_GREETING))
            except UnifiedLLMError as exc:
                return self._no_greeting(exc)
        return bool(self.decided)

    def carry(self, request: ChatRequest, usable: bool) -> bool:
        """Whether a chat takes the websockets."""
        if not usable or self._forced or fits_websocket(request, _PROVIDER):
            return usable
        _log.debug("this chat goes over HTTP: it asks for what only the HTTP API has")
        return False

    def fell_back(self, exc: UnifiedLLMError) -> bool:
        """Whether a failure of the kind `UNUSABLE` is mended by taking HTTP, from now on."""
        return self._auto and not self._decide(False, exc.message)

    def need(self, what: str) -> None:
        """Raise `UnsupportedOptionError` where the websockets cannot be used."""
        self._need(self.usable(), what)

    async def need_async(self, what: str) -> None:
        """`need`, without blocking the event loop."""
        self._need(await self.usable_async(), what)

    def _need(self, usable: bool, what: str) -> None:
        if not usable:
            raise UnsupportedOptionError(
                f"LM Studio's HTTP API has no {what}",
                provider=_PROVIDER,
                hint='pip install "unified-llm[lmstudio]" and talk to LM Studio directly, without TLS or a proxy',
            )

    def _installed(self) -> bool:
        return installed("lmstudio") or self._decide(False, "the package lmstudio is not installed")

    def _greeted(self, reply: WireReply) -> bool:
        """LM Studio says who it is; what sits in front of it, or speaks like it, hardly does."""
        try:
            value = _json.loads(reply.body)
        except ValueError:
            value = None
        if reply.status == 200 and isinstance(value, dict) and value.get("lmstudio") is True:
            return self._decide(True, "LM Studio answers")
        return self._decide(False, f"no greeting of LM Studio (HTTP {reply.status})")

    def _no_greeting(self, exc: UnifiedLLMError) -> bool:
        if isinstance(exc, APIConnectionError):  # it may be started later: the call itself says what is wrong
            return False
        return self._decide(False, exc.message)

    def _decide(self, websockets: bool, why: str) -> bool:
        self.decided = websockets
        _log.debug("chats go over %s: %s", "the SDK's websockets" if websockets else "HTTP", why)
        return websockets


def _obstacle(address: Address, http_only: Mapping[str, Any]) -> str | None:
    """Why websockets cannot be used at an address, or None."""
    if address.tls:
        return "the SDK speaks no TLS"
    if address.path not in ("", "/v1"):
        return f"the SDK knows no path such as {address.path}"
    given = [name for name, value in http_only.items() if value and value != "auto"]
    if given:
        return f"{given[0]} is a setting of HTTP"
    if find_proxy(address, None) is not None or _proxied_everywhere(address):
        return "the SDK knows no proxies"
    return None


def _proxied_everywhere(address: Address) -> bool:
    """Whether the SDK's HTTP client would go through ALL_PROXY, which it takes for loopback too, NO_PROXY excepted."""
    if not any(name.lower() == "all_proxy" and value for name, value in os.environ.items()):
        return False
    from urllib.request import proxy_bypass  # 20 ms to import, seldom needed

    return not proxy_bypass(address.label)
