"""The backend of the MCP benchmarks: a loopback server, in a process of its own, with precomputed answers.

It speaks the chat dialects of OpenAI (streamed or not) and Ollama (not streamed), at once, after a second when the
prompt holds `SLOW`, or not for half a minute when it holds `HANG`. ``GET /left`` tells how many requests were left
before their answer.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["HANG", "SLOW", "backend"]

SLOW = "answer-after-one-second"
HANG = "answer-after-half-a-minute"
TEXT = "ready"


def _http(body: bytes, media_type: str) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
        % (
            media_type.encode(),
            len(body),
        )
        + body
    )


def _json(value: Any) -> bytes:
    return _http(json.dumps(value).encode(), "application/json")


def _chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


_MESSAGE = {"role": "assistant", "content": TEXT}
_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
STREAMED = _http(_chunk(_MESSAGE) + _chunk({}, "stop") + b"data: [DONE]\n\n", "text/event-stream")
WHOLE = _json({
    "id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": _USAGE,
    "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
})  # fmt: skip
OLLAMA = _json({
    "model": "m", "created_at": "2026-01-01T00:00:00Z", "message": _MESSAGE, "done": True, "done_reason": "stop",
})  # fmt: skip
MODELS = _json({"object": "list", "data": [{"id": "m", "object": "model"}], "models": [{"name": "m", "model": "m"}]})


class _Backend:
    def __init__(self) -> None:
        self.left = 0

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                body = await reader.readexactly(int(length or 0))
                seconds = 30 if HANG.encode() in body else 1 if SLOW.encode() in body else 0
                if seconds and await self._left_within(seconds, reader):
                    break
                writer.write(self._answer(head, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done with the connection
        finally:
            writer.close()

    async def _left_within(self, seconds: float, reader: asyncio.StreamReader) -> bool:
        """Whether the client closes the connection before the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await reader.read(1)
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        self.left += 1
        return True

    def _answer(self, head: bytes, body: bytes) -> bytes:
        method, path, _ = head.split(b" ", 2)
        if method == b"GET":
            return _json({"left": self.left}) if path == b"/left" else MODELS
        if path == b"/api/chat":
            return OLLAMA
        return STREAMED if json.loads(body).get("stream") else WHOLE


async def _serve(ready: Any) -> None:
    server = await asyncio.start_server(_Backend().connection, "127.0.0.1", 0)
    ready.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _run(ready: Any) -> None:
    asyncio.run(_serve(ready))


@contextmanager
def backend() -> Iterator[int]:
    """Port of the backend."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sending,), daemon=True)
    process.start()
    try:
        yield receiving.recv()
    finally:
        process.terminate()
        process.join()
