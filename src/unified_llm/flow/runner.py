"""`Flow`: carries out the steps of `policy.plan`, sync and async, for everything a client sends."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar

from unified_llm.errors import APITimeoutError, StreamInterruptedError, UnifiedLLMError, first_token_late
from unified_llm.flow.admission import Admission
from unified_llm.flow.deadlines import DeadlineExpired, in_time, late, scope_of, within
from unified_llm.flow.hooks import CallInfo, HookList
from unified_llm.flow.open_streams import OpenStreams
from unified_llm.policy import (
    BreakerSettings,
    CircuitBreaker,
    Limits,
    Outcome,
    RetryBudget,
    RetryPolicy,
    Send,
    Step,
    Target,
    Wait,
    plan,
)
from unified_llm.policy.plan import is_the_targets_fault
from unified_llm.responses import Attempt, ChatResponse
from unified_llm.stream import PRELUDE, StreamEnd, StreamEvent

__all__ = ["Answered", "Flow", "FlowSettings"]

T = TypeVar("T")


class Answered(NamedTuple, Generic[T]):
    """A value, and the attempts that failed before it."""

    value: T
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """How a client behaves when things go wrong.

    Attributes:
        retry: retries and the deadline.
        breaker: circuit breaker of each target, or None for none.
        limits: provider name to its limits.
        fallback_after_delivery: start over on the next target even when part of a stream was delivered.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: BreakerSettings | None = None
    limits: Mapping[str, Limits] = field(default_factory=dict)
    fallback_after_delivery: bool = False


class Flow:
    """One per client: its breakers, limits, retry budget and hooks are shared by all its calls. Thread-safe."""

    def __init__(
        self,
        settings: FlowSettings | None = None,
        hooks: Sequence[object] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        sleep_async: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings or FlowSettings()
        self.hooks = HookList(hooks, clock=clock)
        self.budget = RetryBudget()
        self.clock = clock
        self._sleep = sleep
        self._sleep_async = sleep_async
        self._breakers = None if self.settings.breaker is None else _Breakers(self.settings.breaker)
        self.open_streams = OpenStreams()
        self.admission = Admission(
            self.settings.limits,
            clock=clock,
            sleep=sleep,
            sleep_async=sleep_async,
            reclaim=self.open_streams.reclaim,
        )

    def expiry(self, started: float, deadline: float | None) -> float | None:
        """When the call that began at `started` must have ended, by the clock; `deadline` is its own, or None."""
        seconds = self.settings.retry.deadline if deadline is None else deadline
        return None if seconds is None else started + seconds

    def in_time(self, expires: float | None, work: Callable[[], T]) -> T:
        """What blocking `work` gives, if it comes before the deadline. Raises `APITimeoutError`."""
        if expires is None:
            return work()
        seconds = expires - self.clock()
        try:
            return in_time(seconds, work)
        except DeadlineExpired as exc:
            raise late(seconds) from exc

    async def in_time_async(self, expires: float | None, work: Awaitable[T]) -> T:
        """`in_time` for an event loop."""
        return await _within(None if expires is None else max(0.0, expires - self.clock()), work)

    # -- the loops: the same steps, for a value and for a stream, sync and async ------------------------------------

    def run(self, targets: Sequence[Target], info: CallInfo, ask: Callable[[Send], T], **retry: Any) -> Answered[T]:
        """Ask the targets until one answers; the answer, and what failed before it."""
        steps = self._steps(targets, info, **retry)
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return Answered(*done.value)
            if isinstance(step, Wait):
                self._pause(info, step)
                outcome = None
                continue
            try:
                self._announce(info, step, outcome, targets)
            except UnifiedLLMError as exc:
                steps.throw(exc)  # which adds what failed before
                raise
            try:
                outcome = Outcome(ask(step))
            except UnifiedLLMError as exc:
                self.hooks.call("on_error", info, exc)
                outcome = Outcome(error=exc)
            except BaseException as exc:
                self.hooks.call("on_error", info, exc)
                raise

    def stream(
        self, targets: Sequence[Target], info: CallInfo, ask: Callable[[Send], Iterator[StreamEvent]], **retry: Any
    ) -> Iterator[StreamEvent]:
        """`run` for a stream: events as they come; a failure before the first delta asks the next target."""
        steps = self._steps(targets, info, **retry)
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                yield _ended(*done.value)
                return
            if isinstance(step, Wait):
                self._pause(info, step)
                outcome = None
                continue
            try:
                self._announce(info, step, outcome, targets)
            except UnifiedLLMError as exc:
                steps.throw(exc)  # which adds what failed before
                raise
            end, delivered = None, False
            try:
                for event in ask(step):
                    if isinstance(event, StreamEnd):
                        end = event
                        continue
                    delivered = delivered or event.type not in PRELUDE
                    yield event
                    self._in_time(step)
                outcome = _finished(end)
            except UnifiedLLMError as exc:
                self.hooks.call("on_error", info, exc)
                outcome = Outcome(error=exc, delivered=delivered)
            except BaseException as exc:
                self.hooks.call("on_error", info, exc)
                raise

    async def run_async(
        self, targets: Sequence[Target], info: CallInfo, ask: Callable[[Send], Awaitable[T]], **retry: Any
    ) -> Answered[T]:
        """`run` for an event loop. A deadline also interrupts a request that is under way."""
        steps = self._steps(targets, info, **retry)
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return Answered(*done.value)
            if isinstance(step, Wait):
                await self._pause_async(info, step)
                outcome = None
                continue
            try:
                await self._announce_async(info, step, outcome, targets)
            except UnifiedLLMError as exc:
                steps.throw(exc)  # which adds what failed before
                raise
            scope = None if step.seconds_left is None else scope_of(step.seconds_left)
            try:
                outcome = Outcome(await ask(step))
                outcome.elsewhere = info.target is not step.target.key or info.model is not step.target.model
            except UnifiedLLMError as exc:
                outcome = Outcome(error=exc)
            except BaseException as exc:
                if not isinstance(exc, asyncio.CancelledError) or scope is None or not scope.expired_by():
                    await self.hooks.call_async("on_error", info, exc)
                    raise
                outcome = Outcome(error=_caused(late(step.seconds_left or 0.0), exc))
            finally:
                if scope is not None:
                    scope.leave()
            if outcome.error is not None:
                await self.hooks.call_async("on_error", info, outcome.error)

    async def stream_async(
        self,
        targets: Sequence[Target],
        info: CallInfo,
        ask: Callable[[Send], AsyncGenerator[StreamEvent, None]],
        first_token: float | None = None,
        **retry: Any,
    ) -> AsyncGenerator[StreamEvent, None]:
        """`stream` for an event loop."""
        steps = self._steps(targets, info, **retry)
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                yield _ended(*done.value)
                return
            if isinstance(step, Wait):
                await self._pause_async(info, step)
                outcome = None
                continue
            try:
                await self._announce_async(info, step, outcome, targets)
            except UnifiedLLMError as exc:
                steps.throw(exc)  # which adds what failed before
                raise
            end, delivered = None, False
            try:
                # Dropping an async generator closes it whenever the loop gets to it; the upstream must close now.
                async with aclosing(ask(step)) as events:
                    endless = step.seconds_left is None and first_token is None
                    async for event in (
                        events if endless else _each_within(step.seconds_left, first_token, self.clock, events)
                    ):
                        if isinstance(event, StreamEnd):
                            end = event
                            continue
                        delivered = delivered or event.type not in PRELUDE
                        yield event
                outcome = _finished(end)
            except UnifiedLLMError as exc:
                await self.hooks.call_async("on_error", info, exc)
                outcome = Outcome(error=exc, delivered=delivered)
            except BaseException as exc:
                await self.hooks.call_async("on_error", info, exc)
                raise

    def is_well(self, target: Target) -> bool:
        """Whether no breaker keeps calls from `target`."""
        return self._breakers is None or self._breakers[target].state == "closed"

    def note(self, target: Target, error: BaseException | None) -> None:
        """Tell the breaker of `target` what came of a request that the plan does not know of."""
        if self._breakers is None:
            return
        if error is None:
            self._breakers[target].succeeded()
        elif isinstance(error, UnifiedLLMError) and is_the_targets_fault(error):
            self._breakers[target].failed(self.clock())

    def _pause(self, info: CallInfo, step: Wait) -> None:
        self.hooks.call("on_retry", info, step.error, step.seconds)
        self._sleep(step.seconds)

    async def _pause_async(self, info: CallInfo, step: Wait) -> None:
        await self.hooks.call_async("on_retry", info, step.error, step.seconds)
        await self._sleep_async(step.seconds)

    def _announce(self, info: CallInfo, step: Send, last: Outcome | None, targets: Sequence[Target]) -> None:
        is_new = _retarget(info, step)
        if step.attempt or last is not None:
            self.hooks.call("before_attempt", info)
        if is_new and step.target is not targets[0]:
            self.hooks.call("on_fallback", info, last.error if last is not None else None)
        self.hooks.call("on_request", info)

    async def _announce_async(
        self, info: CallInfo, step: Send, last: Outcome | None, targets: Sequence[Target]
    ) -> None:
        is_new = _retarget(info, step)
        if step.attempt or last is not None:
            await self.hooks.call_async("before_attempt", info)
        if is_new and step.target is not targets[0]:
            await self.hooks.call_async("on_fallback", info, last.error if last is not None else None)
        await self.hooks.call_async("on_request", info)

    def _steps(
        self,
        targets: Sequence[Target],
        info: CallInfo,
        max_retries: int | None = None,
        deadline: float | None = None,
    ) -> Generator[Step, Outcome | None, Any]:
        retry = self.settings.retry
        if max_retries is not None or deadline is not None:
            retry = replace(
                retry,
                max_retries=retry.max_retries if max_retries is None else max_retries,
                deadline=retry.deadline if deadline is None else deadline,
            )
        return plan(
            targets,
            retry=retry,
            budget=self.budget,
            clock=self.clock,
            random=random.random,
            breakers=self._breakers,
            after_delivery=self.settings.fallback_after_delivery,
            started=None if info.expires is None or retry.deadline is None else info.expires - retry.deadline,
        )

    def _in_time(self, step: Send) -> None:
        """A sync stream cannot be interrupted from outside: the deadline is looked at after each event."""
        if step.expires is not None and self.clock() > step.expires:
            raise late(step.seconds_left or 0.0)


def _retarget(info: CallInfo, step: Send) -> bool:
    key, provider, model = step.target
    changed = info.target != key or info.model != model
    info.target, info.provider, info.model, info.attempt = key, provider, model, step.attempt
    return changed


def _finished(end: StreamEnd | None) -> Outcome:
    if end is None:
        error = StreamInterruptedError(
            "the stream ended without an end event", hint="a provider's stream() must yield a StreamEnd last"
        )
        return Outcome(error=error, delivered=True)
    return Outcome(end.response)


def _ended(response: ChatResponse, attempts: tuple[Attempt, ...]) -> StreamEnd:
    return StreamEnd(response.with_details(attempts=attempts) if attempts else response)


def _caused(error: UnifiedLLMError, cause: BaseException) -> UnifiedLLMError:
    error.__cause__ = cause
    return error


class _Breakers(dict[Target, CircuitBreaker]):
    """The breaker of each target, made when it is first asked for: one model of a provider may be down while the
    others are well."""

    def __init__(self, settings: BreakerSettings) -> None:
        super().__init__()
        self._settings = settings

    def __missing__(self, target: Target) -> CircuitBreaker:
        return self.setdefault(target, CircuitBreaker(self._settings))


async def _each_within(
    seconds: float | None,
    first_token: float | None,
    clock: Callable[[], float],
    events: AsyncGenerator[StreamEvent, None],
) -> AsyncGenerator[StreamEvent, None]:
    """The events, as long as they come in time. The consumer's own time is not interrupted."""
    started = clock()
    while True:
        elapsed = clock() - started
        left = None if seconds is None else max(0.0, seconds - elapsed)
        try:
            if first_token is not None and (left is None or first_token - elapsed < left):
                event = await _first_within(first_token, elapsed, anext(events))
            elif left is not None:
                event = await _within(left, anext(events))
            else:
                event = await anext(events)
        except StopAsyncIteration:
            return
        if event.type not in PRELUDE:
            first_token = None
        yield event


async def _first_within(limit: float, elapsed: float, work: Awaitable[T]) -> T:
    try:
        return await _within(max(0.0, limit - elapsed), work)
    except APITimeoutError as exc:
        if not isinstance(exc.__cause__, DeadlineExpired):
            raise  # the driver's own, or a provider's
        raise first_token_late(limit) from exc.__cause__


async def _within(seconds: float | None, work: Awaitable[T]) -> T:
    if seconds is None:
        return await work
    try:
        return await within(seconds, work)
    except DeadlineExpired as exc:
        raise late(seconds) from exc
