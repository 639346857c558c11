"""Client-side limits: requests and tokens per minute, shared by everybody who uses the client."""

from __future__ import annotations

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

    __slots__ = ("_level", "_updated", "burst", "rate")

    def __init__(self, per_minute: float, *, burst: float | None = None) -> None:
        self.rate = per_minute / 60.0
        self.burst = max(1.0, per_minute / 6.0 if burst is None else burst)
        self._level = self.burst
        self._updated: float | None = None

    def reserve(self, amount: float, now: float) -> float:
        """Take `amount`; return the seconds to wait before using it (0 when it is there)."""
        self._refill(now)
        self._level -= amount
        needed = max(0.0, -self._level if amount <= self.burst else self.burst - amount - self._level)
        return needed / self.rate

    def adjust(self, amount: float) -> None:
        """Correct an estimate: positive takes more, negative gives back."""
        self._level = min(self.burst, self._level - amount)

    def _refill(self, now: float) -> None:
        if self._updated is not None and now > self._updated:  # a clock that goes backwards refills nothing
            self._level = min(self.burst, self._level + (now - self._updated) * self.rate)
        self._updated = now
