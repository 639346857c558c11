"""The garbage collector ends a stream that was left half read, at any moment: also while its thread holds a lock."""

from __future__ import annotations

import gc
import threading
from collections import deque
from typing import Any

import pytest

from testkit.wire_server import HANG, WireServer, sse
from unified_llm import Budget, Limits, UnifiedLLM, forks
from unified_llm.drivers import sync_pool
from unified_llm.flow import Gate
from unified_llm.policy import TokenBucket
from unified_llm.testing import FakeLLM, Reply

WORDS = Reply("some words " * 20, usage={"prompt_tokens": 5, "completion_tokens": 5})
LIMITS = {"offline": Limits(2, requests_per_minute=1e9, tokens_per_minute=1e9)}


class Chat:
    """An object of an application, in a circle with itself: only the collector ends its stream."""

    def __init__(self, llm: UnifiedLLM) -> None:
        self.me = self
        self.stream = llm.stream("x")
        while next(self.stream).type != "text_delta":
            pass


class Collecting(TokenBucket):
    __slots__ = ()

    def reserve(self, amount: float, now: float) -> float:
        gc.collect()
        return super().reserve(amount, now)


class CollectingNotes(deque[Any]):
    def append(self, item: Any, /) -> None:
        gc.collect()
        super().append(item)


class CollectingBudget(Budget):
    def _hold(self, tokens: int, usd: float) -> bool:
        gc.collect()
        return super()._hold(tokens, usd)


@pytest.mark.parametrize("where", ["limits", "ledger", "budget"])
def test_a_stream_that_the_collector_ends_within_a_lock_gives_back_all_it_held(where: str) -> None:
    budget = (CollectingBudget if where == "budget" else Budget)(tokens=10**6)
    llm = FakeLLM(WORDS, WORDS, hooks=[budget], limits=LIMITS)
    meter = llm._flow.admission._meters["offline"]
    gc.collect()
    gc.disable()
    try:
        Chat(llm)
        assert meter.gate is not None
        assert meter.gate.inside == 1
        if where == "limits":
            meter.requests = Collecting(1e9)
        elif where == "ledger":
            llm.usage._waiting = CollectingNotes()
        calling = threading.Thread(target=llm.chat, args=("y",), daemon=True)
        calling.start()
        calling.join(10)
        assert not calling.is_alive()
    finally:
        gc.enable()
    assert (meter.gate.inside, budget._in_flight, budget._coming_tokens) == (0, 0, 0)
    totals = llm.usage.total()
    assert (totals.calls, totals.partial_calls) == (2, 1)
    assert budget.spent_tokens == totals.usage.total_tokens


def test_who_leaves_a_gate_does_not_wait_for_it() -> None:
    gate = Gate(1)
    assert gate.try_enter()
    with gate.lock:
        leaving = threading.Thread(target=gate.leave, daemon=True)
        leaving.start()
        leaving.join(10)
        assert not leaving.is_alive()
    assert not gate.try_enter()  # it holds the lock, and sees to who left
    assert gate.inside == 0
    assert gate.try_enter()


def test_a_place_that_comes_free_while_somebody_joins_the_line_is_theirs() -> None:
    gate = Gate(1)
    assert gate.try_enter()

    class Line(deque[Any]):
        def append(self, item: Any, /) -> None:
            gate.leave()  # the collector, within the lock
            super().append(item)

    gate._queue = Line()
    assert gate.enter(20)
    assert gate.inside == 1


def test_a_connection_of_a_stream_that_the_collector_ends_is_given_back_within_the_pool_too() -> None:
    delta = {"id": "c", "choices": [{"index": 0, "delta": {"content": "some words"}, "finish_reason": None}]}
    steps = [*sse([delta], end=False), HANG]

    class Idle(deque[Any]):
        def __bool__(self) -> bool:
            gc.collect()
            return bool(len(self))

    with WireServer(lambda _: steps) as server, UnifiedLLM(base_url=server.url + "/v1", model="m") as llm:
        gc.disable()
        try:
            Chat(llm)
            for pool in [one for known in list(forks._KNOWN) if isinstance(one := known(), sync_pool.Pool)]:
                pool._idle = Idle(pool._idle)
            calling = threading.Thread(target=Chat, args=(llm,), daemon=True)
            calling.start()
            calling.join(10)
            assert not calling.is_alive()
        finally:
            gc.enable()
        gc.collect()
        assert len(server.requests) == 2
