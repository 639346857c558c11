"""Who may send now: the limits of each provider, shared by all calls of a client."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Self

from unified_llm.errors import APITimeoutError, RateLimitError, UnifiedLLMError
from unified_llm.flow.gate import Gate
from unified_llm.policy import Limits, Send, TokenBucket
from unified_llm.preparation import approximate_tokens
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import Usage

__all__ = ["Admission", "Place"]


class Place:
    """A call that was let in. This one has no limits."""

    __slots__ = ()

    def used(self, usage: Usage) -> None:
        """Count the tokens that the call took, in the place of those it was thought to take."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: object) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, _: object) -> None: ...


FREE: Final = Place()


class _Meter:
    """The limits of one provider, in use."""

    __slots__ = ("_lock", "gate", "requests", "tokens")

    def __init__(self, limits: Limits) -> None:
        self._lock = threading.Lock()
        self.gate = Gate(limits.concurrency) if limits.concurrency else None
        self.requests = TokenBucket(limits.requests_per_minute) if limits.requests_per_minute else None
        self.tokens = TokenBucket(limits.tokens_per_minute) if limits.tokens_per_minute else None

    def wait(self, tokens: int, now: float) -> float:
        """Seconds until a call of about so many tokens may be sent; the place in the queue is taken."""
        with self._lock:
            by_requests = self.requests.reserve(1, now) if self.requests else 0.0
            by_tokens = self.tokens.reserve(tokens, now) if self.tokens else 0.0
        return max(by_requests, by_tokens)

    def give_back(self, tokens: int) -> None:
        """Undo a reservation that was not used."""
        with self._lock:
            if self.requests:
                self.requests.adjust(-1)
            if self.tokens:
                self.tokens.adjust(-tokens)

    def correct(self, tokens: int) -> None:
        """Take so many tokens more than was thought, or give them back if negative."""
        if self.tokens:
            with self._lock:
                self.tokens.adjust(tokens)


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
        self.clock, self.sleep, self.sleep_async = clock, sleep, sleep_async
        self._meters = {name: _Meter(given) for name, given in limits.items()}

    def admitted(self, step: Send, request: ChatRequest | EmbedRequest) -> Place:
        """A context manager, sync and async: within, the call may be sent, its turn has come and a place is free.

        Raises (on entering):
            RateLimitError: the turn would come after the deadline.
            APITimeoutError: no place came free before the deadline.
        """
        meter = self._meters.get(step.target.provider)
        return FREE if meter is None else _Pass(self, meter, step, request)

    def turn(self, meter: _Meter, step: Send, tokens: int) -> float:
        """Seconds until a call of about so many tokens may be sent. Raises `RateLimitError`."""
        pause = meter.wait(tokens, self.clock())
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


class _Pass(Place):
    """One call's turn and place; both kinds of context manager. A class, as generators cost more than the limits."""

    __slots__ = ("_admission", "_counted", "_estimate", "_gate", "_meter", "_step")

    def __init__(self, admission: Admission, meter: _Meter, step: Send, request: ChatRequest | EmbedRequest) -> None:
        self._admission, self._meter, self._step = admission, meter, step
        self._gate = meter.gate
        self._estimate = approximate_tokens(request) if meter.tokens else 0
        self._counted = False

    def used(self, usage: Usage) -> None:
        known = [count for count in (usage.input_tokens, usage.output_tokens) if count is not None]
        self._counted = True
        if known:  # embeddings have no output
            self._meter.correct(sum(known) - self._estimate)

    def __enter__(self) -> Self:
        pause = self._admission.turn(self._meter, self._step, self._estimate)
        try:
            if pause:
                self._admission.sleep(pause)
            gate = self._gate
            if gate is not None and not gate.try_enter() and not gate.enter(self._left(pause)):
                raise _no_place(self._step, gate)
        except BaseException:
            self._meter.give_back(self._estimate)  # nothing was sent
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: object) -> None:
        self._leave(value)

    async def __aenter__(self) -> Self:
        pause = self._admission.turn(self._meter, self._step, self._estimate)
        try:
            if pause:
                await self._admission.sleep_async(pause)
            gate = self._gate
            if gate is not None and not gate.try_enter() and not await gate.enter_async(self._left(pause)):
                raise _no_place(self._step, gate)
        except BaseException:
            self._meter.give_back(self._estimate)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, _: object) -> None:
        self._leave(value)

    def _left(self, pause: float) -> float | None:
        """What is left of the deadline after a pause."""
        left = self._step.seconds_left
        return left if left is None else max(0.0, left - pause)

    def _leave(self, failure: BaseException | None) -> None:
        if self._gate is not None:
            self._gate.leave()
        if isinstance(failure, UnifiedLLMError) and failure.partial is None and not self._counted:
            self._meter.correct(-self._estimate)  # what is refused takes no tokens


def _no_place(step: Send, gate: Gate) -> APITimeoutError:
    return APITimeoutError(
        f"{gate.limit} calls to {step.target.provider} are in flight, its limit, and none ended before the deadline",
        provider=step.target.provider,
        hint="raise the concurrency in limits=, or the deadline",
    )
