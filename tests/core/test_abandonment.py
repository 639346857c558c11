"""The contract of every driver: whoever leaves a stream or a call closes the request upstream, within half a second."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from testkit.wire_server import HANG, Answer, Request, WireServer, chunked, head, sse
from unified_llm import TextDelta, ThinkingDelta, UnifiedLLM

LIMIT = 0.5


def openai_stream(_: Request) -> Answer:
    choice = {"index": 0, "delta": {"content": "It rains"}, "finish_reason": None}
    return [*sse([{"id": "c1", "choices": [choice]}], end=False), HANG]


def claude_stream(_: Request) -> Answer:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "It rains"}},
    ]
    pieces = [b"event: " + e["type"].encode() + b"\ndata: " + _dumps(e) + b"\n\n" for e in events]
    return [*_chunked_head(), *(_chunk(p) for p in pieces), HANG]


def ollama_stream(_: Request) -> Answer:
    line = {"model": "m", "message": {"role": "assistant", "content": "It rains"}, "done": False}
    return [*chunked([_dumps(line) + b"\n"], headers={"content-type": "application/x-ndjson"}, end=False), HANG]


def _dumps(value: Any) -> bytes:
    from unified_llm import _json

    return _json.dumps(value)


def _chunked_head() -> list[bytes]:
    return [head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})]


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


DRIVERS: dict[str, tuple[Callable[[Request], Answer], dict[str, Any]]] = {
    "http": (openai_stream, {"provider": "openai-compatible", "path": "/v1"}),
    "aiohttp": (openai_stream, {"provider": "openai-compatible", "path": "/v1", "transport": "aiohttp"}),
    "anthropic SDK": (claude_stream, {"provider": "claude", "path": "", "api_key": "sk-ant-not-a-key-1"}),
    "claude over http": (
        claude_stream,
        {"provider": "claude", "path": "", "api_key": "sk-ant-not-a-key-1", "transport": "http"},
    ),
    "ollama": (ollama_stream, {"provider": "ollama", "path": ""}),
}


@contextmanager
def talking(name: str, answer: Callable[[Request], Answer] | None = None) -> Iterator[tuple[UnifiedLLM, WireServer]]:
    usual, options = DRIVERS[name]
    options = dict(options)
    with WireServer(answer or usual) as server:
        base_url = server.url + options.pop("path")
        yield UnifiedLLM(base_url=base_url, model="m", max_retries=0, **options), server


def the_request(server: WireServer) -> Request:
    return server.wait_requests(1)[0]


def is_text(event: Any) -> bool:
    return isinstance(event, (TextDelta, ThinkingDelta))


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_closing_a_stream_closes_the_request(driver: str) -> None:
    with talking(driver) as (llm, server):
        stream = llm.stream("x")
        assert any(is_text(event) for event in stream)
        assert not the_request(server).gone.is_set()
        stream.close()
        assert the_request(server).wait_gone(LIMIT)


def test_leaving_the_with_block_closes_the_request(driver: str) -> None:
    with talking(driver) as (llm, server):
        with llm.stream("x") as stream:
            assert any(is_text(event) for event in stream)
        assert the_request(server).wait_gone(LIMIT)


def test_breaking_out_of_the_loop_closes_the_request(driver: str) -> None:
    with talking(driver) as (llm, server):
        for event in llm.stream("x"):
            if is_text(event):
                break
        assert the_request(server).wait_gone(LIMIT)


def test_an_error_in_the_loop_closes_the_request(driver: str) -> None:
    with talking(driver) as (llm, server):

        def consume() -> None:
            with llm.stream("x") as stream:
                for event in stream:
                    if is_text(event):
                        raise KeyError("mine")

        with pytest.raises(KeyError):
            consume()
        assert the_request(server).wait_gone(LIMIT)


async def test_closing_an_async_stream_closes_the_request(driver: str) -> None:
    with talking(driver) as (llm, server):
        async with llm.stream_async("x") as stream:
            async for event in stream:
                if is_text(event):
                    break
        assert await the_request(server).wait_gone_async(LIMIT)


async def test_dropping_an_async_stream_closes_the_request(driver: str) -> None:
    with talking(driver) as (llm, server):
        async for event in llm.stream_async("x"):
            if is_text(event):
                break
        assert await the_request(server).wait_gone_async(LIMIT)


async def test_cancelling_a_task_that_streams_closes_the_request(driver: str) -> None:
    with talking(driver) as (llm, server):
        started = asyncio.Event()

        async def read() -> None:
            async for event in llm.stream_async("x"):
                if is_text(event):
                    started.set()

        task = asyncio.create_task(read())
        await asyncio.wait_for(started.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await the_request(server).wait_gone_async(LIMIT)


async def test_cancelling_a_task_that_waits_for_an_answer_closes_the_request(driver: str) -> None:
    with talking(driver, lambda _: [HANG]) as (llm, server):
        task = asyncio.create_task(llm.chat_async("x"))
        await asyncio.to_thread(server.wait_requests, 1, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await the_request(server).wait_gone_async(LIMIT)


async def test_a_timeout_around_a_call_closes_the_request(driver: str) -> None:
    with talking(driver, lambda _: [HANG]) as (llm, server):
        await asyncio.to_thread(llm._router.provider)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await llm.chat_async("x")
        assert await the_request(server).wait_gone_async(LIMIT)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_closes_the_request(driver: str) -> None:
    _, options = DRIVERS[driver]
    options = dict(options)
    path = options.pop("path")
    code = """
        import sys
        from unified_llm import UnifiedLLM
        llm = UnifiedLLM(base_url=sys.argv[1], model="m", max_retries=0, **eval(sys.argv[2]))
        try:
            for event in llm.stream("x"):
                print(event.type, flush=True)
        except KeyboardInterrupt:
            print("stopped", flush=True)
            sys.stdin.read()   # stay alive: the request must be closed by us, not by the end of the process
    """
    with WireServer(DRIVERS[driver][0]) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), server.url + path, repr(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            while process.stdout.readline().strip() not in ("text_delta", ""):
                pass
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "stopped\n"
            assert the_request(server).wait_gone(LIMIT)
        finally:
            process.communicate("", timeout=10)
