"""Several deployments of one model behind one name: which to ask first. The rest follow as fallbacks."""

from __future__ import annotations

import random as _random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Literal, TypeAlias, get_args

from unified_llm.credentials import secret
from unified_llm.errors import ConfigurationError, UnifiedLLMError
from unified_llm.forks import renew_in_child
from unified_llm.policy.plan import Target, is_the_targets_fault

__all__ = ["Balancer", "Deployment", "Load", "Member", "Strategy", "ordered"]

Strategy: TypeAlias = Literal["order", "weighted", "least_busy", "latency", "cost"]

FORGET = 60.0
"""Seconds a measured latency counts: then the target is tried again, as its slowness may have passed."""
PENALTY = 60.0
"""Seconds that a failure counts as, where the fastest is asked first: failing quickly is not being fast."""
SMOOTHING = 0.3


@dataclass(frozen=True, slots=True)
class Deployment:
    """One endpoint that serves a model.

    Attributes:
        ref: ``provider:model``.
        weight: its share of the calls, relative to the others; 0: only when the others fail.
        options: keywords of the provider's constructor for this endpoint alone (api_key, base_url, timeout...).
            With a `base_url` of its own it gets none of the client's options, the key included.
    """

    ref: str
    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.weight, (int, float)) and 0 <= self.weight < float("inf")):
            raise ConfigurationError(
                f"the weight of {self.ref} must be a number from 0, and is {self.weight!r}",
                hint="weights are relative: 2 gets twice the calls of 1",
            )
        if not isinstance(self.options, Mapping):
            raise ConfigurationError(
                f"the options of {self.ref} are {type(self.options).__name__}",
                hint="a dictionary of the provider's keywords: {'base_url': '...'}",
            )
        if "api_key" in self.options:  # from here on it cannot be printed or pickled
            options = {**self.options, "api_key": secret(self.options["api_key"])}
            object.__setattr__(self, "options", options)


@dataclass(slots=True)
class Load:
    """What is known of a target: calls in flight, and the smoothed seconds to an answer, measured at `measured`."""

    begun: list[None] = field(default_factory=list)  # one for each call in flight: to append and pop needs no lock
    seconds: float | None = None
    measured: float = 0.0

    @property
    def in_flight(self) -> int:
        """Calls that are under way."""
        return len(self.begun)

    def note(self, seconds: float, now: float) -> None:
        """Take one measurement into account."""
        if self.seconds is None or now - self.measured > FORGET:
            self.seconds = seconds
        else:
            self.seconds += SMOOTHING * (seconds - self.seconds)
        self.measured = now


@dataclass(frozen=True, slots=True)
class Member:
    """One deployment, resolved: its target, its share, and what is known of it."""

    target: Target
    weight: float = 1.0
    load: Load = field(default_factory=Load)


def ordered(
    strategy: Strategy,
    members: Sequence[Member],
    random: Callable[[], float],
    *,
    now: float = 0.0,
    cost: Callable[[Target], float | None] = lambda target: None,
) -> tuple[Target, ...]:
    """The targets in the order in which to ask them. Pure: `random` gives numbers in [0, 1), `now` is in seconds.

    Ties are drawn by weight; members of weight 0 come last, whatever the strategy (but for "order").
    """
    if strategy == "order":
        return tuple(m.target for m in members)
    by_load = strategy == "least_busy"
    ranked = []
    for position, member in enumerate(members):
        weight = member.weight
        if by_load:
            rank = len(member.load.begun) / (weight or 1.0)
        elif strategy == "latency":
            rank = _seconds(member.load, now)
        elif strategy == "cost":
            rank = _or_last(cost(member.target))
        else:
            rank = 0.0
        draw = random() ** (1.0 / weight) if weight else 0.0
        ranked.append((not weight, rank, -draw, position, member.target))
    ranked.sort()  # no two have the same position: targets are not compared
    return tuple(map(_TARGET, ranked))


_TARGET: Callable[[tuple[Any, ...]], Target] = itemgetter(4)


def _seconds(load: Load, now: float) -> float:
    """Unmeasured (or long ago) comes first, so that every deployment is measured; one trial at a time."""
    if load.seconds is None or not 0 <= now - load.measured <= FORGET:
        return PENALTY if load.begun else -1.0
    return load.seconds


def _or_last(cost: float | None) -> float:
    return float("inf") if cost is None else cost


class Balancer:
    """Orders the targets of each name, and watches the calls to learn about them: a hook. Thread-safe."""

    ends_in_state = True  # see `HookList`

    def __init__(
        self,
        pools: Mapping[str, Sequence[Member]],
        strategy: Strategy,
        *,
        cost: Callable[[Target], float | None],
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        if strategy not in get_args(Strategy):
            raise ConfigurationError(f"unknown strategy {strategy!r}", hint=f"one of {', '.join(get_args(Strategy))}")
        self.strategy = strategy
        self.pools = pools
        self._cost, self._clock, self._random = cost, clock, random
        self._loads = {m.target.key: m.load for pool in pools.values() for m in pool}
        self._times = strategy == "latency"
        self._plain = not self._times and strategy != "cost"  # neither the time nor prices matter
        self._watches = self._times or strategy == "least_busy"
        self._lock = threading.RLock()  # the garbage collector may end a call within `_note`
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`: the calls in flight are the parent's."""
        self._lock = threading.RLock()
        for load in self._loads.values():
            load.begun = []

    def targets(self, name: str) -> tuple[Target, ...]:
        """The targets of a call to `name`, the one to ask first first."""
        if self._plain:
            return ordered(self.strategy, self.pools[name], self._random)
        return ordered(self.strategy, self.pools[name], self._random, now=self._clock(), cost=self._cost)

    def on_request(self, info: Any) -> None:
        """A request begins (the client calls this)."""
        load = self._loads.get(info.target) if self._watches else None
        if load is not None:
            begun = load.begun
            begun.append(None)
            info.state[self] = load, begun, self._clock() if self._times else 0.0

    def on_error(self, info: Any, error: BaseException) -> None:
        """A request failed (the client calls this). Only what is the target's fault counts against it."""
        load, begun, _ = info.state.pop(self, _NOTHING)
        if load is not None:
            begun.pop()
            if isinstance(error, UnifiedLLMError) and is_the_targets_fault(error):
                self._note(load, PENALTY)

    def on_response(self, info: Any, response: Any) -> None:
        """A request was answered (the client calls this). For a stream the time to its first token counts."""
        load, begun, began = info.state.pop(self, _NOTHING)
        if load is None:
            return
        begun.pop()
        if self._times and not getattr(response, "cached", False):  # that says nothing of the target
            first = getattr(response, "time_to_first_token", None) if info.operation == "stream" else None
            self._note(load, self._clock() - began if first is None else first)

    def on_end(self, info: Any) -> None:
        """A call is over (the client calls this)."""
        load, begun, _ = info.state.pop(self, _NOTHING)
        if load is not None:
            begun.pop()

    def _note(self, load: Load, seconds: float) -> None:
        if self._times:
            with self._lock:
                load.note(seconds, self._clock())


_NOTHING: tuple[None, list[None], float] = (None, [], 0.0)
