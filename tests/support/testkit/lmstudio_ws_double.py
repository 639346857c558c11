"""A strict loopback LM Studio: its websocket API here, its HTTP API by an `OpenAIDouble`, both on one port.

    with LMStudioDouble() as studio:                 # leaving the block fails the test when there were violations
        studio.script(Say("Hello!"), Say(calls=[Call("add", {"a": 1})]), Refuse("generic.noModelMatchingQuery"))
        UnifiedLLM(provider="lmstudio", base_url=studio.url, model="tiny").chat("Hi")
        assert studio.predictions[0].parameter["history"]["messages"] == [...]

Every frame of a client, and every message the double sends, is checked against the schemas of the `lmstudio` package;
what the genuine server would answer with a mere warning is a violation. Without a script it echoes the last text.
Models named in `models` are on disk; `loaded` ones are in memory.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import socket
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, Request, TextMessage

from testkit.lmstudio_rules import inbound_faults, outbound_faults
from testkit.openai_answers import Call
from testkit.openai_double import OpenAIDouble

__all__ = ["Call", "LMStudioDouble", "Prediction", "Refuse", "Say"]


@dataclass(frozen=True)
class Say:
    """An answer. Texts are given in pieces of `size` characters; `raw` messages come first, as they are.

    `then`: after `after` pieces the double hangs until it is told to stop, or drops the connection.
    """

    text: str = ""
    reasoning: str = ""
    calls: Sequence[Call] = ()
    stop: str = "eosFound"
    raw: Sequence[Mapping[str, Any]] = ()
    size: int = 6
    then: Literal["end", "hang", "drop", "close"] = "end"
    after: int = 2


@dataclass(frozen=True)
class Refuse:
    """An error instead of an answer; `when`: of the channel, or a message on it."""

    code: str | None = None
    title: str = "scripted refusal"
    details: Mapping[str, Any] = field(default_factory=dict)
    when: Literal["channel", "message"] = "channel"

    def error(self) -> dict[str, Any]:
        shown = {"displayData": {"code": self.code, **self.details}} if self.code else {}
        return {"title": self.title, **shown}


Item: TypeAlias = Say | Refuse


@dataclass
class Prediction:
    """A prediction as it was asked for, and how it ended."""

    parameter: Mapping[str, Any]
    cancelled: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)

    @property
    def config(self) -> dict[str, Any]:
        """The fields of the configuration by key."""
        layers = self.parameter["predictionConfigStack"]["layers"]
        return {f["key"]: f.get("value") for layer in layers for f in layer["config"]["fields"]}

    @property
    def messages(self) -> list[Any]:
        return list(self.parameter["history"]["messages"])


class LMStudioDouble:
    """See the module docstring. `tokens` are the API tokens it takes; none means that everyone may come."""

    def __init__(
        self,
        *,
        models: Sequence[str] = ("tiny", "other"),
        loaded: Sequence[str] = ("tiny",),
        tokens: Sequence[str] = (),
        port: int = 0,
        websockets: bool = True,
        model_extras: Mapping[str, Any] | None = None,
    ) -> None:
        self.models = list(models)
        self.loaded = list(loaded)
        self.violations: list[str] = []
        self.predictions: list[Prediction] = []
        self.calls: list[tuple[str, Any]] = []
        self.identities: list[Mapping[str, Any]] = []
        self.connections: list[str] = []
        self.open_connections = 0
        self.asked = threading.Condition()
        self.load_steps: Sequence[float] = (0.0, 0.5, 1.0)
        self.load_hangs = False
        self.unknown_endpoints: list[str] = []  # as of an older server
        self.aliases: dict[str, str] = {}  # what a model may be called -> the id of the instance it is loaded as
        self.keys: dict[str, str] = {}  # the id of an instance -> its model, where these differ
        self.results: dict[str, Any] = {}  # path of a remote call -> its result, whatever is asked
        self.http = OpenAIDouble("lmstudio", api_key=tokens[0] if tokens else None)
        self._extras = model_extras or {}
        self._tokens = tokens
        self._websockets = websockets
        self._script: deque[Item] = deque()
        # With the protocol named, asyncio switches Nagle's algorithm off; else every answer takes 40 ms more.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- running ----------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base URL of the OpenAI dialect."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def host(self) -> str:
        """``host:port``, as the SDK wants it."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.http.start()
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        self.http.__exit__(kind, value, traceback)
        if value is None:
            assert not self.violations, "frames LM Studio would not take:\n" + "\n".join(self.violations)

    async def _main(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._connection, sock=self._socket)
        ready.set()
        await self._over.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def script(self, *items: Item) -> Self:
        """Add answers for predictions, used in order."""
        self._script.extend(items)
        return self

    def wait_predictions(self, count: int, timeout: float = 10) -> list[Prediction]:
        """The predictions, once there are `count`."""
        with self.asked:
            assert self.asked.wait_for(lambda: len(self.predictions) >= count, timeout), "no prediction came"
        return self.predictions

    def note(self, path: str, parameter: Any) -> None:
        """Remember a call."""
        with self.asked:
            self.calls.append((path, parameter))
            self.asked.notify_all()

    def wait_call(self, path: str, timeout: float = 10) -> bool:
        """Whether `path` is called within `timeout` seconds."""
        with self.asked:
            return self.asked.wait_for(lambda: path in self.paths(), timeout)

    def wait_alone(self, timeout: float = 5) -> bool:
        """Whether every websocket is closed within `timeout` seconds."""
        with self.asked:
            return self.asked.wait_for(lambda: self.open_connections == 0, timeout)

    def paths(self) -> list[str]:
        """What was called, in order."""
        return [path for path, _ in self.calls]

    def drop_connections(self) -> None:
        """End every websocket, as a restart does."""

        def drop() -> None:
            for task in list(self._tasks):
                task.cancel()

        assert self._loop is not None
        self._loop.call_soon_threadsafe(drop)

    # -- connections ------------------------------------------------------------------------------------------------

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ")[1].decode()
            if re.search(rb"(?i)\r\nupgrade: websocket", head):
                await self._websocket(target.strip("/"), head, reader, writer)
            elif target == "/lmstudio-greeting":
                writer.write(_http(b'{"lmstudio":true}'))
                await writer.drain()
            else:
                await self._relay(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if task.cancelling() else writer.close()

    async def _relay(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.http.root.removeprefix("http://").partition(":")
        upstream, out = await asyncio.open_connection(host, int(port))
        out.write(head)
        await asyncio.gather(_pump(reader, out), _pump(upstream, writer))

    async def _websocket(
        self, namespace: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        ws = WSConnection(ConnectionType.SERVER)
        ws.receive_data(head)
        next(iter(e for e in ws.events() if isinstance(e, Request)))
        if not self._websockets or namespace not in ("llm", "embedding", "system", "files", "repository"):
            writer.write(ws.send(RejectConnection(status_code=404)))
            await writer.drain()
            return
        writer.write(ws.send(AcceptConnection()))
        self.connections.append(namespace)
        self.open_connections += 1
        link = _Link(self, namespace, ws, writer)
        try:
            while data := await reader.read(65536):
                ws.receive_data(data)
                for event in ws.events():
                    if isinstance(event, TextMessage):
                        link.text += event.data
                        if event.message_finished:
                            text, link.text = link.text, ""
                            await link.receive(json.loads(text))
                    elif isinstance(event, BytesMessage):
                        self.violations.append("a binary message")
                    elif isinstance(event, Ping):
                        writer.write(ws.send(event.response()))
                    elif isinstance(event, CloseConnection):
                        with contextlib.suppress(Exception):
                            writer.write(ws.send(event.response()))
                        return
        finally:
            link.end()
            with self.asked:
                self.open_connections -= 1
                self.asked.notify_all()

    # -- what it knows ----------------------------------------------------------------------------------------------

    def next_item(self, parameter: Mapping[str, Any]) -> Item:
        if self._script:
            return self._script.popleft()
        texts = [p["text"] for m in parameter["history"]["messages"] for p in m["content"] if p["type"] == "text"]
        return Say(f"Echo: {texts[-1] if texts else ''}")

    def accepts(self, auth: Mapping[str, Any]) -> bool:
        return not self._tokens or f"sk-lm-{auth['clientIdentifier']}:{auth['clientPasskey']}" in self._tokens

    def info(self, model: str) -> dict[str, Any]:
        """What the server says of a model on disk."""
        return {
            "type": "llm",
            "modelKey": model,
            "format": "gguf",
            "displayName": model.title(),
            "path": f"models/{model}.gguf",
            "sizeBytes": 1000,
            "vision": False,
            "trainedForToolUse": True,
            "maxContextLength": 8192,
            **self._extras,
        }

    def instance(self, model: str) -> dict[str, Any]:
        """What it says of one in memory."""
        more = {"identifier": model, "instanceReference": f"ref-{model}", "contextLength": 4096}
        return self.info(self.keys.get(model, model)) | more


class _Link:
    """One websocket."""

    def __init__(self, double: LMStudioDouble, namespace: str, ws: WSConnection, writer: asyncio.StreamWriter) -> None:
        self.text = ""
        self._double = double
        self._namespace = namespace
        self._ws = ws
        self._writer = writer
        self._known = False
        self._channels: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._open: dict[int, Prediction] = {}

    def send(self, message: Mapping[str, Any]) -> None:
        self._writer.write(self._ws.send(TextMessage(json.dumps(message))))

    def end(self) -> None:
        for task, _ in self._channels.values():
            task.cancel()
        for prediction in self._open.values():
            if not prediction.finished.is_set():
                prediction.gone.set()

    async def receive(self, frame: Any) -> None:
        if not self._known:
            self._authenticate(frame)
            return
        faults = inbound_faults(self._namespace, frame)
        unknown = [e for e in self._double.unknown_endpoints if frame.get("endpoint") == e]
        if faults or unknown:  # the genuine server warns, and does not answer
            self._double.violations += faults
            faults += [f"unknown endpoint {e}" for e in unknown]
            self.send({"type": "communicationWarning", "warning": faults[0]})
            return
        if frame["type"] == "keepAlive":
            self.send({"type": "keepAliveAck"})
        elif frame["type"] == "channelSend":
            number = frame["channelId"]
            if number in self._channels:
                self._channels[number][1].set()
            if number in self._open:
                self._open[number].cancelled.set()
        elif frame["type"] == "rpcCall":
            self._rpc(frame)
        else:
            stop = asyncio.Event()
            task = asyncio.create_task(self._channel(frame, stop))
            self._channels[frame["channelId"]] = (task, stop)
        await self._writer.drain()

    def _authenticate(self, frame: Any) -> None:
        double = self._double
        fields = {"authVersion", "clientIdentifier", "clientPasskey"}
        if not isinstance(frame, dict) or frame.keys() != fields or frame["authVersion"] != 1:
            double.violations.append(f"no authentication: {frame!r}")
        double.identities.append(frame)
        if double.accepts(frame):
            self._known = True
            self.send({"success": True})
        else:
            self.send({"success": False, "error": "Invalid client credentials"})
            self._writer.close()

    # -- remote calls -----------------------------------------------------------------------------------------------

    def _rpc(self, frame: Mapping[str, Any]) -> None:
        path, parameter = f"{self._namespace}/{frame['endpoint']}", frame.get("parameter")
        self._double.note(path, parameter)
        try:
            scripted = path in self._double.results
            result = self._double.results[path] if scripted else self._result(path, parameter or {})
        except LookupError as exc:
            self.send({"type": "rpcError", "callId": frame["callId"], "error": _not_found(self._double, str(exc))})
            return
        reply: dict[str, Any] = {"type": "rpcResult", "callId": frame["callId"]}
        self.send(reply | {"result": result} if scripted or result is not None else reply)

    def _result(self, path: str, parameter: Mapping[str, Any]) -> Any:
        double = self._double
        match path:
            case "system/listDownloadedModels":
                return [double.info(m) for m in double.models]
            case "llm/listLoaded":
                return [double.instance(m) for m in double.loaded]
            case "embedding/listLoaded":
                return []
            case "files/uploadFileBase64":
                size = len(base64.b64decode(parameter["contentBase64"], validate=True))
                return {"identifier": f"file-{len(double.calls)}", "fileType": "image", "sizeBytes": size}
            case "llm/unloadModel" | "embedding/unloadModel":
                if parameter["identifier"] not in double.loaded:
                    raise LookupError(parameter["identifier"])
                double.loaded.remove(parameter["identifier"])
                return None
        model = self._model(parameter["specifier"])
        match path:
            case "llm/getModelInfo":
                return double.instance(model)
            case "llm/tokenize":
                return {"tokens": [len(w) for w in parameter["inputString"].split()]}
            case "llm/countTokens":
                return {"tokenCount": len(parameter["inputString"].split())}
        parts = [p for m in parameter["history"]["messages"] for p in m["content"]]
        tools = [t["function"]["name"] for t in parameter["opts"].get("toolDefinitions") or ()]
        return {"formatted": " ".join(["<s>", *tools, *(p["text"] for p in parts if p["type"] == "text")])}

    def _model(self, specifier: Mapping[str, Any]) -> str:
        model = str(specifier["query"]["identifier"])
        if model not in self._double.loaded:
            raise LookupError(model)
        return model

    # -- channels ---------------------------------------------------------------------------------------------------

    async def _channel(self, frame: Mapping[str, Any], stop: asyncio.Event) -> None:
        number, path = frame["channelId"], f"{self._namespace}/{frame['endpoint']}"
        parameter = frame["creationParameter"]
        self._double.note(path, parameter)
        try:
            if frame["endpoint"] == "getOrLoad":
                await self._load(number, path, parameter, stop)
            else:
                await self._predict(number, path, parameter, stop)
        except LookupError as exc:
            error = _not_found(self._double, str(exc))
            self.send({"type": "channelError", "channelId": number, "error": error})
        else:
            self.send({"type": "channelClose", "channelId": number})
        finally:
            self._channels.pop(number, None)

    async def _say(self, number: int, path: str, message: Mapping[str, Any]) -> None:
        self._double.violations += [f"the double itself: {f}" for f in outbound_faults(path, message)]
        self.send({"type": "channelSend", "channelId": number, "message": message})
        await self._writer.drain()
        await asyncio.sleep(0)

    async def _load(self, number: int, path: str, parameter: Mapping[str, Any], stop: asyncio.Event) -> None:
        double, model = self._double, parameter["identifier"]
        model = double.aliases.get(model, model)
        if model in double.loaded:
            await self._say(number, path, {"type": "alreadyLoaded", "info": double.instance(model)})
            return
        if double.keys.get(model, model) not in double.models:
            raise LookupError(model)
        await self._say(number, path, {"type": "startLoading", "identifier": model, "info": double.info(model)})
        for progress in double.load_steps:
            await self._say(number, path, {"type": "loadProgress", "progress": progress})
        if double.load_hangs:
            await stop.wait()
            double.note("cancelled loading", model)
            return
        double.loaded.append(model)
        await self._say(number, path, {"type": "loadSuccess", "info": double.instance(model)})

    async def _predict(self, number: int, path: str, parameter: Mapping[str, Any], stop: asyncio.Event) -> None:
        double = self._double
        model = self._model(parameter["modelSpecifier"])
        prediction = Prediction(parameter)
        self._open[number] = prediction
        item = double.next_item(parameter)
        with double.asked:
            double.predictions.append(prediction)
            double.asked.notify_all()
        if isinstance(item, Refuse):
            await self._refuse(number, path, item)
            return
        messages = list(_messages(item))
        for count, message in enumerate(messages):
            if count == item.after and item.then != "end":
                await self._stop_short(number, path, item, stop, model)
                return
            if stop.is_set():
                break
            await self._say(number, path, message)
        await self._finish(number, path, "userStopped" if stop.is_set() else item.stop, model, len(messages))
        prediction.finished.set()
        del self._open[number]  # to stop it now is too late

    async def _refuse(self, number: int, path: str, item: Refuse) -> None:
        if item.when == "message":
            await self._say(number, path, {"type": "error", "error": item.error()})
        else:
            self.send({"type": "channelError", "channelId": number, "error": item.error()})

    async def _stop_short(self, number: int, path: str, item: Say, stop: asyncio.Event, model: str) -> None:
        if item.then == "drop":
            self._writer.transport.abort()
        elif item.then == "hang":
            await stop.wait()
            await self._finish(number, path, "userStopped", model, item.after)

    async def _finish(self, number: int, path: str, reason: str, model: str, tokens: int) -> None:
        stats = {
            "stopReason": reason,
            "tokensPerSecond": 50.0,
            "timeToFirstTokenSec": 0.125,
            "promptTokensCount": 24,
            "predictedTokensCount": tokens,
            "totalTokensCount": 24 + tokens,
            "numGpuLayers": -1,
        }
        await self._say(
            number,
            path,
            {
                "type": "success",
                "stats": stats,
                "modelInfo": self._double.instance(model),
                "loadModelConfig": {"fields": []},
                "predictionConfig": {"fields": []},
            },
        )


def _messages(item: Say) -> Iterable[Mapping[str, Any]]:
    details = {"promptTokenCount": 24, "cachedTokenCount": 16}
    yield {"type": "promptProcessingProgress", "progress": 1.0, "details": details}
    yield from item.raw
    if item.reasoning:
        yield _fragment("<think>", "reasoningStartTag")
        yield from (_fragment(p, "reasoning") for p in _pieces(item.reasoning, item.size))
        yield _fragment("</think>", "reasoningEndTag")
    yield from (_fragment(p, "none") for p in _pieces(item.text, item.size))
    for call in item.calls:
        request = {"type": "function", "name": call.name, "arguments": call.arguments}
        given = {"toolCallId": call.id} if call.id else {}
        yield {"type": "toolCallGenerationStart", **given}
        yield {"type": "toolCallGenerationNameReceived", "name": call.name}
        yield {"type": "toolCallGenerationArgumentFragmentGenerated", "content": "<arguments of the model's own form>"}
        yield {"type": "toolCallGenerationEnd", "toolCallRequest": request | ({"id": call.id} if call.id else {})}


def _fragment(text: str, kind: str) -> dict[str, Any]:
    fragment = {"content": text, "tokensCount": 1, "containsDrafted": False, "reasoningType": kind}
    return {"type": "fragment", "fragment": fragment}


def _pieces(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def _not_found(double: LMStudioDouble, model: str) -> dict[str, Any]:
    shown = {"code": "generic.noModelMatchingQuery", "availableModelsSample": double.models}
    return {"title": "No model found that fits the query", "cause": f"no {model!r}", "displayData": shown}


def _http(body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
