"""A stream that was left open on an event loop that is closed gives back all that it held."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from testkit.wire_server import HANG, WireServer, sse
from unified_llm import AsyncChatStream, Budget, CallInfo, ChatRequest, ChatResponse, Limits, LLMProvider, UnifiedLLM
from unified_llm.stream import StreamEvent, TextDelta
from unified_llm.testing import FakeLLM, Reply

DELTA = {"id": "c1", "choices": [{"index": 0, "delta": {"content": "some words"}, "finish_reason": None}]}
ONE = {"offline": Limits(concurrency=1)}


def left_open(llm: UnifiedLLM) -> AsyncChatStream:
    """A stream that has begun to speak on a loop that is then closed, without `shutdown_asyncgens`."""
    loop = asyncio.new_event_loop()

    async def begin() -> AsyncChatStream:
        stream = llm.stream_async("x" * 400)
        while (await anext(stream)).type != "text_delta":
            pass
        return stream

    stream = loop.run_until_complete(begin())
    loop.close()
    return stream


class Heard(list[str]):
    def on_partial(self, info: CallInfo, response: Any) -> None:
        self.append("partial")

    def on_error(self, info: CallInfo, error: BaseException) -> None:
        self.append(type(error).__name__)

    def on_end(self, info: CallInfo) -> None:
        self.append("end")


@pytest.mark.parametrize("kept", [True, False])
def test_its_place_its_share_of_a_budget_and_its_span_are_free_again(kept: bool) -> None:
    heard, budget = Heard(), Budget(tokens=10_000)
    llm = FakeLLM(Reply("some words " * 20), "next", limits=ONE, hooks=[budget, heard], deadline=20)
    stream = left_open(llm)
    if not kept:
        del stream
        gc.collect()
    assert llm.chat("y", max_tokens=5) == "next"
    assert heard == ["partial", "GeneratorExit", "end", "end"]
    assert budget._coming_tokens == 0
    assert llm.usage.total().partial_calls == 1


def test_who_waits_for_its_place_already_gets_it() -> None:
    llm = FakeLLM(Reply("some words " * 20), "next", limits=ONE)
    loop = asyncio.new_event_loop()
    stream = llm.stream_async("x")
    while loop.run_until_complete(anext(stream)).type != "text_delta":
        pass
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.append(llm.chat("y")))
    waiting.start()
    gate = llm._flow.admission._meters["offline"].gate
    assert gate is not None
    ends = time.monotonic() + 10
    while not gate._queue and time.monotonic() < ends:
        pass
    loop.close()
    waiting.join(10)
    assert answers == ["next"]


async def test_async_callers_get_it_too() -> None:
    llm = FakeLLM(Reply("some words " * 20), "next", limits=ONE, deadline=20)
    stream = await asyncio.to_thread(left_open, llm)
    assert await llm.chat_async("y") == "next"
    assert stream.response is None


# The socket went with its loop, which said so when it was closed, if to nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_real_connection_is_no_hindrance() -> None:
    steps = [*sse([DELTA], end=False), HANG]
    with WireServer(lambda _: steps) as server:
        limits = {"openai-compatible": Limits(concurrency=1)}
        with UnifiedLLM(base_url=server.url + "/v1", model="m", limits=limits, deadline=20) as llm:
            stream = left_open(llm)
            with llm.stream("y") as other:
                assert any(event.type == "text_delta" for event in other)
            assert stream.response is None
            assert len(server.requests) == 2
            del stream
            gc.collect()


async def test_a_stream_that_is_dropped_on_a_living_loop_is_closed_by_it() -> None:
    heard = Heard()
    llm = FakeLLM(Reply("some words " * 20), "next", limits=ONE, hooks=[heard], deadline=20)
    stream = llm.stream_async("x")
    while (await anext(stream)).type != "text_delta":
        pass
    del stream
    gc.collect()
    assert await llm.chat_async("y") == "next"
    assert heard[:3] == ["partial", "GeneratorExit", "end"]


async def test_streams_that_end_are_forgotten() -> None:
    llm = FakeLLM("a", "b")
    await llm.stream_async("x").get_response()
    async with llm.stream_async("x") as stream:
        await anext(stream)
    assert not any(llm._flow.open_streams._by_loop.values())


class Silent(LLMProvider):
    """Says something, and then nothing more."""

    name = "silent"

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []

    def chat(self, request: ChatRequest) -> ChatResponse:
        raise NotImplementedError

    async def stream_async(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        yield TextDelta(text="some words")
        self.waiting.append(asyncio.get_running_loop().create_future())
        await self.waiting[-1]


def test_a_stream_that_a_task_waits_for_on_a_closed_loop_gives_back_all_that_it_held_once() -> None:
    heard, budget, silent = Heard(), Budget(tokens=10_000), Silent()
    limits = {"silent": Limits(concurrency=1, tokens_per_minute=1e6)}
    llm = UnifiedLLM(silent, model="m", hooks=[budget, heard], limits=limits, deadline=20)
    loop = asyncio.new_event_loop()

    async def read() -> None:
        async for _ in llm.stream_async("x" * 400):
            pass

    task: Any = loop.create_task(read())
    task._log_destroy_pending = False
    while not silent.waiting:
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    llm._flow.open_streams.reclaim()
    gate = llm._flow.admission._meters["silent"].gate
    assert gate is not None
    for _ in range(2):
        assert (gate.inside, budget._in_flight, budget._coming_tokens) == (0, 0, 0)
        assert heard == ["partial", "GeneratorExit", "end"]
        assert llm.usage.total().partial_calls == 1
        task = None  # which closes its coroutine, and the stream with it
        silent.waiting.clear()
        gc.collect()
