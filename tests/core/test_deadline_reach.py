"""A deadline holds for everything a call waits for: look-ups before it, and hooks around it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from testkit.wire_server import HANG, Answer, Request, WireServer, json_reply
from unified_llm import (
    APITimeoutError,
    CallInfo,
    ChatRequest,
    ChatResponse,
    Embeddings,
    LLMProvider,
    MemoryCache,
    UnifiedLLM,
    UsageHooks,
    UsageRecord,
)
from unified_llm.requests import EmbedRequest
from unified_llm.testing import FakeLLM

SOON = 0.3
TOO_LONG = 20.0


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Something to wait for in vain; set at the end, so that no thread is left behind."""
    event = threading.Event()
    yield event
    event.set()


class Undecided(LLMProvider):
    """Looks for its default model for a long time, and answers at once."""

    name = "undecided"

    def __init__(self, found: threading.Event) -> None:
        self.found = found

    def default_model(self) -> str | None:
        self.found.wait(TOO_LONG)
        return "found"

    async def default_model_async(self) -> str | None:
        await asyncio.Event().wait()  # nothing ever comes
        return "found"

    def chat(self, request: ChatRequest) -> ChatResponse:
        return ChatResponse("hi", provider="undecided", model=request.model)

    def embed(self, request: EmbedRequest) -> Embeddings:
        self.found.wait(TOO_LONG)
        return Embeddings([])


async def in_every_way(llm: UnifiedLLM, **options: Any) -> None:
    """Four calls, each of which has to end by its deadline."""
    for call in (
        lambda: llm.chat("x", **options),
        lambda: llm.stream("x", **options).get_response(),
        lambda: llm.chat_async("x", **options),
        lambda: llm.stream_async("x", **options).get_response(),
    ):
        started = time.monotonic()
        with pytest.raises(APITimeoutError, match="deadline"):
            await _awaited(call())
        assert time.monotonic() - started < TOO_LONG / 4


async def _awaited(result: Any) -> None:
    if asyncio.iscoroutine(result):
        await result


@pytest.mark.parametrize("cached", [False, True])
async def test_looking_for_the_default_model_ends_at_the_deadline(never: threading.Event, cached: bool) -> None:
    llm = UnifiedLLM(Undecided(never), cache=MemoryCache() if cached else None, max_retries=0)
    await in_every_way(llm, deadline=SOON)


def test_a_default_model_that_is_found_too_late_is_there_for_the_next_call() -> None:
    found = threading.Event()
    llm = UnifiedLLM(Undecided(found), max_retries=0)
    with pytest.raises(APITimeoutError):
        llm.chat("x", deadline=0.1)
    found.set()
    answer = llm.chat("x", deadline=TOO_LONG)
    assert (answer, answer.model) == ("hi", "found")


async def test_a_real_server_that_does_not_list_its_models_is_given_up() -> None:
    def silent(request: Request) -> Answer:
        return [HANG] if request.target.endswith("/models") else json_reply({})

    with WireServer(silent) as server:
        llm = UnifiedLLM(base_url=server.url + "/v1", max_retries=0)
        await in_every_way(llm, deadline=SOON)
        await llm.aclose()


# -- hooks ------------------------------------------------------------------------------------------------------------


class Slow:
    """Writes down a record after a long time, as a database that is down does."""

    def __init__(self) -> None:
        self.go_on, self.done = threading.Event(), threading.Event()
        self.written: list[UsageRecord] = []

    async def write(self, record: UsageRecord) -> None:
        await asyncio.to_thread(self.go_on.wait, TOO_LONG)
        self.written.append(record)
        self.done.set()


async def eventually(slow: Slow) -> list[UsageRecord]:
    slow.go_on.set()
    await asyncio.to_thread(slow.done.wait, 10)
    return slow.written


@pytest.mark.parametrize("way", ["chat", "chat_async", "stream", "stream_async"])
async def test_a_slow_async_on_usage_does_not_hold_the_answer_back_and_is_not_lost(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow()
    llm = FakeLLM("hi", on_usage=slow.write)
    started = time.monotonic()
    with caplog.at_level(logging.WARNING, "unified_llm"):
        result: Any = getattr(llm, way)("x", deadline=SOON)
        if way == "stream":
            result = result.get_response()
        elif way == "stream_async":
            result = await result.get_response()
        elif way == "chat_async":
            result = await result
    assert result == "hi"
    assert time.monotonic() - started < TOO_LONG / 4
    assert "not done at the deadline" in caplog.text
    assert [record.provider for record in await eventually(slow)] == ["offline"]


async def test_without_a_deadline_a_hook_is_waited_for() -> None:
    slow = Slow()
    threading.Timer(0.1, slow.go_on.set).start()
    assert await FakeLLM("hi", on_usage=slow.write).chat_async("x") == "hi"
    assert len(slow.written) == 1


class LateGate:
    """Decides after a long time."""

    async def before_call(self, info: CallInfo) -> None:
        await asyncio.Event().wait()  # nothing ever comes


async def test_a_gate_that_does_not_decide_before_the_deadline_stops_the_call() -> None:
    llm = FakeLLM("never", hooks=[LateGate()])
    call: Any
    for call in (
        lambda: llm.chat_async("x", deadline=SOON),
        lambda: llm.stream_async("x", deadline=SOON).get_response(),
    ):
        with pytest.raises(APITimeoutError, match="decided whether") as caught:
            await call()
        assert caught.value.hint
    assert not llm.requests


async def test_a_hook_that_goes_on_and_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    failed = asyncio.Event()

    async def write(record: UsageRecord) -> None:
        await asyncio.sleep(2 * SOON)
        failed.set()
        raise RuntimeError("sk-secret-0123456789")

    await FakeLLM("hi", on_usage=write).chat_async("x", deadline=SOON)
    await asyncio.wait_for(failed.wait(), 10)
    await asyncio.sleep(0)
    assert "went on after its call raised RuntimeError" in caplog.text
    assert "sk-secret" not in caplog.text


def test_a_hook_whose_loop_ends_before_it_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async def write(record: UsageRecord) -> None:
        await asyncio.Event().wait()  # nothing ever comes

    asyncio.run(FakeLLM("hi", on_usage=write).chat_async("x", deadline=0.1))
    assert "its event loop ended" in caplog.text


async def test_cancelling_a_call_cancels_the_hook_it_waits_for() -> None:
    cancelled, begun = asyncio.Event(), asyncio.Event()

    async def write(cost: float | None, model: str | None) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()  # nothing ever comes
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task = asyncio.create_task(FakeLLM("hi", hooks=[UsageHooks(write)]).chat_async("x", deadline=TOO_LONG))
    await asyncio.wait_for(begun.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


async def test_the_deadline_counts_from_the_start_of_the_call() -> None:
    class Hesitant:
        async def before_call(self, info: CallInfo) -> None:
            await asyncio.sleep(SOON / 2)

    with WireServer(lambda _: [HANG]) as server:
        llm = UnifiedLLM(base_url=server.url + "/v1", model="m", max_retries=0, hooks=[Hesitant()])
        with pytest.raises(APITimeoutError) as caught:
            await llm.chat_async("x", deadline=SOON)
        await llm.aclose()
    left = float(caught.value.message.split("passed: ")[1].split(" s")[0])
    assert left < 0.8 * SOON
