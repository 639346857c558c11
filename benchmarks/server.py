"""The loopback server of the benchmarks: answers at once with bytes made beforehand.

Run in a process of its own: ``python -m benchmarks.server`` prints its port. The listening socket is made with
IPPROTO_TCP, because asyncio sets TCP_NODELAY only then; without it every answer waits 40 ms.
"""

from __future__ import annotations

import asyncio
import functools
import json
import socket
from collections.abc import Mapping
from typing import Final

from benchmarks import payloads

_KIND: Final = {False: b"application/json", True: b"text/event-stream"}


def _answer(body: bytes, *, stream: bool = False) -> bytes:
    length = b"transfer-encoding: chunked" if stream else b"content-length: %d" % len(body)
    head = (
        b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 12:00:00 GMT\r\nserver: bench\r\ncontent-type: %b\r\n"
        b"x-request-id: req_1\r\nrequest-id: req_1\r\n%b\r\n\r\n"
    )
    return head % (_KIND[stream], length) + body


def answers() -> dict[bytes, bytes]:
    """Whole responses by kind of request."""
    return {
        b"chat": _answer(payloads.chat_answer()),
        b"chat stream": _answer(payloads.chat_stream(), stream=True),
        b"messages": _answer(payloads.claude_answer()),
        b"messages stream": _answer(payloads.claude_stream(), stream=True),
        b"none": b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    }


def _kind(head: bytes, body: bytes) -> bytes:
    target = head.split(b" ", 2)[1].split(b"?", 1)[0]
    plain = body.replace(b" ", b"")
    if target.endswith(b"/chat/completions"):
        return b"chat stream" if b'"stream":true' in plain else b"chat"
    if target.endswith(b"/embeddings"):
        return b"embeddings"
    if target.endswith(b"/messages"):
        return b"messages stream" if b'"stream":true' in plain else b"messages"
    return b"none"


@functools.cache
def _embeddings(first: int, count: int, encoded: bool) -> bytes:
    return _answer(payloads.embeddings(first, count, encoded=encoded))


def _embeddings_for(body: bytes) -> bytes:
    """What was asked for: some clients send all texts at once, others in several requests."""
    asked = json.loads(body)
    texts = asked["input"]
    return _embeddings(payloads.TEXTS.index(texts[0]), len(texts), asked.get("encoding_format") == "base64")


class _Protocol(asyncio.Protocol):
    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        self._answers = answers
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            head = self._buffer[:end]
            size = _size(head, self._buffer[end:])
            if size is None or len(self._buffer) < end + size:
                return
            body = self._buffer[end : end + size]
            self._buffer = self._buffer[end + size :]
            kind = _kind(head, body)
            self._transport.write(_embeddings_for(body) if kind == b"embeddings" else self._answers[kind])


def _size(head: bytes, rest: bytes) -> int | None:
    """Bytes of the body after `head`, or None when the end of a chunked one is not there yet."""
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:  # some clients send their requests that way
        end = rest.find(b"0\r\n\r\n")
        return None if end < 0 else end + 5
    _, found, value = lower.partition(b"content-length:")
    return int(value.split(b"\r\n", 1)[0]) if found else 0


async def main() -> None:
    """Serve on a free loopback port until killed."""
    made = answers()
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    server = await asyncio.get_running_loop().create_server(lambda: _Protocol(made), sock=sock, backlog=1024)
    print(sock.getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
