"""A scripted HTTP/1.1 server on loopback, to see what a client really does on the wire.

It runs its own event loop in a thread, so sync and async clients are tested alike:

    with WireServer(json_reply({"ok": True})) as server:          # every request gets this answer
        client.get(server.url + "/v1/x")
        assert server.requests[0].headers["authorization"] == "Bearer k"

    with WireServer([b"HTTP/1.1 200 OK\r\n", HANG]) as server:    # half a head, then silence
        ...
        assert server.requests[0].wait_gone(0.5)                  # the client closed the connection

An answer is a list of steps: bytes are sent as one write; `HANG` waits until the client is gone; `Wait(event)`
waits for the test, `Pause(seconds)` for nobody; `CLOSE` ends the connection politely (FIN), `RESET` rudely (RST).
After the last step the connection stays open for the next request. `WireServer(first, second)` answers in that order
and repeats the last one; `WireServer(function)` calls ``function(request) -> answer`` (in the server's thread) for
every request. What is no HTTP request, such as TLS, is answered with 400 and closed, as servers do.

Answers are built with `reply`, `json_reply`, `chunked`, `sse` and `until_close`. Leaving the `with` block closes
everything and raises what went wrong inside the server, so that a wrong script fails the test.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, Union

__all__ = [
    "CLOSE",
    "HANG",
    "RESET",
    "Answer",
    "Pause",
    "Request",
    "Wait",
    "WireServer",
    "chunked",
    "free_port",
    "json_reply",
    "reply",
    "sse",
    "until_close",
]


class _Word:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


HANG: Final = _Word("HANG")
CLOSE: Final = _Word("CLOSE")
RESET: Final = _Word("RESET")


@dataclass(frozen=True)
class Pause:
    """A step that lets `seconds` pass: a slow server."""

    seconds: float


@dataclass(frozen=True)
class Wait:
    """A step that waits until the test sets `event`, at most `timeout` seconds."""

    event: threading.Event
    timeout: float = 20.0


Step: TypeAlias = Union[bytes, _Word, Wait, Pause]
Answer: TypeAlias = Sequence[Step]
Script: TypeAlias = Callable[["Request"], Answer]


@dataclass
class Request:
    """One request as it came. `connection` numbers the TCP connections from 0; header names are lower-case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    raw_head: bytes = field(repr=False, default=b"")
    gone: threading.Event = field(repr=False, default_factory=threading.Event)
    answered: threading.Event = field(repr=False, default_factory=threading.Event)

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    def wait_gone(self, timeout: float = 0.5) -> bool:
        """Whether the client closed the connection, waiting at most `timeout` seconds for it."""
        return self.gone.wait(timeout)

    async def wait_gone_async(self, timeout: float = 0.5) -> bool:  # noqa: ASYNC109  # a bound, not a cancel scope
        """`wait_gone` for tests inside an event loop."""
        return await asyncio.to_thread(self.gone.wait, timeout)


def head(status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """A status line and headers, with the empty line."""
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def reply(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> list[Step]:
    """A complete answer with a Content-Length."""
    return [head(status, {"content-length": str(len(body)), **(headers or {})}) + body]


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> list[Step]:
    """A complete JSON answer."""
    return reply(status, json.dumps(value).encode(), {"content-type": "application/json", **(headers or {})})


def chunked(
    pieces: Iterable[Step], *, status: int = 200, headers: Mapping[str, str] | None = None, end: bool = True
) -> list[Step]:
    """An answer in HTTP chunks, one write each, other steps between them. `end=False` leaves it unfinished."""
    steps: list[Step] = [head(status, {"transfer-encoding": "chunked", **(headers or {})})]
    steps += [b"%x\r\n%s\r\n" % (len(p), p) if isinstance(p, bytes) else p for p in pieces]
    return [*steps, b"0\r\n\r\n"] if end else steps


def sse(
    events: Iterable[Any], *, status: int = 200, headers: Mapping[str, str] | None = None, end: bool = True
) -> list[Step]:
    """A server-sent event stream: dicts become JSON ``data:`` events, str plain ones; bytes and steps stay."""
    kind = {"content-type": "text/event-stream", **(headers or {})}
    return chunked([_sse_event(e) for e in events], status=status, headers=kind, end=end)


def _sse_event(event: Any) -> Step:
    if isinstance(event, (bytes, _Word, Wait, Pause)):
        return event
    text = event if isinstance(event, str) else json.dumps(event)
    return f"data: {text}\n\n".encode()


def until_close(pieces: Iterable[Step], *, headers: Mapping[str, str] | None = None) -> list[Step]:
    """An answer without a length: the body ends with the connection."""
    return [head(200, {"connection": "close", **(headers or {})}), *pieces, CLOSE]


def free_port() -> int:
    """A loopback port where nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class WireServer:
    """See the module docstring. `requests` grows as they arrive; `connections` counts TCP connections so far."""

    def __init__(self, *answers: Answer | Script, tls: ssl.SSLContext | None = None) -> None:
        self._answers = answers
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="wire-server", daemon=True)
        self._ready = threading.Event()
        self._open: set[_Connection] = set()
        self._arrived = threading.Condition()
        self.requests: list[Request] = []
        self.connections = 0
        self.errors: list[BaseException] = []
        self.port = 0

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``; https and localhost (the name in the certificate) with TLS."""
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many TCP connections are open now."""
        return len(self._open)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the wire server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        if value is None and self.errors:
            raise self.errors[0]

    def wait_requests(self, count: int, timeout: float = 10.0) -> list[Request]:
        """Wait until `count` requests have arrived; raises TimeoutError when they do not."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"{len(self.requests)} of {count} requests arrived within {timeout} s")
        return self.requests

    async def wait_requests_async(self, count: int) -> list[Request]:
        """`wait_requests` for tests inside an event loop."""
        return await asyncio.to_thread(self.wait_requests, count)

    def wait_open_connections(self, count: int, timeout: float = 5.0) -> bool:
        """Whether exactly `count` connections are open, waiting at most `timeout` seconds for it."""
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self._open) == count, timeout)

    def close_connections(self) -> None:
        """Close every open connection from the server's side (FIN), and return when that is done."""
        asyncio.run_coroutine_threadsafe(self._close_all(), self._loop).result(10)

    async def _close_all(self) -> None:
        open_now = list(self._open)
        for connection in open_now:
            connection.transport.close()
        await asyncio.gather(*(c.lost for c in open_now))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listening = self._loop.create_task(self._listen())
        self._loop.run_forever()
        listening.result()
        self._loop.run_until_complete(self._shut())
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", 0, ssl=self._tls, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._ready.set()

    async def _shut(self) -> None:
        self._server.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for connection in list(self._open):
            connection.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def _answer(self, request: Request) -> Answer:
        with self._arrived:
            number = len(self.requests)
            self.requests.append(request)
            self._arrived.notify_all()
        answer = self._answers[min(number, len(self._answers) - 1)]
        return answer(request) if callable(answer) else answer


class _Connection(asyncio.Protocol):
    """One TCP connection: parses requests, plays their answers one after the other."""

    transport: asyncio.Transport

    def __init__(self, server: WireServer) -> None:
        self._server = server
        self._buffer = b""
        self._current: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self.lost: asyncio.Future[None] = server._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.number = self._server.connections
        self._server.connections += 1
        with self._server._arrived:
            self._server._open.add(self)
            self._server._arrived.notify_all()
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def eof_received(self) -> bool:
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        with self._server._arrived:
            self._server._open.discard(self)
            self._server._arrived.notify_all()
        if not self.lost.done():
            self.lost.set_result(None)

    def _leave(self) -> None:
        self._gone.set()
        if self._current is not None:
            self._current.gone.set()

    def _next(self) -> None:
        if self._task is not None:
            return
        if self._buffer and not self._buffer[:1].isalpha():
            self.transport.write(head(400, {"connection": "close"}))
            self.transport.close()
            return
        try:
            request = self._parse()
        except Exception as exc:  # noqa: BLE001  # raised again in the test's thread, by __exit__
            self._server.errors.append(exc)
            self.transport.abort()
            return
        if request is not None:
            self._current = request
            self._task = self._server._loop.create_task(self._play(request))

    def _parse(self) -> Request | None:
        top, blank, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return None
        first, *lines = top.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        if "transfer-encoding" in headers:
            raise ValueError("the wire server reads bodies with a Content-Length only")
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return Request(method, target, headers, rest[:length], self.number, raw_head=top)

    async def _play(self, request: Request) -> None:
        try:
            for step in self._server._answer(request):
                if not await self._do(step):
                    return
            request.answered.set()
        except Exception as exc:  # noqa: BLE001  # raised again in the test's thread, by __exit__
            self._server.errors.append(exc)
            self.transport.abort()
        finally:
            self._task = None
        self._current = None
        self._next()

    async def _do(self, step: Step) -> bool:
        """Play one step; False when the connection has ended."""
        if isinstance(step, bytes):
            self.transport.write(step)
            await asyncio.sleep(0)
        elif isinstance(step, Wait):
            if not await asyncio.to_thread(step.event.wait, step.timeout):
                raise TimeoutError("the test never set the event of a Wait step")
        elif isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        elif step is HANG:
            await self._gone.wait()
        elif step is RESET:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        elif step is CLOSE:
            self.transport.close()
        else:
            raise TypeError(f"{step!r} is not a step")
        return not self._gone.is_set() and step is not CLOSE and step is not RESET
