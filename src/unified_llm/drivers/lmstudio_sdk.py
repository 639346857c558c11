"""Everything this library knows of the inside of the `lmstudio` package, behind a check that it still is so.

The SDK's public classes cannot send tools given as JSON Schema, never reopen a websocket that was closed, go on
generating when a stream is abandoned, and fail on values they do not know. Its websocket layer does none of that: it
connects, authenticates and sorts the messages by call and channel. That layer is what is used here.

Known to fit lmstudio 1.5.0 and 1.6.0b1.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, Protocol
from uuid import uuid4

from unified_llm import _json
from unified_llm._optional import require
from unified_llm.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    UnifiedLLMError,
    redact,
)

__all__ = [
    "CONNECT_SECONDS",
    "LinkRefusedError",
    "NotUnderstoodError",
    "Receiver",
    "Socket",
    "SocketLostError",
    "TokenRefusedError",
    "auth_message",
    "connect_timed_out",
    "load_sdk",
]

CONNECT_SECONDS = 10.0
_TOKEN = re.compile(r"sk-lm-([A-Za-z0-9]{8}):([A-Za-z0-9]{20})")


class LinkRefusedError(APIConnectionError):
    """The host took the connection and refused to make it a websocket, or there was none; nothing was asked yet."""


class TokenRefusedError(AuthenticationError):
    """The websocket API refused the token, or wants one."""


class SocketLostError(Exception):
    """The websocket ended. Stays inside the driver."""


class NotUnderstoodError(Exception):
    """LM Studio did not understand a message, and said so instead of answering. Stays inside the driver."""


class Receiver(Protocol):
    """Who gets the messages of a call or a channel."""

    async def put(self, message: Mapping[str, Any] | None) -> None:
        """Take one message; None means that the websocket ended."""
        ...

    def not_understood(self, warning: str) -> None:
        """Take notice that the server did not understand some message: perhaps the one that wants this answer."""
        ...


class _Ear:
    """Stands in for the SDK's logger, the only place where a warning of the server shows."""

    def __init__(self, logger: Any, heard: Callable[[str], None]) -> None:
        self._logger = logger
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)

    def error(self, event: str, **details: Any) -> None:
        """What the SDK calls for it."""
        self._logger.error(event, **details)
        if "warning" in details:
            self._heard(str(details["warning"]))


def connect_timed_out(where: str, seconds: float | None = None) -> APITimeoutError:
    """The error for a connection that did not come about."""
    within = f" within {seconds:g} s" if seconds is not None else ""
    return APITimeoutError(
        f"no connection to LM Studio at {where}{within} (connect timeout)",
        hint="check the address and the network; a firewall that drops packets looks like this",
    )


def auth_message(token: str | None) -> dict[str, Any]:
    """The first message on every websocket. A token in LM Studio's form names the client, everyone else is a guest."""
    match = _TOKEN.fullmatch(token.strip()) if token else None
    identifier, passkey = match.groups() if match else (f"guest:{uuid4()}", str(uuid4()))
    return {"authVersion": 1, "clientIdentifier": identifier, "clientPasskey": passkey}


def load_sdk() -> ModuleType:
    """The SDK's websocket module, checked.

    Raises:
        MissingDependencyError: the package is not installed.
        ConfigurationError: it is another version than those that are understood here.
    """
    sdk = require("lmstudio._ws_impl", extra="lmstudio", purpose="transport='sdk'")
    fault = _fault(sdk)
    if fault is not None:
        raise ConfigurationError(
            f"the installed lmstudio package works in another way than expected: {fault}",
            hint='pip install "lmstudio==1.5.0", or use transport="http"',
        )
    # Without a handler of its own, Python would print the SDK's complaints on stderr; the errors say it all.
    logger = logging.getLogger("AsyncWebsocketHandler")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return sdk


class _Nobody:
    async def put(self, message: Mapping[str, Any] | None) -> None:
        """Nothing is expected."""

    def not_understood(self, warning: str) -> None:
        """Nor this."""


def _fault(sdk: ModuleType) -> str | None:
    """What is not as expected, tried out without any I/O; None when all is well."""
    try:
        manager = sdk.AsyncTaskManager()
        handler = sdk.AsyncWebsocketHandler(manager, "ws://127.0.0.1/llm", {}, None)
        mux, nobody = handler._mux, _Nobody()
        channel, call = mux.acquire_channel_id(nobody), mux.acquire_call_id(nobody)
        known = mux.map_rx_message({"channelId": channel}) is nobody and mux.map_rx_message({"callId": call}) is nobody
        known = known and issubclass(sdk.HTTPXWSException, Exception)
        known = known and list(mux.all_queues()) == [nobody, nobody] and mux._logger is not None
        mux.release_channel_id(channel, nobody)
        mux.release_call_id(call, nobody)
        state = (handler._ws, handler._connection_failure, handler._auth_failure)
        own = (handler.connect, handler.disconnect, handler.send_json, manager.__aenter__, manager.__aexit__)
        coroutines = (*own, handler._process_next_message, handler._enqueue_message)
    except (AttributeError, TypeError, ValueError) as exc:
        return redact(f"{type(exc).__name__}: {exc}")
    if not known or state != (None, None, None):
        return "messages are sorted differently"
    if not all(map(inspect.iscoroutinefunction, coroutines)):
        return "its methods are no coroutines"
    return None


@lru_cache(maxsize=1)
def _handler_class(sdk: ModuleType) -> Any:
    """The SDK's handler with a shorter way for each message: its own takes five calls and a timer that never rings."""

    class Handler(sdk.AsyncWebsocketHandler):  # type: ignore[misc, name-defined]  # known at run time only
        async def _process_next_message(self) -> bool:
            if self._ws is None:
                return False
            message = _json.loads(await _next_text(self._ws, sdk.HTTPXWSException))
            if message is None:
                return bool(await self._enqueue_message(None))
            receiver = self._mux.map_rx_message(message)
            if receiver is None:
                return False
            await receiver.put(message)
            return True

    return Handler


async def _next_text(ws: Any, ended: type[Exception]) -> str:
    """The next text that comes; raises `ended` when nothing more does. What httpx-ws holds ready is taken at once."""
    events = getattr(ws, "_receive_event", None)
    if events is None:  # another version than 0.9
        return str(await ws.receive_text())
    event = await events.receive()
    if isinstance(data := getattr(event, "data", None), str):
        return data
    raise event if isinstance(event, ended) else ended(f"the websocket ended: {type(event).__name__}")


class Socket:
    """One websocket: a namespace such as ``llm``, of one host, in one event loop.

    Several tasks may use it at once.
    """

    def __init__(self, sdk: ModuleType, manager: Any, url: str, auth: Mapping[str, Any]) -> None:
        self._handler = _handler_class(sdk)(manager, url, dict(auth), None)
        self._mux = self._handler._mux
        self._mux._logger = _Ear(self._mux._logger, self._warned)
        self._writing = asyncio.Lock()  # the network stream refuses two writers at once
        self._url = url

    @property
    def alive(self) -> bool:
        """Whether it is connected, as far as is known."""
        return self._handler._ws is not None

    def _warned(self, warning: str) -> None:
        for receiver in list(self._mux.all_queues()):
            receiver.not_understood(warning)

    async def connect(self) -> None:
        """Connect and authenticate.

        Raises:
            APIConnectionError: nothing listens there.
            LinkRefusedError: what listens does not speak this protocol.
            TokenRefusedError: the token is refused.
        """
        await self._handler.connect()
        handler = self._handler
        if handler._auth_failure is not None:
            raise TokenRefusedError(
                redact(f"LM Studio refused the client: {handler._auth_failure}"),
                hint="set LMSTUDIO_API_KEY to a token of LM Studio's settings (sk-lm-...:...), or pass api_key=",
            )
        if handler._ws is None:
            raise self._not_connected(handler._connection_failure)

    def _not_connected(self, failure: BaseException | None) -> UnifiedLLMError:
        kind = type(failure).__name__
        if kind == "ConnectTimeout":
            return connect_timed_out(self._url)
        if kind == "WebSocketUpgradeError":  # of httpx-ws: an answer, and it was no
            return LinkRefusedError(
                f"{self._url} is no websocket API of LM Studio",
                hint="does base_url point to LM Studio itself? transport='http' works through proxies too",
                retryable=False,
            )
        reason = redact(str(failure)) or kind if failure is not None else "closed before the greeting was over"
        return APIConnectionError(
            f"cannot connect to {self._url}: {reason}",
            hint="is LM Studio running, with its server started? (lms server start)",
        )

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send one message. Raises `SocketLostError`."""
        if not self.alive:
            raise SocketLostError
        try:
            async with self._writing:
                await self._handler.send_json(message)
        except asyncio.CancelledError:
            raise
        except Exception as exc:  # of the SDK, of httpx-ws and of anyio: whichever noticed first
            raise SocketLostError from exc

    def begin_channel(self, receiver: Receiver) -> int:
        """A new channel's number; its messages go to `receiver`."""
        number: int = self._mux.acquire_channel_id(receiver)
        return number

    def end_channel(self, number: int, receiver: Receiver) -> None:
        """Give the number back."""
        self._mux.release_channel_id(number, receiver)

    def begin_call(self, receiver: Receiver) -> int:
        """A new remote call's number; its result goes to `receiver`."""
        number: int = self._mux.acquire_call_id(receiver)
        return number

    def end_call(self, number: int, receiver: Receiver) -> None:
        """Give the number back."""
        self._mux.release_call_id(number, receiver)

    async def close(self) -> None:
        """Disconnect."""
        try:
            await self._handler.disconnect()
        except asyncio.CancelledError:
            raise
        except Exception as exc:  # noqa: BLE001  # whatever it is, the connection is gone
            logging.getLogger("unified_llm.drivers").debug("while closing %s: %s", self._url, type(exc).__name__)
