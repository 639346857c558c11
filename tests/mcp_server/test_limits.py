"""Limits: calls per minute, calls at the same time, spending."""

from __future__ import annotations

import asyncio

import pytest

from testkit.mcp_clients import ERAS, in_memory
from testkit.probe_provider import ProbeProvider
from unified_llm import UnifiedLLM
from unified_llm_mcp import ModelServer, Settings, build_server
from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.limits import Limits


def serve(provider: ProbeProvider, **settings: object) -> ModelServer:
    return build_server(UnifiedLLM(provider=provider), Settings(**settings))  # type: ignore[arg-type]


def test_the_rate_is_a_bucket_for_each_caller_that_fills_again() -> None:
    now = 0.0
    limits = Limits(Settings(calls_per_minute=60), clock=lambda: now)
    for _ in range(60):
        limits.admit("a")
    with pytest.raises(ToolCallError) as refused:
        limits.admit("a")
    assert refused.value.details["retry_after_s"] == 1.0
    limits.admit("b")
    now = 1.0
    limits.admit("a")
    with pytest.raises(ToolCallError):
        limits.admit("a")


@pytest.mark.parametrize("era", ERAS)
async def test_too_many_calls_a_minute_are_refused_with_the_time_to_wait(era: str) -> None:
    provider = ProbeProvider()
    async with in_memory(serve(provider, calls_per_minute=2), era) as client:
        results = [await client.call("chat", prompt="x") for _ in range(3)]
    assert [result.is_error for result in results] == [False, False, True]
    assert (results[2].error["category"], results[2].error["retryable"]) == ("rate_limited", True)
    assert results[2].error["retry_after_s"] > 0
    assert len(provider.requests) == 2


@pytest.mark.parametrize("era", ERAS)
async def test_no_more_calls_run_at_once_than_allowed_and_the_others_wait(era: str) -> None:
    provider = ProbeProvider()
    provider.gate = asyncio.Event()
    async with in_memory(serve(provider, max_concurrency=2), era) as client, asyncio.TaskGroup() as group:
        calls = [group.create_task(client.call("chat", prompt=str(n))) for n in range(6)]
        await provider.wait_open(2)
        provider.gate.set()
    assert provider.most_open == 2
    assert not any(call.result().is_error for call in calls)


@pytest.mark.parametrize("era", ERAS)
async def test_a_full_queue_refuses_until_a_call_ends(era: str) -> None:
    provider = ProbeProvider()
    provider.gate = asyncio.Event()
    async with in_memory(serve(provider, max_concurrency=1, max_queue=0), era) as client:
        first = asyncio.create_task(client.call("chat", prompt="1"))
        await provider.wait_open(1)
        second = await client.call("chat", prompt="2")
        assert (second.error["category"], second.error["retryable"]) == ("busy", True)
        provider.gate.set()
        assert (await first).text == "Hello, world"
        assert (await client.call("chat", prompt="3")).text == "Hello, world"


async def runs_become(server: ModelServer, count: int) -> None:
    async with asyncio.timeout(5):
        while len(server.state.runs) != count:  # noqa: ASYNC110  # a run that waits for a place tells nobody
            await asyncio.sleep(0)


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_cancelled_while_it_waits_is_never_sent(era: str) -> None:
    provider = ProbeProvider()
    provider.gate = asyncio.Event()
    server = serve(provider, max_concurrency=1)
    async with in_memory(server, era) as client:
        first = asyncio.create_task(client.call("chat", prompt="1"))
        await provider.wait_open(1)
        waiting = asyncio.create_task(client.call("chat", prompt="2"))
        await runs_become(server, 2)
        await client.cancel(waiting)
        await runs_become(server, 1)
        third = asyncio.create_task(client.call("chat", prompt="3"))
        provider.gate.set()
        await asyncio.gather(first, third)
    assert [request.messages[-1].text for request in provider.requests] == ["1", "3"]


@pytest.mark.parametrize("era", ERAS)
async def test_chats_are_refused_once_the_known_cost_reaches_the_limit(era: str) -> None:
    provider = ProbeProvider(cost=0.6)
    async with in_memory(serve(provider, max_spend_usd=1.0), era) as client:
        results = [await client.call("chat", prompt="x") for _ in range(3)]
        assert not (await client.call("embed", texts=["free"])).is_error
    assert results[0].structured["usage"] == {
        "input_tokens": 5,
        "output_tokens": 3,
        "cost_usd": 0.6,
        "cost_known": True,
    }
    assert [result.is_error for result in results] == [False, False, True]
    assert results[2].error["category"] == "spending_limit"
    assert "--max-spend" in results[2].text


@pytest.mark.parametrize("era", ERAS)
async def test_a_cost_that_is_not_known_counts_nothing(era: str) -> None:
    async with in_memory(serve(ProbeProvider(cost=None), max_spend_usd=0.01), era) as client:
        for _ in range(3):
            result = await client.call("chat", prompt="x")
            assert result.structured["usage"]["cost_known"] is False
