"""Running totals per provider, model and label, and the record of each call."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from unified_llm.costs.estimates import looked_up
from unified_llm.forks import renew_in_child
from unified_llm.responses import ChatResponse, Embeddings, Usage

__all__ = ["Ledger", "Totals", "UsageRecord"]

MOST_WAITING = 16_384
"""Calls that may wait to be counted (some 8 MB); then a thread counts them, as it may have to load the price list."""
_Key = tuple[str, str | None, str | None]
_Note: TypeAlias = tuple[_Key, Usage, "float | Callable[[], float | None] | None", bool, bool]
"""A call to be counted: whose, its usage, its cost or how to look that up, whether it was cached, or partial."""


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One call that was answered, with everything that is known of it. Seconds and USD; None is unknown.

    `cached`: the answer came from the client's cache; `usage` is what it took the first time.
    `partial`: the request broke, was left before its end, or lost to a hedged one, and is billed all the same: `usage`
    is estimated from the prompt and from what arrived, where the server had not told it yet. When nothing had arrived,
    `output_tokens` and `cost` are None: what was generated, nobody told.
    """

    operation: str
    provider: str
    model: str | None
    label: str | None
    usage: Usage
    cost: float | None
    latency: float | None = None
    time_to_first_token: float | None = None
    finish_reason: str | None = None
    request_id: str | None = None
    cached: bool = False
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over calls. `unpriced_calls` are those whose cost is not known: they are not in `cost`.

    `cached_calls` were answered from the client's cache: they used nothing, and are not in `usage`. `partial_calls`
    broke or were left before their end: they are in `usage` and `cost` with what arrived.
    """

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float = 0.0
    unpriced_calls: int = 0
    cached_calls: int = 0
    partial_calls: int = 0

    def plus(self, record: UsageRecord) -> Totals:
        """These totals and one more call."""
        return Totals(
            self.calls + 1,
            self.usage if record.cached else self.usage + record.usage,
            self.cost + (record.cost or 0.0),
            self.unpriced_calls + (record.cost is None),
            self.cached_calls + record.cached,
            self.partial_calls + record.partial,
        )

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.calls + other.calls,
            self.usage + other.usage,
            self.cost + other.cost,
            self.unpriced_calls + other.unpriced_calls,
            self.cached_calls + other.cached_calls,
            self.partial_calls + other.partial_calls,
        )


class Ledger:
    """Adds up what calls used. A hook (`unified_llm.flow.Hooks`): every client has one as `usage`.

    `on_usage` is called with each `UsageRecord`; it may be a coroutine function.

    Calls are noted without a lock, as the garbage collector may end one (a stream that was dropped) at any moment, and
    counted when somebody asks: nobody is waiting, and the first look at the price list takes a second.
    """

    def __init__(self, on_usage: Callable[[UsageRecord], Any] | None = None) -> None:
        self.on_usage = on_usage
        self._lock = threading.RLock()
        self._totals: dict[_Key, Totals] = {}
        self._waiting: deque[_Note | UsageRecord] = deque()
        self._settling = False
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`: the totals so far are the parent's and the child's."""
        self._lock = threading.RLock()
        self._settling = False

    def on_response(self, info: Any, response: ChatResponse | Embeddings) -> Any:
        """Count one call (the client calls this)."""
        if self.on_usage is None:
            self._note(info, response)
            return None
        return self._tell(self.record_of(info, response))

    def on_partial(self, info: Any, response: ChatResponse) -> Any:
        """Count what arrived of a stream that did not end (the client calls this)."""
        if self.on_usage is None:
            self._note(info, response, partial=True)
            return None
        return self._tell(replace(self.record_of(info, response), partial=True))

    def _tell(self, record: UsageRecord) -> Any:
        self.add(record)
        return None if self.on_usage is None else self.on_usage(record)

    def _note(self, info: Any, response: ChatResponse | Embeddings, *, partial: bool = False) -> None:
        """Count a call later."""
        key = (response.provider or info.provider, info.model or response.model, info.label)
        self._waiting.append((key, response.usage, response.unlooked_cost, getattr(response, "cached", False), partial))
        if len(self._waiting) % MOST_WAITING == 0 and not partial:
            threading.Thread(target=self._settle, name="unified_llm usage", daemon=True).start()

    def _settle(self) -> None:
        """Count the calls that wait for it. Within itself (a price table that asks for totals) it does nothing."""
        with self._lock:
            if self._settling:
                return
            self._settling = True
            try:
                for _ in range(len(self._waiting)):
                    record = _record(self._waiting.popleft())
                    key = (record.provider, record.model, record.label)
                    self._totals[key] = self._totals.get(key, Totals()).plus(record)
            finally:
                self._settling = False

    @staticmethod
    def record_of(info: Any, response: ChatResponse | Embeddings) -> UsageRecord:
        """The record of a call."""
        record = UsageRecord(
            info.operation,
            response.provider or info.provider,
            info.model or response.model,
            info.label,
            response.usage,
            response.cost,
        )
        if not isinstance(response, ChatResponse):
            return replace(record, request_id=response.request_id, latency=response.latency)
        return replace(
            record,
            latency=response.latency,
            time_to_first_token=response.time_to_first_token,
            finish_reason=response.finish_reason,
            request_id=response.request_id,
            cached=response.cached,
        )

    def add(self, record: UsageRecord) -> None:
        """Count a record."""
        self._waiting.append(record)
        if len(self._waiting) >= MOST_WAITING:
            self._settle()

    def total(self, *, provider: str | None = None, model: str | None = None, label: str | None = None) -> Totals:
        """Sums over the calls of a provider, a model, a label; over all of them without arguments."""
        wanted = (provider, model, label)
        self._settle()
        with self._lock:
            items = list(self._totals.items())
        total = Totals()
        for key, one in items:
            if all(w is None or w == k for w, k in zip(wanted, key, strict=True)):
                total += one
        return total

    def by_model(self) -> dict[str, Totals]:
        """``provider:model`` to its totals."""
        self._settle()
        with self._lock:
            pairs = {(provider, model) for provider, model, _ in self._totals}
        return {f"{p}:{m}": self.total(provider=p, model=m) for p, m in sorted(pairs, key=str)}

    def by_label(self) -> dict[str | None, Totals]:
        """Label to its totals; calls without a label are under None."""
        self._settle()
        with self._lock:
            items = list(self._totals.items())
        labels: dict[str | None, Totals] = {}
        for (_, _, label), one in items:
            labels[label] = labels.get(label, Totals()) + one
        return labels

    def reset(self) -> None:
        """Start again from nothing."""
        with self._lock:
            self._totals.clear()
            self._waiting.clear()


def _record(note: _Note | UsageRecord) -> UsageRecord:
    """What is counted of a call."""
    if isinstance(note, UsageRecord):
        return note
    (provider, model, label), usage, cost, cached, partial = note
    known = looked_up(cost) if callable(cost) else cost
    return UsageRecord("", provider, model, label, usage, known, cached=cached, partial=partial)
