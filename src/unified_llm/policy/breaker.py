"""Circuit breaker: stop asking a target that keeps failing, and let one call probe it again later."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from unified_llm.forks import renew_in_child
from unified_llm.policy.numbers import check_number

__all__ = ["BreakerSettings", "CircuitBreaker"]


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """After `failures` failures in a row a target is left alone for `seconds`; then one call probes it."""

    failures: int = 5
    seconds: float = 30.0

    def __post_init__(self) -> None:
        check_number("failures of a breaker", self.failures, least=1, whole=True, hint="breaker=None: no breaker")
        check_number("seconds of a breaker", self.seconds, least=0, hint="breaker=None: no breaker")


class CircuitBreaker:
    """The state of one target. Thread-safe. `now` is any clock in seconds; one that goes backwards only shortens the
    pause."""

    __slots__ = ("__weakref__", "_failures", "_lock", "_opened", "_probing", "settings")

    def __init__(self, settings: BreakerSettings | None = None) -> None:
        self.settings = settings or BreakerSettings()
        self._lock = threading.Lock()
        self._failures = 0
        self._opened: float | None = None
        self._probing: float | None = None
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    @property
    def state(self) -> str:
        """closed (calls pass), open (none does), or half-open (one call probes)."""
        if self._opened is None:
            return "closed"
        return "open" if self._probing is None else "half-open"

    def allows(self, now: float) -> bool:
        """Whether a call may be made now. In the half-open state, only one may."""
        if self._opened is None:  # nearly always, and one look needs no lock
            return True
        with self._lock:
            if self._opened is None:
                return True
            since = min(self._opened, now)  # the clock went backwards: start counting again
            self._opened = since
            if now - since < self.settings.seconds:
                return False
            # A probe whose caller vanished (cancelled task) must not keep the breaker open for ever.
            if self._probing is not None and 0 <= now - self._probing < self.settings.seconds:
                return False
            self._probing = now
            return True

    def succeeded(self) -> None:
        """Note a success: the target is well."""
        if self._failures == 0 and self._opened is None:
            return
        with self._lock:
            self._failures, self._opened, self._probing = 0, None, None

    def failed(self, now: float) -> None:
        """Note a failure that is the target's fault."""
        with self._lock:
            self._failures += 1
            if self._probing is not None or self._failures >= self.settings.failures:
                self._opened, self._probing = now, None
