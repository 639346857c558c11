"""Hedged requests: how many are sent, which answer counts, and that the other one is closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from testkit.wire_server import HANG, Answer, Pause, Request, WireServer, json_reply
from unified_llm import (
    APITimeoutError,
    BreakerSettings,
    Budget,
    CallInfo,
    ChatRequest,
    ChatResponse,
    InvalidRequestError,
    LLMProvider,
    ModelConfig,
    RetryPolicy,
    ServerError,
    UnifiedLLM,
    Usage,
    UsageRecord,
)

SOON = 0.1


def answer(text: str, **usage: int) -> Answer:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    told = {"usage": usage} if usage else {}
    return json_reply({"id": "c", "model": "m", "choices": [choice], **told})


FAILED = json_reply({"error": {"message": "no"}}, 500)


def client(server: WireServer, **options: Any) -> UnifiedLLM:
    retry = RetryPolicy(max_retries=0)
    return UnifiedLLM(base_url=server.url + "/v1", model="m", **{"retry": retry, "timeout": 20, **options})


def in_turn(*answers: Answer) -> Callable[[Request], Answer]:
    left = iter(answers)
    return lambda _: next(left)


async def test_a_slow_request_is_overtaken_and_closed() -> None:
    with WireServer(in_turn([HANG], answer("second"))) as server, client(server) as llm:
        started = time.monotonic()
        assert await llm.chat_async("Hi", hedge_after=SOON) == "second"
        assert time.monotonic() - started < 5
        assert len(server.requests) == 2
        assert await server.requests[0].wait_gone_async(1.0)
        await llm.aclose()


async def test_a_quick_request_is_sent_once() -> None:
    with WireServer(in_turn(answer("first"))) as server, client(server) as llm:
        assert await llm.chat_async("Hi", hedge_after=10) == "first"
        assert len(server.requests) == 1
        await llm.aclose()


async def test_the_second_request_goes_to_the_next_target() -> None:
    def by_model(request: Request) -> Answer:
        return answer("other") if request.json()["model"] == "other" else [HANG]

    with WireServer(by_model) as server:
        fallbacks = ["openai-compatible:other"]
        async with client(server, fallbacks=fallbacks, config=ModelConfig(hedge_after=SOON)) as llm:
            assert await llm.chat_async("Hi") == "other"
        assert [request.json()["model"] for request in server.requests] == ["m", "other"]


async def test_the_winner_is_the_one_that_counts() -> None:
    seen: list[tuple[str, str | None]] = []

    class Watch:
        def on_request(self, info: CallInfo) -> None:
            seen.append(("request", info.model))

        def on_response(self, info: CallInfo, response: object) -> None:
            seen.append(("response", info.model))

        def on_end(self, info: CallInfo) -> None:
            seen.append(("end", info.model))

    def by_model(request: Request) -> Answer:
        return answer("other") if request.json()["model"] == "other" else [HANG]

    with WireServer(by_model) as server:
        async with client(server, fallbacks=["openai-compatible:other"], hedge_after=SOON, hooks=[Watch()]) as llm:
            await llm.chat_async("Hi")
            totals = llm.usage.by_model()
    assert {model: (one.calls, one.partial_calls) for model, one in totals.items()} == {
        "openai-compatible:m": (1, 1),  # it lost, and is billed all the same
        "openai-compatible:other": (1, 0),
    }
    expected = [("request", "m"), ("request", "other"), ("end", "other"), ("response", "other"), ("end", "other")]
    assert seen == expected


async def test_the_first_may_still_win() -> None:
    with WireServer(in_turn([Pause(3 * SOON), *answer("first")], [HANG])) as server, client(server) as llm:
        assert await llm.chat_async("Hi", hedge_after=SOON) == "first"
        assert await server.requests[1].wait_gone_async(1.0)
        await llm.aclose()


@pytest.mark.parametrize("first_fails", [True, False])
async def test_one_failure_of_two_is_none(first_fails: bool) -> None:
    slow_failure, slow_answer = [Pause(3 * SOON), *FAILED], [Pause(3 * SOON), *answer("it")]
    answers = (slow_failure, slow_answer) if first_fails else (slow_answer, FAILED)
    with WireServer(in_turn(*answers)) as server, client(server) as llm:
        assert await llm.chat_async("Hi", hedge_after=SOON) == "it"
        assert len(server.requests) == 2
        await llm.aclose()


async def test_two_failures_are_one_and_are_tried_again() -> None:
    slow = [Pause(2 * SOON), *FAILED]
    retry = RetryPolicy(max_retries=1, base=0)
    with WireServer(lambda _: slow) as server, client(server, retry=retry) as llm:
        with pytest.raises(ServerError) as caught:
            await llm.chat_async("Hi", hedge_after=SOON)
        assert len(server.requests) == 4
        assert len(caught.value.attempts) == 2
        await llm.aclose()


async def test_the_deadline_and_a_cancellation_close_both() -> None:
    with WireServer(lambda _: [HANG]) as server, client(server) as llm:
        with pytest.raises(APITimeoutError, match="deadline"):
            await llm.chat_async("Hi", hedge_after=SOON, deadline=4 * SOON)
        task = asyncio.create_task(llm.chat_async("Hi", hedge_after=SOON))
        await server.wait_requests_async(4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all([await request.wait_gone_async(1.0) for request in server.requests])
        await llm.aclose()


@pytest.mark.parametrize("second_wins", [True, False])
async def test_the_request_that_lost_is_billed_with_what_is_known_of_it(second_wins: bool) -> None:
    """Its prompt was read; how much of an answer was generated, nobody told: unknown, and not nothing."""
    records: list[UsageRecord] = []
    budget = Budget(tokens=10_000)
    told = answer("it", prompt_tokens=100, completion_tokens=7)
    answers = ([HANG], told) if second_wins else ([Pause(3 * SOON), *told], [HANG])
    with WireServer(in_turn(*answers)) as server:
        async with client(server, hooks=[budget], on_usage=records.append) as llm:
            assert await llm.chat_async("word " * 80, hedge_after=SOON) == "it"
    lost, won = records
    assert (lost.partial, won.partial) == (True, False)
    assert (won.usage.input_tokens, won.usage.output_tokens) == (100, 7)
    assert 90 <= (lost.usage.input_tokens or 0) <= 110
    assert lost.usage.output_tokens is None
    assert lost.cost is None
    assert lost.finish_reason == "cancelled"
    assert budget.spent_tokens == 107 + (lost.usage.input_tokens or 0)
    assert budget._coming_tokens == 0


async def test_a_request_that_lost_by_a_hair_is_billed_with_all_it_said() -> None:
    """Both answers are there when the loop looks: what the other one took is known."""
    records: list[UsageRecord] = []
    both = asyncio.Barrier(2)

    class Even(LLMProvider):
        name = "even"

        def chat(self, request: ChatRequest) -> ChatResponse:
            raise NotImplementedError

        async def chat_async(self, request: ChatRequest) -> ChatResponse:
            await both.wait()
            return ChatResponse("it", provider="even", model=request.model, usage=Usage(10, 5), cost=0.25)

    llm = UnifiedLLM(Even(), model="m", on_usage=records.append)
    assert await llm.chat_async("Hi", hedge_after=0.01) == "it"
    assert [(r.partial, r.usage.total_tokens, r.cost) for r in records] == [(True, 15, 0.25), (False, 15, 0.25)]
    assert llm.usage.total().cost == 0.5


async def test_a_second_request_that_a_budget_does_not_allow_is_not_sent() -> None:
    budget = Budget(tokens=150)
    with WireServer(in_turn([Pause(4 * SOON), *answer("first")])) as server:
        async with client(server, hooks=[budget]) as llm:
            assert await llm.chat_async("word " * 80, hedge_after=SOON, max_tokens=10) == "first"
        assert len(server.requests) == 1
    assert budget._coming_tokens == 0


async def test_a_gate_that_refuses_the_second_request_does_not_break_the_call() -> None:
    class OnlyOne:
        calls = 0

        def before_call(self, info: CallInfo) -> None:
            self.calls += 1
            if self.calls > 1:
                raise PermissionError("one is enough")

    with WireServer(in_turn([Pause(4 * SOON), *answer("first")])) as server:
        async with client(server, hooks=[OnlyOne()]) as llm:
            assert await llm.chat_async("Hi", hedge_after=SOON) == "first"
        assert len(server.requests) == 1


async def test_what_cannot_be_hedged_says_so() -> None:
    llm = UnifiedLLM("offline")
    for response in (
        llm.chat("Hi", hedge_after=1),
        llm.stream("Hi", hedge_after=1).get_response(),
        await llm.stream_async("Hi", hedge_after=1).get_response(),
    ):
        assert [adjustment.what for adjustment in response.adjustments] == ["hedge_after"]
    assert (await llm.chat_async("Hi", hedge_after=1)).adjustments == ()
    with pytest.raises(InvalidRequestError, match="hedge_after"):
        await llm.chat_async("Hi", hedge_after=-1)


class Told(list[tuple[str, str | None]]):
    def on_request(self, info: CallInfo) -> None:
        self.append(("request", info.model))

    def on_partial(self, info: CallInfo, response: object) -> None:
        self.append(("partial", info.model))

    def on_error(self, info: CallInfo, error: BaseException) -> None:
        self.append((type(error).__name__, info.model))

    def on_response(self, info: CallInfo, response: object) -> None:
        self.append(("response", info.model))


async def test_hooks_hear_what_became_of_each_of_the_two() -> None:
    def by_model(request: Request) -> Answer:
        return {"other": answer("other"), "broken": FAILED}.get(
            request.json()["model"], [Pause(3 * SOON), *answer("m")]
        )

    for other, became in (
        ("other", [("partial", "m"), ("CancelledError", "m"), ("response", "other")]),
        ("broken", [("ServerError", "broken"), ("response", "m")]),
    ):
        told = Told()
        with WireServer(by_model) as server:
            async with client(server, fallbacks=[f"openai-compatible:{other}"], hooks=[told]) as llm:
                await llm.chat_async("Hi", hedge_after=SOON)
        assert told == [("request", "m"), ("request", other), *became]


async def test_the_second_request_leaves_a_target_alone_that_keeps_failing() -> None:
    def by_model(request: Request) -> Answer:
        return FAILED if request.json()["model"] == "broken" else [Pause(3 * SOON), *answer("m")]

    with WireServer(by_model) as server:
        options: dict[str, Any] = {"fallbacks": ["openai-compatible:broken"], "hedge_after": SOON}
        async with client(server, breaker=BreakerSettings(failures=1, seconds=60), **options) as llm:
            for _ in range(2):
                assert await llm.chat_async("Hi") == "m"
        assert [request.json()["model"] for request in server.requests] == ["m", "broken", "m", "m"]


async def test_an_answer_that_comes_in_the_moment_of_a_cancellation_counts() -> None:
    calls: list[asyncio.Task[Any]] = []

    class Crossing(LLMProvider):
        name = "crossing"

        def chat(self, request: ChatRequest) -> ChatResponse:
            raise NotImplementedError

        async def chat_async(self, request: ChatRequest) -> ChatResponse:
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(calls[0].cancel)
            return ChatResponse("it", provider="crossing", model=request.model, usage=Usage(10, 5))

    budget = Budget(tokens=10_000)
    llm = UnifiedLLM(Crossing(), model="m", hooks=[budget])
    calls.append(asyncio.create_task(llm.chat_async("Hi", hedge_after=20)))
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
    assert (budget.spent_tokens, budget._in_flight, llm.usage.total().partial_calls) == (15, 0, 1)
