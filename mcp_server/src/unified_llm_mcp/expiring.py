"""Values kept between calls under unguessable ids, for a limited time, each for the caller who made it."""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["ExpiringStore"]

T = TypeVar("T")
MOST_CALLERS = 8
"""As many callers may have all that one caller may keep."""


@dataclass(slots=True)
class _Entry(Generic[T]):
    subject: str
    value: T
    expires: float


class ExpiringStore(Generic[T]):
    """Values by id. An id has 192 random bits; an entry lives `ttl` seconds after its last use.

    When a caller has `capacity` of them, the least recently used of that caller goes. When all of them together weigh
    more than `max_weight`, or are eight times that many, one of the caller who has most goes: what callers keep never
    pushes out what others keep, unless those have more. `dropped(value)` is called for each value that expires, is
    pushed out or is removed.

    Args:
        weight: of a value, in bytes or any unit; asked anew each time, as values grow.
    """

    def __init__(
        self,
        prefix: str,
        *,
        ttl: float,
        capacity: int,
        dropped: Callable[[T], None] | None = None,
        weight: Callable[[T], int] | None = None,
        max_weight: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefix = prefix
        self._ttl = ttl
        self._capacity = capacity
        self._dropped = dropped
        self._weight = weight
        self._max_weight = max_weight
        self._clock = clock
        self._entries: OrderedDict[str, _Entry[T]] = OrderedDict()

    def __len__(self) -> int:
        self._sweep()
        return len(self._entries)

    def put(self, subject: str, value: T) -> str:
        """Keep `value` for `subject`; returns its new id."""
        self._sweep()
        own = [key for key, entry in self._entries.items() if entry.subject == subject]
        for key in own[: max(0, len(own) + 1 - self._capacity)]:
            self._remove(key)
        key = f"{self._prefix}_{secrets.token_urlsafe(24)}"
        self._entries[key] = _Entry(subject, value, self._clock() + self._ttl)
        self.shrink()
        return key

    def shrink(self) -> None:
        """Drop what is too much; to be called when values have grown."""
        while len(self._entries) > MOST_CALLERS * self._capacity:
            self._drop_of_heaviest(lambda value: 1)
        weight = self._weight
        if weight is not None:
            while self._entries and sum(weight(entry.value) for entry in self._entries.values()) > self._max_weight:
                self._drop_of_heaviest(weight)

    def _drop_of_heaviest(self, weight: Callable[[T], int]) -> None:
        """Drop the least recently used value of the caller whose values weigh most."""
        by_subject: Counter[str] = Counter()
        for entry in self._entries.values():
            by_subject[entry.subject] += weight(entry.value)
        ((heaviest, _),) = by_subject.most_common(1)
        self._remove(next(key for key, entry in self._entries.items() if entry.subject == heaviest))

    def get(self, subject: str, key: str) -> T | None:
        """The value, its lifetime renewed; None when there is none, it expired, or it is another caller's."""
        self._sweep()
        entry = self._entries.get(key)
        if entry is None or entry.subject != subject:
            return None
        entry.expires = self._clock() + self._ttl
        self._entries.move_to_end(key)
        return entry.value

    def items(self, subject: str) -> Iterator[tuple[str, T]]:
        """Ids and values of one caller, least recently used first."""
        self._sweep()
        return iter([(key, entry.value) for key, entry in self._entries.items() if entry.subject == subject])

    def remove(self, subject: str, key: str) -> bool:
        """Forget a value; False when the caller has none of that id."""
        entry = self._entries.get(key)
        if entry is None or entry.subject != subject:
            return False
        self._remove(key)
        return True

    def clear(self) -> None:
        """Forget everything."""
        for key in list(self._entries):
            self._remove(key)

    def _sweep(self) -> None:
        """Drop what has expired: uses renew a lifetime and move to the end, so the expired ones come first."""
        now = self._clock()
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if entry.expires > now:
                return
            self._remove(key)

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key)
        if self._dropped is not None:
            self._dropped(entry.value)
