"""Policy decides without sleeping: a virtual clock, scripted outcomes, exact numbers of requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unified_llm.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    UnifiedLLMError,
)
from unified_llm.policy import (
    BreakerSettings,
    CircuitBreaker,
    Limits,
    Outcome,
    RetryBudget,
    RetryPolicy,
    Send,
    Target,
    TokenBucket,
    Wait,
    plan,
)
from unified_llm.responses import Attempt

A, B = Target("a", "alpha", "m1"), Target("b", "beta", "m2")


class World:
    """A virtual clock, and the log of what the plan asked for."""

    def __init__(self, *, call_seconds: float = 1.0) -> None:
        self.now = 0.0
        self.call_seconds = call_seconds
        self.sent: list[str] = []
        self.waited: list[float] = []

    def run(
        self,
        outcomes: Sequence[UnifiedLLMError | str],
        targets: Sequence[Target] = (A,),
        retry: RetryPolicy | None = None,
        *,
        budget: RetryBudget | None = None,
        delivered: bool = False,
        **options: Any,
    ) -> tuple[Any, tuple[Attempt, ...]]:
        script = iter(outcomes)
        steps = plan(
            targets,
            retry=retry or RetryPolicy(),
            budget=budget or RetryBudget(),
            clock=lambda: self.now,
            random=lambda: 0.5,
            **options,
        )
        answer: Outcome | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # what a generator returns is Any
            if isinstance(step, Wait):
                self.waited.append(step.seconds)
                self.now += step.seconds
                answer = None
                continue
            assert isinstance(step, Send)
            self.sent.append(step.target.key)
            self.now += self.call_seconds
            given = next(script)
            failed = isinstance(given, UnifiedLLMError)
            answer = Outcome(error=given, delivered=delivered) if failed else Outcome(given)  # type: ignore[arg-type]


def test_a_success_is_one_request() -> None:
    world = World()
    assert world.run(["hi"]) == ("hi", ())
    assert (world.sent, world.waited) == (["a"], [])


@pytest.mark.parametrize("error", [RateLimitError, ServerError, OverloadedError, APIConnectionError, APITimeoutError])
def test_failures_that_may_pass_are_tried_again_with_growing_pauses(error: type[UnifiedLLMError]) -> None:
    world = World()
    value, attempts = world.run([error("no"), error("no"), "hi"])
    assert value == "hi"
    assert [a.error for a in attempts] == [error.__name__] * 2
    assert world.sent == ["a", "a", "a"]
    assert world.waited == [0.25, 0.5]


@pytest.mark.parametrize(
    "error", [AuthenticationError, InvalidRequestError, ModelNotFoundError, StreamInterruptedError, ContextLengthError]
)
def test_failures_that_will_not_pass_are_one_request(error: type[UnifiedLLMError]) -> None:
    world = World()
    with pytest.raises(error) as caught:
        world.run([error("no")])
    assert world.sent == ["a"]
    assert len(caught.value.attempts) == 1


def test_retries_end_and_the_error_lists_every_attempt() -> None:
    world = World()
    with pytest.raises(ServerError) as caught:
        world.run([ServerError("no", status=500)] * 3)
    assert world.sent == ["a"] * 3
    assert [a.status for a in caught.value.attempts] == [500, 500, 500]


def test_retry_after_is_obeyed_and_a_long_one_moves_on_at_once() -> None:
    world = World()
    world.run([RateLimitError("slow", retry_after=7), "hi"])
    assert world.waited == [pytest.approx(7.025)]
    world = World()
    assert world.run([RateLimitError("slow", retry_after=3600), "hi"], (A, B))[0] == "hi"
    assert (world.sent, world.waited) == (["a", "b"], [])


def test_a_nonsense_retry_after_is_no_negative_sleep() -> None:
    world = World()
    world.run([RateLimitError("slow", retry_after=-5), "hi"])
    assert world.waited[0] >= 0


@pytest.mark.parametrize("error", [AuthenticationError, ModelNotFoundError, ContextLengthError, APIConnectionError])
def test_what_depends_on_the_target_falls_back(error: type[UnifiedLLMError]) -> None:
    world = World()
    value, attempts = world.run([error("no"), "hi"], (A, B), RetryPolicy(max_retries=0))
    assert value == "hi"
    assert [(a.provider, a.error) for a in attempts] == [("alpha", error.__name__)]


def test_a_wrong_request_does_not_fall_back() -> None:
    world = World()
    with pytest.raises(InvalidRequestError):
        world.run([InvalidRequestError("no")], (A, B))
    assert world.sent == ["a"]


def test_after_the_first_delta_there_is_no_fallback_unless_asked_for() -> None:
    world = World()
    with pytest.raises(ServerError):
        world.run([ServerError("cut")], (A, B), delivered=True)
    assert world.sent == ["a"]
    world = World()
    assert world.run([ServerError("cut"), "hi"], (A, B), delivered=True, after_delivery=True)[0] == "hi"


def test_the_budget_of_retries_is_shared_and_earned_by_success() -> None:
    budget = RetryBudget(most=1, earn=0.5)
    world = World()
    with pytest.raises(ServerError):
        world.run([ServerError("no")] * 2, budget=budget)
    assert world.sent == ["a", "a"]
    world = World()
    with pytest.raises(ServerError):
        world.run([ServerError("no")], budget=budget)
    for _ in range(2):
        world.run(["hi"], budget=budget)
    assert budget.left == 1


def test_the_deadline_counts_calls_and_waits() -> None:
    world = World(call_seconds=3)
    with pytest.raises(ServerError):
        world.run([ServerError("no")] * 9, (A, B), RetryPolicy(max_retries=9, deadline=5, base=1))
    assert world.sent == ["a", "a"]
    assert world.now < 5 + 3


def test_a_breaker_opens_probes_once_and_closes() -> None:
    breaker = CircuitBreaker(BreakerSettings(failures=2, seconds=10))
    for _ in range(2):
        assert breaker.allows(0)
        breaker.failed(0)
    assert breaker.state == "open"
    assert not breaker.allows(9.9)
    assert breaker.allows(10)
    assert breaker.state == "half-open"
    assert not breaker.allows(10.1)
    breaker.failed(11)
    assert not breaker.allows(20)
    assert breaker.allows(21)
    breaker.succeeded()
    assert breaker.state == "closed"


def test_a_probe_whose_caller_vanished_does_not_block_for_ever() -> None:
    breaker = CircuitBreaker(BreakerSettings(failures=1, seconds=10))
    breaker.failed(0)
    assert breaker.allows(10)
    assert not breaker.allows(15)
    assert breaker.allows(20)


def test_an_open_breaker_sends_nothing_and_the_next_target_answers() -> None:
    breaker = CircuitBreaker(BreakerSettings(failures=1, seconds=10))
    breaker.failed(0)
    world = World()
    value, attempts = world.run(["hi"], (A, B), breakers={A: breaker, B: CircuitBreaker()})
    assert (value, world.sent) == ("hi", ["b"])
    assert "left alone" in attempts[0].reason
    with pytest.raises(OverloadedError):
        World().run([], (A,), breakers={A: breaker})


def test_a_breaker_opened_in_mid_call_stops_its_retries() -> None:
    breaker = CircuitBreaker(BreakerSettings(failures=2, seconds=10))
    world = World()
    with pytest.raises(ServerError):
        world.run([ServerError("no")] * 9, retry=RetryPolicy(max_retries=9), breakers={A: breaker})
    assert world.sent == ["a", "a"]


def test_a_bucket_keeps_an_average_and_queues_its_waiters() -> None:
    bucket = TokenBucket(60, burst=2)
    assert [bucket.reserve(1, 0.0) for _ in range(4)] == [0, 0, 1, 2]
    assert bucket.reserve(1, 4.0) == 0


def test_a_call_larger_than_the_bucket_passes_when_it_is_full_and_pays_later() -> None:
    bucket = TokenBucket(600, burst=100)
    assert bucket.reserve(300, 0.0) == 0
    assert bucket.reserve(10, 0.0) == pytest.approx(21)


@pytest.mark.parametrize("per_minute", [float("inf"), 1e300, 1e-300, 5e-324])
def test_rates_without_measure_never_give_a_pause_that_is_no_number(per_minute: float) -> None:
    bucket = TokenBucket(per_minute)
    pauses = [bucket.reserve(amount, now) for amount in (1, 5, 0, 10**9) for now in (0.0, 100.0, 50.0)]
    bucket.adjust(-7)
    assert all(pause >= 0 for pause in [*pauses, bucket.reserve(1, 200.0)])


reservations = st.lists(st.tuples(st.integers(0, 50), st.floats(0, 5)), min_size=1, max_size=30)


@given(reservations, st.floats(1, 6000))
def test_a_bucket_keeps_what_it_promises(calls: list[tuple[int, float]], per_minute: float) -> None:
    """Counted by hand: a level that refills with time, never above the burst, and goes down by what is taken."""
    bucket = TokenBucket(per_minute)
    level, now = bucket.burst, 0.0
    for amount, later in calls:
        now += later
        level = min(bucket.burst, level + later * bucket.rate) - amount
        needed = max(0.0, -level if amount <= bucket.burst else bucket.burst - amount - level)
        assert bucket.reserve(amount, now) == pytest.approx(needed / bucket.rate, abs=1e-6)


def test_a_clock_that_goes_backwards_refills_nothing() -> None:
    bucket = TokenBucket(60, burst=1)
    assert bucket.reserve(1, 100.0) == 0
    assert bucket.reserve(1, 50.0) == 1
    breaker = CircuitBreaker(BreakerSettings(failures=1, seconds=10))
    breaker.failed(100)
    assert not breaker.allows(50)
    assert breaker.allows(60)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Limits(concurrency=0),
        lambda: Limits(requests_per_minute=-1),
        lambda: RetryPolicy(max_retries=-1),
        lambda: RetryPolicy(deadline=0),
        lambda: BreakerSettings(failures=0),
    ],
)
def test_limits_that_cannot_be_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError):
        wrong()


errors = st.sampled_from([RateLimitError, ServerError, AuthenticationError, InvalidRequestError, ContextLengthError])
outcomes = st.lists(
    st.just("hi") | st.builds(lambda e, s: e("no", retry_after=s), errors, st.none() | st.floats(-1, 100)),
    min_size=1,
    max_size=5,
)


@given(outcomes, st.integers(0, 4), st.floats(0.5, 60), st.integers(1, 4), st.integers(0, 6))
def test_any_sequence_of_outcomes_ends_within_the_deadline_and_the_budget(
    script: list[UnifiedLLMError | str], retries: int, deadline: float, targets: int, budget: int
) -> None:
    world = World()
    endless = [*script, *[ServerError("no")] * 100]
    places = [Target(str(i), "p", "m") for i in range(targets)]
    retry = RetryPolicy(max_retries=retries, deadline=deadline)
    failed: UnifiedLLMError | None = None
    try:
        world.run(endless, places, retry, budget=RetryBudget(most=budget, earn=0))
    except UnifiedLLMError as error:
        failed = error
    assert failed is None or len(failed.attempts) == len(world.sent)
    assert 1 <= len(world.sent) <= targets * (retries + 1)
    assert len(world.waited) <= budget
    assert all(w >= 0 for w in world.waited)
    assert world.now <= deadline + world.call_seconds
