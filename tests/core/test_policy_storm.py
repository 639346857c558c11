"""Everything at once: whatever becomes of the calls, nothing that they held is left behind."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from unified_llm import BreakerSettings, Budget, Limits, RetryPolicy, UnifiedLLMError
from unified_llm.testing import Cut, Failure, FakeLLM, Reply

CALLS = 150
USED = {"prompt_tokens": 5, "completion_tokens": 5}


@pytest.mark.parametrize("deadline", [None, 0.1])
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_storm_of_calls_that_fail_break_and_are_cancelled_leaves_nothing_behind(
    seed: int, deadline: float | None
) -> None:
    draw = random.Random(seed)
    kinds: list[Any] = [
        Reply("some words to say " * 5, usage=USED, delay=0.003),
        Reply("at once", usage=USED),
        Failure(status=500),
        Reply("words " * 20, cut=Cut(after=3)),
    ]
    budget = Budget(tokens=10**9)
    llm = FakeLLM(
        *[draw.choice(kinds) for _ in range(CALLS * 6)],
        model="pool",
        deployments={"pool": ["offline:a", "offline:b"]},
        strategy="least_busy",
        retry=RetryPolicy(max_retries=1, base=0, deadline=deadline),
        breaker=BreakerSettings(failures=50, seconds=0.01),
        limits={"offline": Limits(4, tokens_per_minute=1e9)},
        hooks=[budget],
    )

    async def call() -> None:
        kind = draw.random()
        try:
            if kind < 0.4:
                await llm.chat_async("x", max_tokens=10)
            elif kind < 0.6:
                await llm.chat_async("x", hedge_after=0.002)
            else:
                async with llm.stream_async("x") as stream:
                    async for _ in stream:
                        if draw.random() < 0.05:
                            break
        except UnifiedLLMError:
            pass

    tasks = [asyncio.create_task(call()) for _ in range(CALLS)]
    for _ in tasks:
        await asyncio.sleep(0.0005)
        if draw.random() < 0.3:
            draw.choice(tasks).cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end for end in ends if end is not None and not isinstance(end, asyncio.CancelledError)] == []
    gate = llm._flow.admission._meters["offline"].gate
    assert gate is not None
    assert (gate.inside, len(gate._queue)) == (0, 0)
    assert (budget._in_flight, budget._coming_tokens) == (0, 0)
    assert [load.in_flight for load in llm._router.balancer._loads.values()] == [0, 0]
    assert not any(llm._flow.open_streams._by_loop.values())
