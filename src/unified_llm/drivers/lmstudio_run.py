"""One order being carried out: the model loaded, files uploaded, the channel opened, stopped when nobody listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from unified_llm import _json
from unified_llm.codecs.lmstudio_encode import RPC
from unified_llm.codecs.lmstudio_errors import GONE_MODEL, error_code
from unified_llm.drivers.lmstudio_channel import Channel, RefusalError
from unified_llm.drivers.lmstudio_sdk import CONNECT_SECONDS, LinkRefusedError, NotUnderstoodError, SocketLostError
from unified_llm.drivers.lmstudio_session import Session, line, lost, soon
from unified_llm.errors import UnifiedLLMError, redact
from unified_llm.wire import WireCall

__all__ = ["Run"]


class Run:
    """Carries out `call` in the session's event loop. `deliver` gets lines of JSON, then None or an exception.

    What fails before the server said anything is tried once more where that can help: on a kept websocket that turns
    out to be dead, and for a kept model that was unloaded meanwhile. Later failures are final.
    """

    def __init__(
        self, session: Session, call: WireCall, deliver: Callable[[Any], None], connect: float = CONNECT_SECONDS
    ) -> None:
        self._session = session
        self._connect = connect
        self._call = call
        self._order: Mapping[str, Any] = _json.loads(call.body or b"{}")
        self._deliver = deliver
        self._channel: Channel | None = None
        self._second: asyncio.Task[None] | None = None
        self._repeats = 1  # how often what failed may still be tried again
        self._kept_model = self._kept_socket = False
        self._stopped = False

    async def start(self) -> None:
        """Begin; returns when the server has the request. Failures are delivered, not raised."""
        try:
            await self._begin()
        except SocketLostError:
            await self._once_more()
        except RefusalError as exc:
            self._refused(exc)
        except UnifiedLLMError as exc:
            self._deliver(exc)
        except Exception as exc:  # noqa: BLE001  # nothing was asked yet; the caller must not wait for ever
            self._deliver(_misunderstood(exc))

    def stop(self) -> asyncio.Task[None]:
        """Stop the server, unless it is done. Cancelling whoever waits for the task does not stop it."""
        self._stopped = True
        if self._second is not None:
            self._second.cancel()
        return self._session.farewell(self._cancel())

    async def _cancel(self) -> None:
        if self._channel is not None:
            await self._channel.cancel()

    # -- steps ------------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        namespace = self._call.path.partition("/")[0]
        # First of all: a new websocket forgets what the server of the old one knew.
        self._kept_socket = not await self._session.connect(namespace, self._connect)
        if self._call.method == RPC:
            result = await self._remote_call(namespace)
            self._deliver(line({"result": result}))
            self._deliver(None)
            return
        path, model = self._call.path, self._order.get("model")
        if path.endswith("/getOrLoad"):
            await self._load_only(namespace)
            return
        self._kept_model = model is not None and self._session.knows(namespace, model)
        parameter = await self._parameter(namespace)
        self._channel = await self._session.channel(path, parameter, self._on_message)
        if self._stopped:
            await self._channel.cancel()

    async def _remote_call(self, namespace: str) -> Any:
        model = self._order.get("model")
        known = model is not None and self._session.knows(namespace, model)
        try:
            return await self._session.call(self._call.path, await self._parameter(namespace))
        except RefusalError as exc:
            if not known or error_code(exc.error) not in GONE_MODEL:
                raise
        self._session.forget(str(model))
        return await self._session.call(self._call.path, await self._parameter(namespace))

    async def _load_only(self, namespace: str) -> None:
        order = self._order
        info = await self._session.load(
            namespace,
            order["model"],
            lambda message: self._deliver(line(message)),
            ttl=order.get("ttl"),
            config=order.get("config"),
        )
        self._session.forget(order["model"])
        self._deliver(line({"result": info}))
        self._deliver(None)

    async def _parameter(self, namespace: str) -> Any:
        order = self._order
        parameter = order["parameter"]
        if order.get("files"):
            parts = [await self._session.upload(f) for f in order["files"]]
            parameter = {**parameter, "history": _with_files(parameter["history"], parts)}
        if "model" in order:
            specifier = await self._session.specifier(
                namespace, order["model"], lambda message: self._deliver(line(message)), ttl=order.get("ttl")
            )
            parameter = {**(parameter or {}), order["specifier"]: specifier}
        return parameter

    # -- what comes -------------------------------------------------------------------------------------------------

    def _on_message(self, item: Any) -> None:
        if isinstance(item, Mapping):
            self._kept_model = self._kept_socket = False  # it began
            self._deliver(line(item))
        elif item is None:
            self._deliver(None)
        elif self._repeats and self._helps(item):
            self._second = soon(self._once_more())
        elif isinstance(item, RefusalError):
            self._refused(item)
        elif isinstance(item, NotUnderstoodError):
            self._deliver(_misunderstood(item))
        else:
            self._deliver(lost())

    def _helps(self, item: Any) -> bool:
        """Whether it helps to begin again, after `item` came instead of an answer."""
        if isinstance(item, RefusalError):
            return self._kept_model and error_code(item.error) in GONE_MODEL
        return self._kept_socket and isinstance(item, SocketLostError)

    async def _once_more(self) -> None:
        if not self._repeats:
            self._deliver(lost())
            return
        self._repeats -= 1
        if "model" in self._order:
            self._session.forget(self._order["model"])
        await self.start()

    def _refused(self, refusal: RefusalError) -> None:
        self._deliver(line({"type": "error", "error": refusal.error}))
        self._deliver(None)


def _misunderstood(exc: Exception) -> LinkRefusedError:
    """The error for a server and a client that do not speak the same language; nothing was carried out."""
    what = f": {exc}" if isinstance(exc, NotUnderstoodError) else f" ({type(exc).__name__})"
    error = LinkRefusedError(
        redact(f"LM Studio's websocket API and this library do not understand each other{what}"),
        hint="LM Studio may be older or newer than the package lmstudio: transport='http' works meanwhile",
        retryable=False,
    )
    error.__cause__ = exc
    return error


def _with_files(history: Mapping[str, Any], parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The history with uploaded files in their places."""

    def filled(content: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [parts[part["upload"]] if "upload" in part else part for part in content]

    return {**history, "messages": [{**m, "content": filled(m["content"])} for m in history["messages"]]}
