"""Who may send now: the limits of each provider, shared by all calls of a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

from unified_llm.errors import APITimeoutError, RateLimitError
from unified_llm.flow.gate import Gate
from unified_llm.policy import Limits, Send, TokenBucket

__all__ = ["Admission"]


class _Meter:
    """The limits of one provider, in use."""

    __slots__ = ("gate", "requests", "tokens")

    def __init__(self, limits: Limits) -> None:
        self.gate = Gate(limits.concurrency) if limits.concurrency else None
        self.requests = TokenBucket(limits.requests_per_minute) if limits.requests_per_minute else None
        self.tokens = TokenBucket(limits.tokens_per_minute) if limits.tokens_per_minute else None

    def wait(self, tokens: int, now: float) -> float:
        """Seconds until a call of about so many tokens may be sent; the place in the queue is taken."""
        by_requests = self.requests.reserve(1, now) if self.requests else 0.0
        by_tokens = self.tokens.reserve(tokens, now) if self.tokens else 0.0
        return max(by_requests, by_tokens)

    def give_back(self, tokens: int) -> None:
        """Undo a reservation that was not used."""
        if self.requests:
            self.requests.adjust(-1)
        if self.tokens:
            self.tokens.adjust(-tokens)


class Admission:
    """Lets calls through when their turn has come and a place is free. Thread-safe; made once per client."""

    def __init__(
        self,
        limits: Mapping[str, Limits],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        sleep_async: Callable[[float], Awaitable[None]],
    ) -> None:
        self._clock, self._sleep, self._sleep_async = clock, sleep, sleep_async
        self._meters = {name: _Meter(given) for name, given in limits.items()}

    @contextmanager
    def admitted(self, step: Send, tokens: int) -> Iterator[None]:
        """Within, the call may be sent: its turn has come and a place is free.

        Raises:
            RateLimitError: the turn would come after the deadline.
            APITimeoutError: no place came free before the deadline.
        """
        meter = self._meters.get(step.target.provider)
        if meter is None:
            yield
            return
        pause = self._turn(meter, step, tokens)
        if pause:
            self._sleep(pause)
        if meter.gate is None:
            yield
            return
        if not meter.gate.enter(step.seconds_left):
            raise _no_place(step, meter.gate)
        try:
            yield
        finally:
            meter.gate.leave()

    @asynccontextmanager
    async def admitted_async(self, step: Send, tokens: int) -> AsyncIterator[None]:
        """`admitted` for an event loop."""
        meter = self._meters.get(step.target.provider)
        if meter is None:
            yield
            return
        pause = self._turn(meter, step, tokens)
        if pause:
            await self._sleep_async(pause)
        if meter.gate is None:
            yield
            return
        if not await meter.gate.enter_async(step.seconds_left):
            raise _no_place(step, meter.gate)
        try:
            yield
        finally:
            meter.gate.leave()

    def _turn(self, meter: _Meter, step: Send, tokens: int) -> float:
        pause = meter.wait(tokens, self._clock())
        if step.seconds_left is not None and pause >= step.seconds_left:
            meter.give_back(tokens)
            raise RateLimitError(
                f"the client's own limit for {step.target.provider} allows this call in {pause:.1f} s, too late",
                provider=step.target.provider,
                retry_after=pause,
                retryable=False,
                hint="raise limits= or deadline=, or add fallbacks=[...]",
            )
        return pause

    def used(self, provider: str, estimated: int, actual: int | None) -> None:
        """Correct the tokens a call was thought to take."""
        meter = self._meters.get(provider)
        if meter is not None and meter.tokens is not None and actual is not None:
            meter.tokens.adjust(actual - estimated)

    @property
    def limited(self) -> bool:
        """Whether any provider has limits (then calls must be measured)."""
        return bool(self._meters)


def _no_place(step: Send, gate: Gate) -> APITimeoutError:
    return APITimeoutError(
        f"{gate.limit} calls to {step.target.provider} are in flight, its limit, and none ended before the deadline",
        provider=step.target.provider,
        hint="raise the concurrency in limits=, or the deadline",
    )
