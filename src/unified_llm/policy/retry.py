"""When to try again, and how long to wait first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from unified_llm.errors import StreamInterruptedError, UnifiedLLMError
from unified_llm.forks import renew_in_child
from unified_llm.policy.numbers import check_number

__all__ = ["RetryBudget", "RetryPolicy", "pause_before"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failures that may pass are tried again, on the same target.

    Attributes:
        max_retries: attempts after the first, per target; 0 switches retries off.
        base: seconds of the first back-off; it doubles each time.
        cap: most seconds of a back-off.
        max_wait: longest Retry-After that is obeyed, in seconds; a longer one moves on to the next target at once.
        deadline: most seconds for everything, waits and fallbacks included; None for no limit.

    Back-off is "full jitter": uniform between 0 and the doubled base, so that clients that failed together do not
    come back together (AWS Architecture Blog, "Exponential Backoff and Jitter").
    """

    max_retries: int = 2
    base: float = 0.5
    cap: float = 8.0
    max_wait: float = 60.0
    deadline: float | None = None

    def __post_init__(self) -> None:
        check_number("max_retries", self.max_retries, least=0, whole=True, hint="max_retries=0: no retries")
        for name in ("base", "cap", "max_wait"):
            check_number(name, getattr(self, name), least=0, hint=f"{name} is a number of seconds")
        if self.deadline is not None:
            check_number("deadline", self.deadline, above=0, finite=True, hint="seconds; None: no deadline")


class RetryBudget:
    """Keeps retries from multiplying the load on a server that is down, for all users of a client together.

    Every success earns `earn` retries, up to `most`; every retry spends one. With nothing left, calls fail at once.
    Source of the shape: gRPC retry throttling (proposal A6). Thread-safe.
    """

    __slots__ = ("__weakref__", "_left", "_lock", "earn", "most")

    def __init__(self, most: float = 20.0, earn: float = 0.2) -> None:
        self.most = most
        self.earn = earn
        self._left = most
        self._lock = threading.Lock()
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    @property
    def left(self) -> float:
        """Retries that may still be spent."""
        return self._left

    def spend(self) -> bool:
        """Take one retry; False when there is none."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def succeeded(self) -> None:
        """Note a success."""
        if self._left >= self.most:  # nearly always, and one look needs no lock
            return
        with self._lock:
            self._left = min(self.most, self._left + self.earn)


def pause_before(
    retry: RetryPolicy, error: UnifiedLLMError, tries: int, random: Callable[[], float], seconds_left: float | None
) -> float | None:
    """Seconds to wait before retry number `tries` (0 first), or None when it should not be tried again.

    `random` gives numbers in [0, 1). `seconds_left` is the rest of the deadline.
    """
    if not error.retryable or tries >= retry.max_retries or isinstance(error, StreamInterruptedError):
        # An interrupted answer is not asked for twice by itself: it was (partly) generated, and paid for.
        return None
    pause = random() * min(retry.cap, retry.base * 2.0**tries)
    if error.retry_after is not None:
        if error.retry_after > retry.max_wait:
            return None
        pause = max(error.retry_after, 0.0) + pause * 0.1
    return None if seconds_left is not None and pause >= seconds_left else pause
