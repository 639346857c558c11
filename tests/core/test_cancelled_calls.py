"""What is cancelled, or stopped by a deadline, is counted all the same."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from unified_llm import (
    APIConnectionError,
    APITimeoutError,
    Budget,
    CallInfo,
    ChatRequest,
    ChatResponse,
    Embeddings,
    LLMProvider,
    Price,
    PriceTable,
    UnifiedLLM,
)
from unified_llm.requests import EmbedRequest
from unified_llm.testing import FakeLLM, Reply

USED = {"prompt_tokens": 500, "completion_tokens": 500}


class Slow:
    """A hook that takes its time."""

    def __init__(self) -> None:
        self.begun, self.go, self.done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def on_response(self, info: CallInfo, response: Any) -> None:
        self.begun.set()
        await self.go.wait()
        self.done.set()


@pytest.mark.parametrize("deadline", [None, 20.0])
async def test_a_call_that_is_cancelled_while_a_hook_is_told_of_its_answer_is_told_to_all_hooks(
    deadline: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    slow, second, budget = Slow(), Slow(), Budget(tokens=10**6)
    llm = FakeLLM(Reply("x", usage=USED), hooks=[slow, budget, second], deadline=deadline)
    call = asyncio.create_task(llm.chat_async("hi", max_tokens=10))
    await slow.begun.wait()
    call.cancel()
    with caplog.at_level(logging.WARNING, "unified_llm"), pytest.raises(asyncio.CancelledError):
        await call
    assert "Slow.on_response was cancelled" in caplog.text
    assert (budget.spent_tokens, budget._in_flight) == (1000, 0)
    second.go.set()
    async with asyncio.timeout(20):
        await second.done.wait()


class Closing(LLMProvider):
    """Makes an error of its own of a cancellation."""

    name = "closing"

    def chat(self, request: ChatRequest) -> ChatResponse:
        raise NotImplementedError

    async def chat_async(self, request: ChatRequest) -> ChatResponse:
        try:
            await asyncio.Event().wait()  # nothing ever comes
        except asyncio.CancelledError:
            raise APIConnectionError("closed") from None
        raise AssertionError


async def test_a_deadline_leaves_no_cancellation_behind_in_the_task() -> None:
    llm = UnifiedLLM(Closing(), model="m", max_retries=0)
    with pytest.raises(APIConnectionError):
        await llm.chat_async("hi", deadline=0.05)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


class Watch:
    def on_request(self, info: CallInfo) -> None: ...


def test_a_budget_that_is_among_the_hooks_twice_counts_once() -> None:
    budget = Budget(tokens=10**6)
    llm = FakeLLM(Reply("x", usage=USED), hooks=[budget, Watch(), budget])
    llm.add_hook(budget)
    llm.chat("hi")
    assert (budget.spent_tokens, budget._in_flight) == (1000, 0)


class SlowVectors(LLMProvider):
    name = "vectors"

    def chat(self, request: ChatRequest) -> ChatResponse:
        raise NotImplementedError

    def embed(self, request: EmbedRequest) -> Embeddings:
        raise APITimeoutError("no answer within 60 s")

    async def embed_async(self, request: EmbedRequest) -> Embeddings:
        await asyncio.Event().wait()  # nothing ever comes
        raise AssertionError


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_embeddings_that_are_cut_count_with_their_texts(asynchronous: bool) -> None:
    budget = Budget(tokens=10**6)
    prices = PriceTable({"e": Price(1, 1)})
    llm = UnifiedLLM(SlowVectors(), model="m", embed_model="e", hooks=[budget], max_retries=0, prices=prices)
    if asynchronous:
        with pytest.raises(APITimeoutError):
            await llm.embed_async("word " * 500, deadline=0.05)
    else:
        with pytest.raises(APITimeoutError):
            llm.embed("word " * 500)
    total = llm.usage.total()
    assert (total.calls, total.partial_calls, total.unpriced_calls) == (1, 1, 0)
    assert total.usage.input_tokens == budget.spent_tokens > 400
    assert total.cost == pytest.approx(budget.spent_tokens / 1e6)
