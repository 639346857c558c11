"""Client-side limits: requests and tokens per minute, shared by everybody who uses the client."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unified_llm.policy.numbers import check_number

__all__ = ["Limits", "TokenBucket"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one provider; None means no limit.

    Attributes:
        concurrency: most calls in flight.
        requests_per_minute, tokens_per_minute: averages; a burst of a sixth of a minute's worth is allowed.
    """

    concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def __post_init__(self) -> None:
        for name in ("concurrency", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None:
                check_number(name, value, above=0, whole=name == "concurrency", hint="leave it out for no limit")


class TokenBucket:
    """Says how long to wait so that an average rate is kept. Waiters queue: each reserves its turn when it asks.

    A call may take more than the bucket holds (a long prompt): it then waits until the debt is paid.
    """

    __slots__ = ("_burst_seconds", "_due", "_each", "_seen", "burst", "rate")

    # Kept is not the level but when the bucket will be full again, from which it follows: one number to move (the
    # "generic cell rate algorithm" of ATM networks, ITU-T I.371).

    def __init__(self, per_minute: float, *, burst: float | None = None) -> None:
        self.rate = per_minute / 60.0
        self.burst = max(1.0, per_minute / 6.0 if burst is None else burst)
        self._each = 60.0 / per_minute
        self._burst_seconds = self.burst * self._each if self._each else math.inf  # any number of calls a minute
        self._due = self._seen = -math.inf

    def reserve(self, amount: float, now: float) -> float:
        """Take `amount`; return the seconds to wait before using it (0 when it is there)."""
        due = self._due
        if now < self._seen:  # a clock that goes backwards refills nothing
            due -= self._seen - now
        self._seen = now
        if due < now:  # noqa: PLR1730  # for each call, twice: a comparison is cheaper than max()
            due = now
        self._due = after = due + amount * self._each
        wait = after - now - self._burst_seconds
        if not wait > 0.0:  # also for rates that are next to nothing, for which it is no number
            return 0.0
        return wait if amount <= self.burst else due - now

    def adjust(self, amount: float) -> None:
        """Correct an estimate: positive takes more, negative gives back."""
        self._due += amount * self._each
