"""Limits: calls per minute, calls at the same time, spending."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from testkit.mcp_clients import ERAS, MCPError, in_memory
from testkit.probe_provider import ProbeProvider
from unified_llm import Embeddings, EmbedRequest, ModelInfo, Price, PriceTable, UnifiedLLM
from unified_llm.errors import ServerError
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
async def test_calls_that_may_exceed_the_spending_limit_are_refused(era: str) -> None:
    provider = ProbeProvider(cost=0.6)
    async with in_memory(serve(provider, max_spend_usd=1.0), era) as client:
        results = [await client.call("chat", prompt="x") for _ in range(2)]
    assert results[0].structured["usage"] == {
        "input_tokens": 5,
        "output_tokens": 3,
        "cost_usd": 0.6,
        "cost_known": True,
    }
    assert [result.is_error for result in results] == [False, True]
    assert results[1].error["category"] == "spending_limit"
    assert "--max-spend" in results[1].text
    assert len(provider.requests) == 1


async def test_embeddings_are_refused_too_once_the_limit_is_reached() -> None:
    provider = ProbeProvider(cost=1.0)
    async with in_memory(serve(provider, max_spend_usd=1.0)) as client:
        await client.call("chat", prompt="x")
        refused = await client.call("embed", texts=["x"])
    assert refused.error["category"] == "spending_limit"
    assert provider.embed_requests == []


async def test_embeddings_count() -> None:
    class Billed(ProbeProvider):
        async def embed_async(self, request: EmbedRequest) -> Embeddings:
            return (await super().embed_async(request)).priced(1.0)

    server = serve(Billed(), max_spend_usd=1.0)
    async with in_memory(server) as client:
        results = [await client.call("embed", texts=["x"]) for _ in range(2)]
    assert [result.is_error for result in results] == [False, True]
    assert server.state.usage.of("local")["cost_usd"] == 1.0


async def test_calls_at_the_same_time_do_not_exceed_the_limit_together() -> None:
    provider = ProbeProvider(cost=1.0)
    async with in_memory(serve(provider, max_spend_usd=2.0)) as client:
        results = await asyncio.gather(*(client.call("chat", prompt="x") for _ in range(20)))
    assert sum(not result.is_error for result in results) == len(provider.requests) == 2


async def test_once_the_cost_of_a_model_is_known_its_calls_are_parallel() -> None:
    provider = ProbeProvider(cost=0.01)
    async with in_memory(serve(provider, max_spend_usd=1.0)) as client, asyncio.TaskGroup() as group:
        await client.call("chat", prompt="x")
        provider.gate = asyncio.Event()
        for _ in range(8):
            group.create_task(client.call("chat", prompt="x"))
        await provider.wait_open(8)
        provider.gate.set()


PRICED = PriceTable({"probe:talker": Price(input=0.0, output=1_000_000.0)})  # a dollar a token


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_answers_that_were_cut_count_for_the_limit_and_in_the_usage(how: str) -> None:
    provider = ProbeProvider("one two three four five six", "seven")
    provider.gate, provider.first_piece_before_gate = asyncio.Event(), True
    server = build_server(UnifiedLLM(provider=provider, prices=PRICED, max_retries=0), Settings(max_spend_usd=4.0))
    arrived = asyncio.Event()

    async def progress(count: float, total: float | None, message: str | None) -> None:
        arrived.set()

    async with in_memory(server) as client:
        call = asyncio.create_task(client.call("chat", prompt="x", progress=progress))
        await arrived.wait()
        if how == "failed":
            provider.error = ServerError("broken", hint="x")
            provider.gate.set()
            await call
        else:
            await client.cancel(call)
        await runs_become(server, 0)
        used = server.state.usage.of("local")
        refused = await client.call("chat", prompt="x")
    assert (used["unfinished"], used["chats"]) == (1, 0)
    assert used["cost_usd"] >= 4.0
    assert refused.error["category"] == "spending_limit"


async def test_the_limit_of_a_server_does_not_concern_others_that_use_its_client() -> None:
    provider = ProbeProvider(cost=1.0)
    client = UnifiedLLM(provider=provider)
    async with in_memory(build_server(client, Settings(max_spend_usd=1.0))) as limited:
        await limited.call("chat", prompt="x")
        assert (await limited.call("chat", prompt="x")).is_error
        async with client.stream_async("x") as stream:
            assert [event async for event in stream][-1].type == "end"
        async with in_memory(build_server(client, Settings(max_spend_usd=1.0))) as other:
            assert not (await other.call("chat", prompt="x")).is_error


@pytest.mark.parametrize("era", ERAS)
async def test_a_cost_that_is_not_known_counts_nothing(era: str) -> None:
    async with in_memory(serve(ProbeProvider(cost=None), max_spend_usd=0.01), era) as client:
        for _ in range(3):
            result = await client.call("chat", prompt="x")
            assert result.structured["usage"]["cost_known"] is False


@pytest.mark.parametrize("era", ERAS)
async def test_turns_that_wait_for_their_conversation_count_as_waiting(era: str) -> None:
    provider = ProbeProvider()
    async with in_memory(serve(provider, max_queue=2), era) as client, asyncio.TaskGroup() as group:
        started = await client.call("chat", prompt="0", conversation_id="new")
        turn = {"conversation_id": started.structured["conversation_id"]}
        provider.gate = asyncio.Event()
        calls = [group.create_task(client.call("chat", prompt=str(n), **turn)) for n in range(5)]
        done, waiting = await asyncio.wait(calls, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            more, waiting = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        assert [call.result().error["category"] for call in done] == ["busy", "busy"]
        provider.gate.set()
    assert sum(call.result().is_error for call in calls) == 2


async def test_a_free_place_goes_to_the_caller_who_has_the_fewest() -> None:
    limits = Limits(Settings(max_concurrency=2))
    order: list[str] = []
    release = asyncio.Event()

    async def call(subject: str) -> None:
        async with limits.slot(subject):
            order.append(subject)
            await release.wait()

    async with asyncio.TaskGroup() as group:
        for subject in ["greedy"] * 6 + ["modest"]:
            group.create_task(call(subject))
            await asyncio.sleep(0)
        release.set()
    assert order[:3] == ["greedy", "greedy", "modest"]
    assert len(order) == 7


async def test_a_full_queue_of_one_caller_leaves_room_for_others() -> None:
    limits = Limits(Settings(max_concurrency=1, max_queue=1))
    release = asyncio.Event()

    async def call(subject: str) -> None:
        async with limits.slot(subject):
            await release.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(call("greedy"))
        await asyncio.sleep(0)
        group.create_task(call("greedy"))
        await asyncio.sleep(0)
        with pytest.raises(ToolCallError, match="waiting"):
            await call("greedy")
        modest = group.create_task(call("modest"))
        await asyncio.sleep(0)
        assert not modest.done()
        release.set()


async def test_a_place_that_is_given_to_a_call_as_it_is_cancelled_is_not_lost() -> None:
    limits = Limits(Settings(max_concurrency=1))

    async def call() -> None:
        async with limits.slot("me"):
            pass

    async with limits.slot("me"):
        waiting = asyncio.create_task(call())
        await asyncio.sleep(0)
    waiting.cancel()  # after the place was given, before the call went on
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(5):
        await call()


async def test_a_place_is_not_given_to_a_call_that_was_cancelled_and_has_not_heard_of_it() -> None:
    limits = Limits(Settings(max_concurrency=1))
    ended: list[str] = []

    async def call(name: str) -> None:
        async with limits.slot("me"):
            ended.append(name)

    async with limits.slot("me"):
        first, second = asyncio.create_task(call("first")), asyncio.create_task(call("second"))
        await asyncio.sleep(0)
        first.cancel()
    async with asyncio.timeout(5):
        await second
        with pytest.raises(asyncio.CancelledError):
            await first
        await call("third")
    assert ended == ["second", "third"]


@pytest.mark.parametrize("seed", range(5))
async def test_no_place_is_lost_whatever_is_cancelled(seed: int) -> None:
    random = Random(seed)
    limits = Limits(Settings(max_concurrency=2))
    turns = [asyncio.Lock() for _ in range(2)]

    async def call(number: int) -> None:
        async with limits.slot(str(number % 3), turns[number] if number < 2 else None):
            await asyncio.sleep(0)

    for _ in range(30):
        calls = [asyncio.create_task(call(number)) for number in range(8)]
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        for one in calls:
            if random.random() < 0.5:
                one.cancel()
        async with asyncio.timeout(5):
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(end) for end in ends} <= {type(None), asyncio.CancelledError}
    assert not limits._waiting
    assert (limits._slots._free, dict(limits._slots._running), limits._slots._waiting) == (2, {}, {})


async def test_reading_resources_is_limited_too_and_asks_a_silent_provider_once() -> None:
    class Silent(ProbeProvider):
        asked = 0

        async def list_models_async(self) -> list[ModelInfo]:
            self.asked += 1
            raise ServerError("down", hint="x")

    provider = Silent()
    async with in_memory(serve(provider, calls_per_minute=4)) as client:
        await asyncio.gather(*(client.session.read_resource("llm://models") for _ in range(3)))
        await client.session.read_resource("llm://models")
        with pytest.raises(MCPError, match="tool calls a minute"):
            await client.session.read_resource("llm://models")
    assert provider.asked == 1
