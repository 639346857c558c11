"""Budgets: calls stop before the one that would exceed them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, cast

from unified_llm.costs.estimates import completed, cost_later, cost_of, most_output, tell_not_known, told_cost
from unified_llm.costs.prices import is_amount
from unified_llm.errors import InvalidRequestError
from unified_llm.forks import renew_in_child
from unified_llm.responses import ChatResponse, Embeddings

__all__ = ["Budget", "BudgetExceeded", "BudgetGroup", "grouped"]


MOST_UNLOOKED = 16_384
"""Calls whose cost a budget in tokens looks up at once, if nobody asked for it before."""


class BudgetExceeded(InvalidRequestError):  # noqa: N818  # the name the contract gives it
    """A call was not sent: it would exceed its budget."""


class Budget:
    """A limit in USD or tokens, for a whole client or for the calls of one label. A hook: put it in ``hooks=[...]``.

    A call, a retry or a fallback is refused when what was spent, what the calls in flight are expected to take and what
    this one is expected to take exceed the limit. Expected are the tokens of the prompt, estimated from its length and
    corrected by what servers counted so far, and those of the answer: its `max_tokens`, else as many as the longest
    answer so far. What an answer really took is known afterwards, so the first calls without `max_tokens` may go beyond
    the limit.

    Answers that were cut or abandoned count with what arrived of them, and tokens that no server told are estimated:
    for a stream that was sent and broke before its first event, or a hedged request that lost, those of the prompt.
    What was refused, or never reached its server, gives back all that was expected of it.

    Thread-safe; one budget may be shared by several clients.

    Args:
        usd: most USD; calls whose price is not known count as nothing, unless `refuse_unpriced`. The first call waits
            for the price list, about a second.
        tokens: most tokens, input and output together.
        label: only calls with this label count; None: all of them.
        refuse_unpriced: refuse further calls once the cost of one is not known.

    Raises:
        InvalidRequestError: a limit is no number or negative, or there is none; the label is no text.
    """

    def __init__(
        self,
        *,
        usd: float | None = None,
        tokens: int | None = None,
        label: str | None = None,
        refuse_unpriced: bool = False,
    ) -> None:
        if usd is None and tokens is None:
            raise InvalidRequestError("a budget needs a limit", hint="Budget(usd=5.0) or Budget(tokens=100_000)")
        for name, value in (("usd", usd), ("tokens", tokens)):
            if value is not None and not is_amount(value):
                raise InvalidRequestError(
                    f"a budget of {value!r} {name} makes no sense",
                    hint="limits are numbers, 0 or more; leave out the one you do not need",
                )
        if label is not None and not isinstance(label, str):
            raise InvalidRequestError(f"the label of a budget is {label!r}", hint="labels are texts; None: all calls")
        self.usd, self.tokens, self.label, self.refuse_unpriced = usd, tokens, label, refuse_unpriced
        self.spent_tokens = 0
        self._spent_usd = 0.0
        self._unpriced_calls = 0
        self._unlooked: deque[Callable[[], float | None]] = deque()
        self._learned = _Learned()
        self._in_flight = 0
        self._coming_tokens = 0
        self._coming_usd = 0.0
        self._alone = BudgetGroup((self,))
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`: the calls in flight are the parent's. What was spent was spent by both."""
        self._in_flight = self._coming_tokens = 0
        self._coming_usd = 0.0

    @property
    def spent_usd(self) -> float:
        """USD of the calls so far. A budget in tokens looks the prices up now, which may load the price list."""
        self._look_up()
        return self._spent_usd

    @spent_usd.setter
    def spent_usd(self, value: float) -> None:
        self._look_up()
        self._spent_usd = value

    @property
    def unpriced_calls(self) -> int:
        """Calls whose cost is not known."""
        self._look_up()
        return self._unpriced_calls

    @unpriced_calls.setter
    def unpriced_calls(self, value: int) -> None:
        self._look_up()
        self._unpriced_calls = value

    def _look_up(self) -> None:
        """Look up what the calls cost that nobody has asked for yet."""
        while self._unlooked:
            try:
                cost = self._unlooked.popleft()()
            except IndexError:  # another thread was quicker
                return
            with _LOCK:
                self._add(cost)

    def _add(self, cost: float | None) -> None:
        if cost is None:
            self._unpriced_calls += 1
        else:
            self._spent_usd += cost

    def before_call(self, info: Any) -> None:
        """The gate (the client calls this). Raises `BudgetExceeded`."""
        self._alone.before_call(info)

    def before_attempt(self, info: Any) -> None:
        """The gate of retries and fallbacks (the client calls this). Raises `BudgetExceeded`."""
        self._alone.before_attempt(info)

    def on_response(self, info: Any, response: ChatResponse | Embeddings) -> None:
        """Count what a call took (the client calls this)."""
        self._alone.on_response(info, response)

    def on_partial(self, info: Any, response: ChatResponse) -> None:
        """Count what arrived of an answer that did not end (the client calls this): it is billed all the same."""
        self._alone.on_partial(info, response)

    def on_end(self, info: Any) -> None:
        """A call is over, well or not (the client calls this)."""
        self._alone.on_end(info)

    def _hold(self, tokens: int, usd: float) -> bool:
        """Hold what a call is expected to take; False when it may not be made."""
        coming_usd, coming_tokens = self._coming_usd, self._coming_tokens
        if (limit := self.usd) is not None:
            taken = self._spent_usd + coming_usd
            if taken >= limit or taken + usd > limit:
                return False
        if (limit := self.tokens) is not None:
            taken = self.spent_tokens + coming_tokens
            if taken >= limit or taken + tokens > limit:
                return False
        if self.refuse_unpriced and self._unpriced_calls:
            return False
        self._in_flight += 1
        self._coming_tokens, self._coming_usd = coming_tokens + tokens, coming_usd + usd
        return True

    def _release(self, tokens: int, usd: float) -> None:
        """Give back what was held."""
        self._in_flight = left = self._in_flight - 1
        if left > 0:
            self._coming_tokens -= tokens
            self._coming_usd -= usd
        else:  # no rounding is left behind, nor a call that the parent of this process began
            self._in_flight = self._coming_tokens = 0
            self._coming_usd = 0.0

    def _refusal(self, tokens: int, usd: float) -> BudgetExceeded:
        """Why it may not."""
        if self.usd is not None:
            coming = self._spent_usd + self._coming_usd
            if coming >= self.usd or coming + usd > self.usd:
                return self._exceeded("USD", self.usd, self._spent_usd, self._coming_usd, usd)
        if self.tokens is not None:
            coming = self.spent_tokens + self._coming_tokens
            if coming >= self.tokens or coming + tokens > self.tokens:
                return self._exceeded("tokens", self.tokens, self.spent_tokens, self._coming_tokens, tokens)
        return BudgetExceeded(
            "the cost of an earlier call is not known", hint="give its price: PriceTable.override(...)"
        )

    def _exceeded(self, unit: str, limit: float, spent: float, coming: float, expected: float) -> BudgetExceeded:
        of = f" of label {self.label!r}" if self.label else ""
        if spent >= limit:
            return BudgetExceeded(
                f"the budget{of} is used up: {spent:g} of {limit:g} {unit}",
                hint="raise it, or wait for its next period",
            )
        return BudgetExceeded(
            f"the call would exceed the budget{of}: {spent:g} of {limit:g} {unit} are spent, calls in flight may take "
            f"{coming:g}, and this one {expected:g}",
            hint="raise it, ask for less (max_tokens=), or wait for the calls in flight",
        )


class _Learned:
    """What calls took so far, to know what the next one will take."""

    __slots__ = ("counted", "dearest", "guessed", "is_asked", "longest")

    def __init__(self) -> None:
        self.guessed = self.counted = 0  # prompt tokens, by the rule of thumb and by the servers
        self.longest = 0
        self.dearest: dict[tuple[str, str | None], float] = {}
        self.is_asked = False  # whether some model has no price, so that the dearest call matters

    def expected_usd(self, info: Any, given: int, taken: int) -> float:
        """USD of a call of so many tokens; without a price, as much as the dearest to its model so far."""
        prices, provider, model = info.prices, info.provider, info.model
        if prices is not None:
            try:
                cost = prices.expected(provider, model or "", given, taken)
            except Exception:  # noqa: BLE001  # the table is the application's
                tell_not_known()
                cost = None
            if cost is not None:
                return float(cost)
        self.is_asked = True
        return self.dearest.get((provider, model), 0.0)


# Of all budgets, as a call may concern several. The garbage collector may end a call (a stream that was dropped) while
# its thread holds the lock, which must then let it in: within, nothing is called between reading a number and
# writing it.
_LOCK = threading.RLock()


def _after_fork() -> None:
    """Another thread of the parent may have held the lock: nobody would release it here."""
    global _LOCK
    _LOCK = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

_Hold: TypeAlias = tuple[int, int, float]
"""A call in flight: its prompt by the rule of thumb, and the tokens and USD it is expected to take."""


class BudgetGroup:
    """Budgets of one label that stand next to each other among a client's hooks: one estimate, one price and one lock
    for all of them."""

    __slots__ = ("_budgets", "_in_usd", "_label", "_learned", "_priced")

    ends_in_state = True  # see `HookList`

    def __init__(self, budgets: Sequence[Budget]) -> None:
        self._budgets = budgets
        self._label = budgets[0].label
        self._in_usd = any(budget.usd is not None for budget in budgets)
        self._priced = self._in_usd or any(budget.refuse_unpriced for budget in budgets)
        self._learned = budgets[0]._learned  # they see the same calls

    def has(self, hook: object) -> bool:
        """Whether `hook` is one of them."""
        return any(budget is hook for budget in self._budgets)

    def before_call(self, info: Any, held: _Hold | None = None) -> None:
        """Hold what the call is expected to take, in the place of what is `held`. Raises `BudgetExceeded`."""
        if self._label is not None and info.label != self._label:
            return
        learned = self._learned
        guessed, limit = info.prompt_tokens(), most_output(info.request)
        given = guessed * learned.counted // learned.guessed if learned.guessed else guessed
        taken = learned.longest if limit is None else limit
        # May load the price list: not within the lock.
        usd = learned.expected_usd(info, given, taken) if self._in_usd else 0.0
        tokens = given + taken
        with _LOCK:
            if held is not None:
                del info.state[self]
                self._release(held[1], held[2])
            for budget in self._budgets:
                if not budget._hold(tokens, usd):
                    self._release(tokens, usd, until=budget)
                    raise budget._refusal(tokens, usd)
        info.state[self] = guessed, tokens, usd

    def before_attempt(self, info: Any) -> None:
        """Hold what the next request is expected to take, in the place of the last, which was counted if it is billed;
        another target may be dearer. Raises `BudgetExceeded`."""
        if (held := info.state.get(self)) is not None:
            self.before_call(info, held)

    def on_partial(self, info: Any, response: ChatResponse) -> None:
        """Count what arrived of an answer; the call may go on with another target."""
        self.on_response(info, response, ended=False)

    def on_end(self, info: Any) -> None:
        """Release what the call was expected to take, unless it was counted."""
        hold = info.state.pop(self, None)
        if hold is not None:
            with _LOCK:
                self._release(hold[1], hold[2])

    def on_response(self, info: Any, response: ChatResponse | Embeddings, *, ended: bool = True) -> None:
        """Count what the call took; if it `ended`, in the place of what it was expected to take."""
        hold: _Hold | None = info.state.get(self)
        if hold is None or getattr(response, "cached", False):  # that used nothing: `on_end` releases what is held
            return
        told = response.usage
        given, taken = told.input_tokens, told.output_tokens
        usage = told
        if given is None or taken is None:
            usage = completed(told, info, response)
            given, taken = usage.input_tokens or 0, usage.output_tokens or 0
        # May load the price list: not within the lock, and not before it matters.
        cost, later = None, None
        if not self._priced:
            later = cost_later(response, info, usage)
        elif usage is told:
            cost = told_cost(response)
        else:
            cost = cost_of(response, info, usage)
        guessed, tokens, usd = hold
        learned, took = self._learned, given + taken
        with _LOCK:
            if taken > learned.longest:  # noqa: PLR1730  # a comparison is cheaper than max()
                learned.longest = taken
            if ended and told.input_tokens is not None:
                learned.guessed += guessed
                learned.counted += given
            if learned.is_asked and cost is not None and cost > learned.dearest.get((info.provider, info.model), 0.0):
                learned.dearest[info.provider, info.model] = cost
            for budget in self._budgets:
                budget.spent_tokens += took
                if cost is not None:
                    budget._spent_usd += cost
                elif later is not None:
                    budget._unlooked.append(later)
                else:
                    budget._unpriced_calls += 1
                if ended:
                    budget._release(tokens, usd)
        if ended:
            del info.state[self]
        if later is not None:
            self._look_up()

    def _look_up(self) -> None:
        """Look the costs up that are not known yet, when they are many."""
        for budget in self._budgets:
            if len(budget._unlooked) >= MOST_UNLOOKED:
                budget._look_up()

    def _release(self, tokens: int, usd: float, *, until: Budget | None = None) -> None:
        """Give back what a call held, but for the budget at which taking it ended."""
        for budget in self._budgets:
            if budget is until:
                return
            budget._release(tokens, usd)


def grouped(hooks: Iterable[object]) -> list[object]:
    """The hooks, with budgets of one label that follow each other made one. One that is there twice counts once."""
    found: list[object] = []
    together: list[Budget] = []
    seen: set[int] = set()
    for hook in hooks:
        if isinstance(hook, Budget):
            if id(hook) in seen:
                continue
            seen.add(id(hook))
        alone = type(hook) is not Budget  # a subclass may do things in its own way
        if together and (alone or cast(Budget, hook).label != together[0].label):
            found.append(BudgetGroup(together))
            together = []
        if alone:
            found.append(hook)
        else:
            together.append(cast(Budget, hook))
    return [*found, BudgetGroup(together)] if together else found
