"""One exchange over a websocket: a channel with many messages, or a remote call with one result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from unified_llm.drivers.lmstudio_sdk import NotUnderstoodError, Socket, SocketLostError

__all__ = ["LAST", "Call", "Channel", "Message", "RefusalError"]

Message: TypeAlias = Mapping[str, Any]
LAST = frozenset({"success", "loadSuccess", "alreadyLoaded"})
"""Kinds of messages after which nothing follows on a channel."""


class RefusalError(Exception):
    """LM Studio answered with `error`, as it sent it. Stays inside the driver."""

    def __init__(self, error: Any) -> None:
        self.error = error


class Channel:
    """One channel. `deliver` gets its messages, then None; or the exception that ended it.

    It is called in the session's event loop and must not block.
    """

    __slots__ = ("_began", "_deliver", "_given_up", "_number", "_open", "_socket")

    def __init__(self, socket: Socket, deliver: Callable[[Any], None]) -> None:
        self._socket = socket
        self._deliver = deliver
        self._number = socket.begin_channel(self)
        self._open = True
        self._began = self._given_up = False

    async def start(self, endpoint: str, parameter: Message) -> None:
        """Ask the server. Raises `SocketLostError`."""
        message = {
            "type": "channelCreate",
            "endpoint": endpoint,
            "channelId": self._number,
            "creationParameter": parameter,
        }
        try:
            await self._socket.send(message)
        except SocketLostError:
            if self._open:  # else it was told already
                self._end()
                raise

    async def put(self, message: Message | None) -> None:
        """See `Receiver`."""
        self._began = True
        if message is None:
            self._end(SocketLostError())
            return
        kind = message.get("type")
        if kind == "channelSend":
            content = message.get("message")
            if not self._given_up:
                self._deliver(content)
            if isinstance(content, Mapping) and content.get("type") in LAST:
                self._end(None)
        elif kind == "channelClose":
            self._end(None)
        elif kind == "channelError":
            self._end(RefusalError(message.get("error")))

    def not_understood(self, warning: str) -> None:
        """See `Receiver`. Nobody says which message it was: one that has an answer it was not."""
        if not self._began:
            self._end(NotUnderstoodError(warning))

    def _end(self, *last: Any) -> None:
        """Give the number back, and tell how it ended."""
        if not self._open:
            return
        self._open = False
        self._socket.end_channel(self._number, self)
        if not self._given_up:
            for item in last:
                self._deliver(item)

    async def cancel(self) -> None:
        """Stop the server, unless the channel ended already. What still comes is dropped."""
        if not self._open or self._given_up:
            return
        self._given_up = True
        try:
            await self._socket.send(
                {"type": "channelSend", "channelId": self._number, "message": {"type": "cancel"}},
            )
        except SocketLostError:
            self._end()


class Call:
    """One remote call: its result as a future."""

    __slots__ = ("result",)

    def __init__(self) -> None:
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def put(self, message: Message | None) -> None:
        """See `Receiver`."""
        if self.result.done():
            return
        if message is None:
            self.result.set_exception(SocketLostError())
        elif message.get("type") == "rpcError":
            self.result.set_exception(RefusalError(message.get("error")))
        else:
            self.result.set_result(message.get("result"))

    def not_understood(self, warning: str) -> None:
        """See `Receiver`."""
        if not self.result.done():
            self.result.set_exception(NotUnderstoodError(warning))
