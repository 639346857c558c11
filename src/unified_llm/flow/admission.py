"""Who may send now: the limits of each provider, shared by all calls of a client."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, Self

from unified_llm.errors import APITimeoutError, RateLimitError, UnifiedLLMError
from unified_llm.flow.gate import Gate
from unified_llm.forks import renew_in_child
from unified_llm.policy import Limits, Send, TokenBucket
from unified_llm.responses import Usage

if TYPE_CHECKING:
    from unified_llm.flow.hooks import CallInfo

__all__ = ["Admission", "Place"]


class Place:
    """A call that was let in. This one has no limits.

    `waiting` tells whether its turn is still to come: then `wait`, or `wait_async`, before sending anything.
    """

    __slots__ = ()

    waiting = False

    def wait(self) -> None:
        """Wait for the turn and the place. Raises `APITimeoutError` when no place comes free before the deadline."""

    async def wait_async(self) -> None:
        """`wait`, without blocking the event loop."""

    def used(self, usage: Usage) -> None:
        """Count the tokens that the call took, in the place of those it was thought to take."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: object) -> None: ...


FREE: Final = Place()


class _Meter:
    """The limits of one provider, in use. One lock for all of them, for which nobody waits who gives something back:
    see `Gate`."""

    __slots__ = ("_given_back", "_lock", "gate", "requests", "tokens")

    def __init__(self, limits: Limits, reclaim: Callable[[], object]) -> None:
        self.gate = Gate(limits.concurrency, reclaim=reclaim) if limits.concurrency else None
        self.requests = TokenBucket(limits.requests_per_minute) if limits.requests_per_minute else None
        self.tokens = TokenBucket(limits.tokens_per_minute) if limits.tokens_per_minute else None
        self._lock = self.gate.lock if self.gate is not None else threading.Lock()
        self._given_back: deque[tuple[int, int]] = deque()

    def begin(self, tokens: int, now: float) -> float | None:
        """Take the turn of a call of about so many tokens, and its place when the turn has come and one is free: then
        None, else the seconds until the turn comes."""
        gate = self.gate
        with self._lock:
            pause = self.requests.reserve(1, now) if self.requests is not None else 0.0
            if self.tokens is not None:
                by_tokens = self.tokens.reserve(tokens, now)
                if by_tokens > pause:  # noqa: PLR1730  # a comparison is cheaper than max()
                    pause = by_tokens
            inside = pause == 0.0 and (gate is None or gate.try_enter_locked())
        if self._given_back or (gate is not None and gate.left):
            self._settle()
        return None if inside else pause

    def end(self, tokens: int, *, inside: bool) -> None:
        """Leave, having taken so many tokens more than was thought (fewer, if negative)."""
        gate, back = self.gate, self._given_back
        if not self._lock.acquire(False):  # who holds it sees to what is noted, as in `Gate`
            if tokens and self.tokens is not None:
                back.append((0, -tokens))
            if inside and gate is not None:
                gate.left.append(None)
            self._settle()
            return
        try:
            if tokens and self.tokens is not None:
                self.tokens.adjust(tokens)
            granted = gate.leave_locked() if inside and gate is not None else None
        finally:
            self._lock.release()
        if granted is not None and gate is not None:
            gate.wake((granted,))
        if back or (gate is not None and gate.left):
            self._settle()

    def give_back(self, tokens: int) -> None:
        """Undo a reservation that was not used."""
        self._given_back.append((1, tokens))
        self._settle()

    def _settle(self) -> None:
        """See to what was given back, unless somebody holds the lock, who does it then."""
        gate, back = self.gate, self._given_back
        while (back or (gate is not None and gate.left)) and self._lock.acquire(False):  # as in `Gate`
            try:
                while back:
                    requests, tokens = back.popleft()
                    if requests and self.requests is not None:
                        self.requests.adjust(-requests)
                    if self.tokens is not None:
                        self.tokens.adjust(-tokens)
                granted = gate.settle_locked() if gate is not None and gate.left else None
            finally:
                self._lock.release()
            if granted and gate is not None:
                gate.wake(granted)


class Admission:
    """Lets calls through when their turn has come and a place is free. Thread-safe; made once per client.

    `reclaim` frees the places of calls that can end no more (see `Gate`).
    """

    def __init__(
        self,
        limits: Mapping[str, Limits],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        sleep_async: Callable[[float], Awaitable[None]],
        reclaim: Callable[[], object] = lambda: None,
    ) -> None:
        self.clock, self.sleep, self.sleep_async = clock, sleep, sleep_async
        self._limits, self._reclaim = limits, reclaim
        self._meters = {name: _Meter(given, reclaim) for name, given in limits.items()}
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`: who is in, and who waits, is so in the parent. The rates go on."""
        old = self._meters
        self._meters = {name: _Meter(given, self._reclaim) for name, given in self._limits.items()}
        for name, meter in self._meters.items():
            meter.requests, meter.tokens = old[name].requests, old[name].tokens

    def admitted(self, step: Send, info: CallInfo) -> Place:
        """A context manager that never blocks: within, the call has its turn, and a place unless it is `waiting`.

        Raises (on entering):
            RateLimitError: the turn would come after the deadline.
        """
        meter = self._meters.get(step.target.provider)
        if meter is None:
            return FREE
        return _Pass(self, meter, step, info.prompt_tokens() if meter.tokens is not None else 0)


class _Pass(Place):
    """One call's turn and place. A class, as generators cost more than the limits."""

    __slots__ = ("_admission", "_estimate", "_inside", "_meter", "_over", "_pause", "_step", "_used", "waiting")

    def __init__(self, admission: Admission, meter: _Meter, step: Send, estimate: int) -> None:
        self._admission, self._meter, self._step, self._estimate = admission, meter, step, estimate
        self._inside = self.waiting = self._over = False
        self._used: int | None = None

    def used(self, usage: Usage) -> None:
        given, taken = usage.input_tokens, usage.output_tokens
        if given is None and taken is None:
            self._used = self._estimate
        else:  # embeddings have no output
            self._used = (given or 0) + (taken or 0)

    def __enter__(self) -> Self:
        pause = self._meter.begin(self._estimate, self._admission.clock())
        if pause is None:
            self._inside = True
            return self
        left = self._step.seconds_left
        if left is not None and pause >= left and pause > 0:
            self._meter.give_back(self._estimate)
            raise _too_late(self._step, pause)
        self.waiting, self._pause = True, pause
        return self

    def wait(self) -> None:
        if self._pause:
            self._admission.sleep(self._pause)
        gate = self._meter.gate
        if gate is not None and not gate.enter(self._left()):
            raise _no_place(self._step, gate)
        self._inside, self.waiting = True, False

    async def wait_async(self) -> None:
        if self._pause:
            await self._admission.sleep_async(self._pause)
        gate = self._meter.gate
        if gate is not None and not await gate.enter_async(self._left()):
            raise _no_place(self._step, gate)
        self._inside, self.waiting = True, False

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: object) -> None:
        if self._over:  # a stream whose event loop was closed: it ends once more when it is dropped
            return
        self._over = True
        if self.waiting:  # nothing was sent
            self._meter.give_back(self._estimate)
            return
        more = 0
        if self._used is not None:
            more = self._used - self._estimate
        elif isinstance(value, UnifiedLLMError) and value.partial is None:
            more = -self._estimate  # what is refused takes no tokens
        self._meter.end(more, inside=self._inside)

    def _left(self) -> float | None:
        """What is left of the deadline after the pause."""
        left = self._step.seconds_left
        return left if left is None else max(0.0, left - self._pause)


def _too_late(step: Send, pause: float) -> RateLimitError:
    return RateLimitError(
        f"the client's own limit for {step.target.provider} allows this call in {pause:.1f} s, too late",
        provider=step.target.provider,
        retry_after=pause,
        retryable=False,
        hint="raise limits= or deadline=, or add fallbacks=[...]",
    )


def _no_place(step: Send, gate: Gate) -> APITimeoutError:
    return APITimeoutError(
        f"{gate.limit} calls to {step.target.provider} are in flight, its limit, and none ended before the deadline",
        provider=step.target.provider,
        hint="raise the concurrency in limits=, or the deadline",
    )
