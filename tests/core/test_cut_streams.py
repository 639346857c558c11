"""A stream that breaks anywhere, and a server that points elsewhere, through both dialects, sync and async."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from unified_llm import StreamInterruptedError, UnifiedLLM, UnifiedLLMError

KEY = "sk-ant-api03-0123456789abcdefghij"
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_7\r\nrequest-id: req_7\r\n"
    b"connection: close\r\n\r\n"
)


def _event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n".encode()


def _chunk(text: str) -> bytes:
    body = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


_MESSAGE = {"id": "m", "role": "assistant", "model": "m", "content": [], "usage": {"input_tokens": 3}}
STREAMS = {
    "claude": [
        _event("message_start", message=_MESSAGE)
        + _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        + _event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello "}),
        _event("content_block_delta", index=0, delta={"type": "text_delta", "text": "wörld"}),
    ],
    "openai-compatible": [_chunk("Hello "), _chunk("wörld")],
}


class _Server:
    """Answers each connection with `reply`, closes it, and keeps what was asked."""

    def __init__(self) -> None:
        self.reply = b""
        self.requests: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                request = connection.recv(65536)
                if not request:  # the connection that stops the server
                    return
                while not request.endswith(b"}"):  # the head may come before the body
                    request += connection.recv(65536)
                self.requests.append(request)
                connection.sendall(self.reply)

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.shutdown(socket.SHUT_WR)
            self._thread.join(10)
        self._socket.close()


@contextmanager
def _serving() -> Iterator[_Server]:
    server = _Server()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def server() -> Iterator[_Server]:
    with _serving() as one:
        yield one


def client(provider: str, server: _Server) -> UnifiedLLM:
    path = "" if provider == "claude" else "/v1"
    return UnifiedLLM(provider, base_url=f"http://127.0.0.1:{server.port}{path}", model="m", api_key=KEY, max_retries=0)


def _drain(llm: UnifiedLLM) -> None:
    with llm:
        for _ in llm.stream("x"):
            pass


async def _drain_async(llm: UnifiedLLM) -> None:
    async with llm:
        async for _ in llm.stream_async("x"):
            pass


def _in_the_event(last: bytes) -> bytes:
    return last[: last.index(b"w")]


def _in_the_character(last: bytes) -> bytes:
    return last[: last.index("ö".encode()) + 1]


CUTS = pytest.mark.parametrize("cut", [_in_the_event, _in_the_character])
DIALECTS = pytest.mark.parametrize("provider", list(STREAMS))


def _check(broken: UnifiedLLMError, provider: str) -> None:
    assert broken.partial == "Hello "
    assert (broken.provider, broken.model, broken.status, broken.request_id) == (provider, "m", 200, "req_7")
    assert broken.retryable
    assert broken.hint


@CUTS
@DIALECTS
def test_a_stream_cut_inside_an_event_or_a_character_keeps_what_came_before(
    server: _Server, provider: str, cut: Callable[[bytes], bytes]
) -> None:
    whole, last = STREAMS[provider]
    server.reply = HEAD + whole + cut(last)
    with pytest.raises(StreamInterruptedError) as caught:
        _drain(client(provider, server))
    _check(caught.value, provider)


@CUTS
@DIALECTS
async def test_an_async_stream_cut_inside_an_event_or_a_character_keeps_what_came_before(
    server: _Server, provider: str, cut: Callable[[bytes], bytes]
) -> None:
    whole, last = STREAMS[provider]
    server.reply = HEAD + whole + cut(last)
    with pytest.raises(StreamInterruptedError) as caught:
        await _drain_async(client(provider, server))
    _check(caught.value, provider)


@DIALECTS
def test_a_connection_that_ends_before_the_announced_length_says_which_request_it_was(
    server: _Server, provider: str
) -> None:
    server.reply = HEAD.replace(b"connection", b"content-length: 9999\r\nconnection") + STREAMS[provider][0]
    with pytest.raises(StreamInterruptedError) as caught:
        _drain(client(provider, server))
    _check(caught.value, provider)


@DIALECTS
@pytest.mark.parametrize("status", ["302 Found", "307 Temporary Redirect"])
async def test_neither_key_nor_prompt_follows_a_redirect(server: _Server, provider: str, status: str) -> None:
    with _serving() as elsewhere:
        target = f"http://127.0.0.1:{elsewhere.port}/"
        server.reply = f"HTTP/1.1 {status}\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n".encode()
        with client(provider, server) as llm, pytest.raises(UnifiedLLMError, match="redirect") as caught:
            llm.chat("x")
        async with client(provider, server) as llm:
            with pytest.raises(UnifiedLLMError, match="redirect"):
                await llm.chat_async("x")
    assert elsewhere.requests == []
    assert caught.value.status == int(status[:3])
    assert target in str(caught.value)
    assert len(server.requests) == 2
