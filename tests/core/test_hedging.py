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
    CallInfo,
    InvalidRequestError,
    ModelConfig,
    RetryPolicy,
    ServerError,
    UnifiedLLM,
)

SOON = 0.1


def answer(text: str) -> Answer:
    message = {"role": "assistant", "content": text}
    return json_reply({"id": "c", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]})


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
