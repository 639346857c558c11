"""The websockets of one event loop: opened when needed, opened again when they ended, models loaded on first use."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from types import ModuleType
from typing import Any

from unified_llm import _json
from unified_llm.drivers.lmstudio_channel import LAST, Call, Channel, Message
from unified_llm.drivers.lmstudio_sdk import Socket, SocketLostError, connect_timed_out
from unified_llm.errors import StreamInterruptedError

__all__ = ["DEFAULT_TTL", "Session", "line", "lost", "soon"]

DEFAULT_TTL = 3600
"""Seconds after which LM Studio unloads an idle model that was loaded for a call; the SDK's default."""


class Session:
    """See the module docstring. Belongs to the event loop in which it is first used."""

    def __init__(self, sdk: ModuleType, netloc: str, auth: Message, ttl: float = DEFAULT_TTL) -> None:
        self._sdk = sdk
        self._netloc = netloc
        self._auth = auth
        self._ttl = ttl
        self._manager: Any = None
        self._sockets: dict[str, Socket] = {}
        self._opening = asyncio.Lock()
        self._models: dict[tuple[str, str], str] = {}
        self._files: dict[bytes, Message] = {}
        self._farewells: set[asyncio.Task[None]] = set()

    # -- sockets ----------------------------------------------------------------------------------------------------

    async def socket(self, namespace: str) -> tuple[Socket, bool]:
        """The websocket of `namespace`, and whether it was opened just now. Raises as `Socket.connect` does."""
        known = self._sockets.get(namespace)
        if known is not None and known.alive:
            return known, False
        async with self._opening:
            known = self._sockets.get(namespace)
            if known is not None and known.alive:
                return known, False
            if known is not None:  # the server restarted, or the machine slept: nothing it knew of us is left
                self._models.clear()
                self._files.clear()
            if self._manager is None or not self._manager.active:
                self._manager = self._sdk.AsyncTaskManager()
                await self._manager.__aenter__()
            opened = Socket(self._sdk, self._manager, f"ws://{self._netloc}/{namespace}", self._auth)
            await opened.connect()
            self._sockets[namespace] = opened
            return opened, True

    async def connect(self, namespace: str, seconds: float) -> bool:
        """See that there is a websocket of `namespace`; whether it was opened just now.

        Raises:
            APITimeoutError: that took longer than `seconds`.
        """
        known = self._sockets.get(namespace)
        if known is not None and known.alive:
            return False
        try:
            async with asyncio.timeout(seconds):
                return (await self.socket(namespace))[1]
        except TimeoutError as exc:
            raise connect_timed_out(self._netloc, seconds) from exc

    def farewell(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work`, which stops something at the server, in a task of its own; closing waits for it."""
        task = soon(work)
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)
        return task

    async def close(self) -> None:
        """Close every websocket. The session can be used again."""
        if self._farewells:
            await asyncio.wait(self._farewells, timeout=1)
        sockets, self._sockets = self._sockets, {}
        manager, self._manager = self._manager, None
        self._models.clear()
        self._files.clear()
        for socket in sockets.values():
            if socket.alive:
                await socket.close()
        if manager is not None:
            await manager.__aexit__(None, None, None)

    # -- calls and channels -----------------------------------------------------------------------------------------

    async def call(self, path: str, parameter: Message | None) -> Any:
        """The result of the remote call ``namespace/endpoint``. Raises `RefusalError`, `SocketLostError`."""
        namespace, _, endpoint = path.partition("/")
        socket, _ = await self.socket(namespace)
        call = Call()
        number = socket.begin_call(call)
        message: dict[str, Any] = {"type": "rpcCall", "endpoint": endpoint, "callId": number}
        if parameter is not None:
            message["parameter"] = parameter
        try:
            await socket.send(message)
            return await call.result
        finally:
            socket.end_call(number, call)

    async def channel(self, path: str, parameter: Message, deliver: Callable[[Any], None]) -> Channel:
        """A started channel. Raises `SocketLostError`."""
        namespace, _, endpoint = path.partition("/")
        socket, _ = await self.socket(namespace)
        channel = Channel(socket, deliver)
        try:
            await channel.start(endpoint, parameter)
        except asyncio.CancelledError:  # the server may have read it already
            self.farewell(channel.cancel())
            raise
        return channel

    # -- models and files -------------------------------------------------------------------------------------------

    def knows(self, namespace: str, model: str) -> bool:
        """Whether `model` was loaded by, or for, an earlier call."""
        return (namespace, model) in self._models

    def forget(self, model: str) -> None:
        """Ask for `model` anew next time."""
        for key in [k for k, identifier in self._models.items() if model in (k[1], identifier)]:
            del self._models[key]

    async def specifier(
        self,
        namespace: str,
        model: str,
        on_message: Callable[[Any], None],
        *,
        ttl: float | None = None,
        config: Message | None = None,
    ) -> Message:
        """How to name `model` in a call, loaded first when it is not. `on_message` gets the messages of loading it.

        `ttl` is in seconds. Raises `RefusalError`, `SocketLostError`.
        """
        identifier = self._models.get((namespace, model))
        if identifier is None:
            info = await self.load(namespace, model, on_message, ttl=ttl, config=config)
            identifier = str(info.get("identifier") or model)
            self._models[namespace, model] = identifier
        return {"type": "query", "query": {"identifier": identifier}}

    async def load(
        self,
        namespace: str,
        model: str,
        on_message: Callable[[Any], None],
        *,
        ttl: float | None = None,
        config: Message | None = None,
    ) -> Message:
        """What the server says of `model`, once it is in memory. Cancelling it stops the loading."""
        messages: asyncio.Queue[Any] = asyncio.Queue()
        parameter = {
            "identifier": model,
            "loadConfigStack": config or {"layers": []},
            "loadTtlMs": max(1, round(1000 * (self._ttl if ttl is None else ttl))),
        }
        channel = await self.channel(f"{namespace}/getOrLoad", parameter, messages.put_nowait)
        try:
            while isinstance(message := await messages.get(), Mapping):
                if message.get("type") in LAST:
                    info: Message = message.get("info") or {}
                    return info
                on_message(message)
        finally:
            await channel.cancel()
        raise message if isinstance(message, Exception) else SocketLostError

    async def upload(self, file: Message) -> Message:
        """The part of a message that stands for `file`. Known files are not sent again."""
        digest = hashlib.sha256(file["contentBase64"].encode()).digest()
        known = self._files.get(digest)
        if known is None:
            handle = await self.call("files/uploadFileBase64", file)
            known = self._files[digest] = {
                "type": "file",
                "name": file["name"],
                "identifier": handle["identifier"],
                "sizeBytes": handle["sizeBytes"],
                "fileType": handle["fileType"],
            }
        return known


_tasks: set[asyncio.Task[None]] = set()  # a loop alone does not keep its tasks


def soon(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run `work` in a task of its own: cancelling whoever wanted it does not stop it."""
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


def lost() -> StreamInterruptedError:
    """The error for a websocket that ended before the answer did."""
    return StreamInterruptedError(
        "the connection to LM Studio ended before its answer",
        hint="LM Studio may have been closed or restarted, or crashed: see its log, and ask again",
    )


def line(message: Any) -> bytes:
    """A message as a line of JSON."""
    return _json.dumps(message) + b"\n"
