"""Values kept between calls under unguessable ids, for a limited time, each for the caller who made it."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["ExpiringStore"]

T = TypeVar("T")


@dataclass(slots=True)
class _Entry(Generic[T]):
    subject: str
    value: T
    expires: float


class ExpiringStore(Generic[T]):
    """Values by id. An id has 192 random bits; an entry lives `ttl` seconds after its last use.

    When `capacity` is reached the least recently used entry goes. `dropped(value)` is called for each value that
    expires, is pushed out or is removed.
    """

    def __init__(
        self,
        prefix: str,
        *,
        ttl: float,
        capacity: int,
        dropped: Callable[[T], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefix = prefix
        self._ttl = ttl
        self._capacity = capacity
        self._dropped = dropped
        self._clock = clock
        self._entries: OrderedDict[str, _Entry[T]] = OrderedDict()

    def __len__(self) -> int:
        self._sweep()
        return len(self._entries)

    def put(self, subject: str, value: T) -> str:
        """Keep `value` for `subject`; returns its new id."""
        self._sweep()
        while len(self._entries) >= self._capacity:
            self._remove(next(iter(self._entries)))
        key = f"{self._prefix}_{secrets.token_urlsafe(24)}"
        self._entries[key] = _Entry(subject, value, self._clock() + self._ttl)
        return key

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
