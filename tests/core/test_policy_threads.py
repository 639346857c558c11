"""Breakers, the retry budget, budgets and limits, used from many threads at once: no count is lost, one call probes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from unified_llm import Budget, BudgetExceeded, CallInfo, Limits
from unified_llm.messages import Message
from unified_llm.policy import BreakerSettings, CircuitBreaker, RetryBudget
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse, Usage
from unified_llm.testing import FakeLLM, Reply

THREADS = 8


@pytest.fixture(autouse=True)
def _often_switching() -> Iterator[None]:
    """Threads change places as often as they can: a lock that is missing shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """What `work` gives in each of several threads, which start at the same moment."""
    results: list[Any] = [None] * threads
    start = threading.Barrier(threads)

    def run(number: int) -> None:
        start.wait(10)
        results[number] = work(number)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(50)
    return results


def looked_at(lock: Any) -> Any:
    """A lock that counts how often it is taken."""

    class Counting:
        taken = 0

        def __enter__(self) -> None:
            lock.acquire()
            self.taken += 1

        def __exit__(self, *_: object) -> None:
            lock.release()

    return Counting()


def _asks(breaker: CircuitBreaker, _: int) -> bool:
    return breaker.allows(10.0)


def times(count: int, work: Callable[[], object]) -> Callable[[int], None]:
    """Work for `together`: the same thing many times."""

    def repeat(_: int) -> None:
        for _ in range(count):
            work()

    return repeat


def test_only_one_of_many_threads_probes_a_breaker() -> None:
    for _ in range(200):
        breaker = CircuitBreaker(BreakerSettings(failures=1, seconds=10))
        breaker.failed(0.0)
        assert sum(together(partial(_asks, breaker), 4)) == 1


def test_a_breaker_counts_every_failure_of_every_thread() -> None:
    breaker = CircuitBreaker(BreakerSettings(failures=10**9))
    together(times(2000, lambda: breaker.failed(0.0)))
    assert breaker._failures == THREADS * 2000


def test_many_threads_never_spend_more_retries_than_there_are() -> None:
    budget = RetryBudget(most=1000, earn=0)
    spent = together(lambda _: sum(budget.spend() for _ in range(1000)))
    assert sum(spent) == 1000
    assert budget.left == 0


def test_earned_retries_are_never_more_than_the_most_and_none_is_lost() -> None:
    budget = RetryBudget(most=THREADS * 500, earn=1.0)
    together(times(500, budget.spend))
    assert budget.left == 0
    together(times(500, budget.succeeded))
    assert budget.left == THREADS * 500


def test_every_change_of_a_breaker_and_of_the_retry_budget_is_under_its_lock() -> None:
    """Threads rarely meet between two bytecodes: this does not depend on luck."""
    breaker = CircuitBreaker(BreakerSettings(failures=1, seconds=0))
    breaker._lock = counted = looked_at(breaker._lock)
    breaker.failed(0.0)
    breaker.allows(0.0)
    breaker.succeeded()
    assert counted.taken == 3
    budget = RetryBudget()
    budget._lock = counted = looked_at(budget._lock)
    budget.spend()
    budget.succeeded()
    assert counted.taken == 2


def test_budgets_shared_by_threads_and_clients_count_every_token_and_hold_nothing_back() -> None:
    tokens, usd = Budget(tokens=10**9), Budget(usd=10**6)
    request = ChatRequest("m", (Message("user", "Hello"),))

    def call(_: int) -> None:
        llm = FakeLLM("x", hooks=[tokens, usd])
        for _ in range(300):
            info = CallInfo("chat", "p", "m", request=request)
            llm._flow.hooks.call("before_call", info)
            llm._flow.hooks.call("on_response", info, ChatResponse("hi", usage=Usage(3, 2), cost=0.5))
            llm._flow.hooks.call("on_end", info)

    together(call)
    for budget in (tokens, usd):
        assert budget.spent_tokens == THREADS * 300 * 5
        assert budget.spent_usd == THREADS * 300 * 0.5
        assert (budget._in_flight, budget._coming_tokens, budget._coming_usd) == (0, 0, 0.0)


def test_threads_stay_within_a_budget_together() -> None:
    budget = Budget(tokens=100)
    llm = FakeLLM(*[Reply("hi", usage={"prompt_tokens": 5, "completion_tokens": 5})] * 64, hooks=[budget])

    def call(_: int) -> int:
        answered = 0
        for _ in range(8):
            try:
                llm.chat("Hi", max_tokens=5)
            except BudgetExceeded:
                continue
            answered += 1
        return answered

    together(call)
    assert budget.spent_tokens <= 100
    assert budget.spent_tokens == llm.usage.total().usage.total_tokens


def test_a_limit_shared_by_threads_is_left_as_it_was() -> None:
    limits = Limits(concurrency=3, requests_per_minute=1e9, tokens_per_minute=1e12)
    llm = FakeLLM(*["hi"] * (THREADS * 40), limits={"offline": limits}, strategy="least_busy")
    together(times(40, lambda: llm.chat("x")))
    gate = llm._flow.admission._meters["offline"].gate
    assert gate is not None
    assert gate.inside == 0
