"""`plan`: which target to ask, when to ask again, and when to give up. A pure generator."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from unified_llm.errors import (
    AuthenticationError,
    ConfigurationError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    OverloadedError,
    RequestTooLargeError,
    UnifiedLLMError,
    UnsupportedOptionError,
)
from unified_llm.policy.breaker import CircuitBreaker
from unified_llm.policy.retry import RetryBudget, RetryPolicy, pause_before
from unified_llm.responses import Attempt

__all__ = ["Outcome", "Send", "Step", "Target", "Wait", "is_the_targets_fault", "plan"]


class Target(NamedTuple):
    """One place a call can go: the provider's instance by `key`, and the model there (None: its default)."""

    key: str
    provider: str
    model: str | None = None

    @property
    def name(self) -> str:
        """``provider:model``, and which deployment, for messages."""
        deployment = f" ({self.key})" if self.key != self.provider else ""
        return f"{self.provider}:{self.model or ''}{deployment}"


@dataclass(slots=True)
class Send:
    """Ask `target`. `seconds_left` is the rest of the deadline, `expires` the clock's time at its end; or None."""

    target: Target
    attempt: int
    seconds_left: float | None = None
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for `seconds`. `error` is what made it necessary."""

    seconds: float
    target: Target
    error: UnifiedLLMError


@dataclass(slots=True)
class Outcome:
    """What came of a `Send`: a value, or an error. `delivered`: the caller has already seen part of the answer.
    `elsewhere`: another target answered (a hedged request), which says nothing of this one."""

    value: Any = None
    error: UnifiedLLMError | None = None
    delivered: bool = False
    elsewhere: bool = False


Step: TypeAlias = Send | Wait


@dataclass(slots=True)
class _Run:
    """One call in progress."""

    retry: RetryPolicy
    budget: RetryBudget
    clock: Callable[[], float]
    random: Callable[[], float]
    started: float
    attempts: list[Attempt] = field(default_factory=list)

    def send(self, target: Target, tries: int) -> Send:
        deadline = self.retry.deadline
        if deadline is None:
            return Send(target, tries)
        now = self.clock()
        left = deadline - max(0.0, now - self.started)
        return Send(target, tries, left, now + left)

    def left(self) -> float | None:
        if self.retry.deadline is None:
            return None
        # A clock that goes backwards must not stretch the deadline into the past.
        return self.retry.deadline - max(0.0, self.clock() - self.started)


def plan(
    targets: Sequence[Target],
    *,
    retry: RetryPolicy,
    budget: RetryBudget,
    clock: Callable[[], float],
    random: Callable[[], float],
    breakers: Mapping[Target, CircuitBreaker] | None = None,
    after_delivery: bool = False,
    started: float | None = None,
) -> Generator[Step, Outcome | None, tuple[Any, tuple[Attempt, ...]]]:
    """Ask the targets in order until one answers.

    Yields `Send` and `Wait`; expects an `Outcome` after each `Send`. Returns the value and the failed attempts
    before it. `breakers` has one for each target. `after_delivery` allows another target to start over after part of
    an answer was delivered. `started` is the clock's time from which the deadline counts, if not from the first step.

    Raises:
        UnifiedLLMError: the last error, with all of them in its `attempts`; or one that was thrown in instead of an
            `Outcome`, with those before it.
    """
    run = _Run(retry, budget, clock, random, clock() if started is None else started)
    failure: UnifiedLLMError | None = None
    for target in targets:
        breaker = None if breakers is None else breakers[target]
        if breaker is not None and breaker.state != "closed" and not breaker.allows(clock()):
            skipped = OverloadedError(
                f"{target.name} failed too often and is left alone for now",
                provider=target.provider,
                model=target.model,
                hint=f"it is tried again after {breaker.settings.seconds:g} s; add fallbacks=[...]",
            )
            run.attempts.append(_attempt(target, skipped))
            failure = failure or skipped
            continue
        try:
            outcome = yield from _ask(run, target, breaker)
        except UnifiedLLMError as refused:  # by a gate, which is asked before each request
            refused.attempts = tuple(run.attempts)
            raise refused from failure
        if outcome.error is None:
            return outcome.value, tuple(run.attempts)
        failure = outcome.error
        if (outcome.delivered and not after_delivery) or not _worth_another_target(failure):
            break
        if (left := run.left()) is not None and left <= 0:
            break
    if failure is None:
        raise ConfigurationError("there is no target to ask", hint="name a provider or a model")
    failure.attempts = tuple(run.attempts)
    raise failure


def _ask(run: _Run, target: Target, breaker: CircuitBreaker | None) -> Generator[Step, Outcome | None, Outcome]:
    """One target, as often as it deserves; the last outcome."""
    tries = 0
    while True:
        outcome = yield run.send(target, tries)
        if outcome is None:
            raise RuntimeError("plan() was not told what came of its last step")
        error = outcome.error
        if error is None:
            run.budget.succeeded()
            if breaker is not None and not outcome.elsewhere:
                breaker.succeeded()
            return outcome
        if breaker is not None:
            if is_the_targets_fault(error):
                breaker.failed(run.clock())
            else:
                breaker.succeeded()  # whoever refuses a request is well
        run.attempts.append(_attempt(target, error))
        pause = None if outcome.delivered else pause_before(run.retry, error, tries, run.random, run.left())
        if pause is None or not run.budget.spend():
            return outcome
        if breaker is not None and breaker.state == "open":
            return outcome
        yield Wait(pause, target, error)
        tries += 1


def _attempt(target: Target, error: UnifiedLLMError) -> Attempt:
    return Attempt(target.provider, target.model, type(error).__name__, error.message, error.status)


def is_the_targets_fault(error: UnifiedLLMError) -> bool:
    """Whether an error says something about the target, not about the request."""
    return error.retryable or isinstance(error, AuthenticationError)


# A request that one provider finds wrong is wrong everywhere, but for what depends on the model or its account.
_ELSEWHERE = (ContextLengthError, RequestTooLargeError, UnsupportedOptionError, ConfigurationError, ContentFilterError)


def _worth_another_target(error: UnifiedLLMError) -> bool:
    if isinstance(error, _ELSEWHERE) or error.retryable:
        return True
    return not isinstance(error, InvalidRequestError)
