"""Budgets: calls stop before the one that would exceed them."""

from __future__ import annotations

import threading
from typing import Any

from unified_llm.costs.estimates import completed, cost_of, most_output
from unified_llm.costs.prices import is_amount
from unified_llm.errors import InvalidRequestError
from unified_llm.responses import ChatResponse, Embeddings, Usage

__all__ = ["Budget", "BudgetExceeded"]


class BudgetExceeded(InvalidRequestError):  # noqa: N818  # the name the contract gives it
    """A call was not sent: it would exceed its budget."""


class Budget:
    """A limit in USD or tokens, for a whole client or for the calls of one label. A hook: put it in ``hooks=[...]``.

    A call is refused when what was spent, what the calls in flight are expected to take and what this one is expected
    to take exceed the limit. Expected are the tokens of the prompt, estimated from its length and corrected by what
    servers counted so far, and those of the answer: its `max_tokens`, else as many as the longest answer so far. What
    an answer really took is known afterwards, so the first calls without `max_tokens` may go beyond the limit.

    Answers that were cut or abandoned count with what arrived of them, and tokens that no server told are estimated.

    Args:
        usd: most USD; calls whose price is not known count as nothing, unless `refuse_unpriced`. The first call waits
            for the price list, about a second.
        tokens: most tokens, input and output together.
        label: only calls with this label count; None: all of them.
        refuse_unpriced: refuse further calls once the cost of one is not known.

    Raises:
        InvalidRequestError: a limit is no number or negative, or there is none.
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
        self.usd, self.tokens, self.label, self.refuse_unpriced = usd, tokens, label, refuse_unpriced
        self.spent_usd = 0.0
        self.spent_tokens = 0
        self.unpriced_calls = 0
        self._longest = 0
        self._dearest: dict[tuple[str, str | None], float] = {}
        self._guessed = self._counted = 0  # prompt tokens, by the rule of thumb and by the servers
        self._in_flight: dict[int, tuple[int, int, float]] = {}  # prompt by the rule of thumb, all tokens, USD
        self._coming_tokens = 0
        self._coming_usd = 0.0
        self._lock = threading.Lock()

    def before_call(self, info: Any) -> None:
        """The gate (the client calls this). Raises `BudgetExceeded`."""
        if self.label is not None and info.label != self.label:
            return
        guessed = info.prompt_tokens()
        given = guessed * self._counted // self._guessed if self._guessed else guessed
        taken = most_output(info.request)
        taken = self._longest if taken is None else taken
        tokens = given + taken
        usd = 0.0 if self.usd is None else self._price(info, Usage(given, taken))
        with self._lock:
            if self.usd is not None:
                self._check("USD", self.usd, self.spent_usd, self._coming_usd, usd)
            if self.tokens is not None:
                self._check("tokens", self.tokens, self.spent_tokens, self._coming_tokens, tokens)
            if self.refuse_unpriced and self.unpriced_calls:
                raise BudgetExceeded(
                    "the cost of an earlier call is not known", hint="give its price: PriceTable.override(...)"
                )
            self._in_flight[id(info)] = (guessed, tokens, usd)
            self._coming_tokens += tokens
            self._coming_usd += usd

    def _price(self, info: Any, usage: Usage) -> float:
        """USD of a call; without a price, as much as the dearest to its model so far."""
        cost = None if info.prices is None else info.prices.cost(info.provider, info.model or "", usage)
        return self._dearest.get((info.provider, info.model), 0.0) if cost is None else cost

    def _check(self, unit: str, limit: float, spent: float, coming: float, expected: float) -> None:
        if spent + coming < limit and spent + coming + expected <= limit:
            return
        of = f" of label {self.label!r}" if self.label else ""
        if spent >= limit:
            raise BudgetExceeded(
                f"the budget{of} is used up: {spent:g} of {limit:g} {unit}",
                hint="raise it, or wait for its next period",
            )
        raise BudgetExceeded(
            f"the call would exceed the budget{of}: {spent:g} of {limit:g} {unit} are spent, calls in flight may take "
            f"{coming:g}, and this one {expected:g}",
            hint="raise it, ask for less (max_tokens=), or wait for the calls in flight",
        )

    def on_response(self, info: Any, response: ChatResponse | Embeddings) -> None:
        """Count what a call took (the client calls this)."""
        if id(info) in self._in_flight:
            self._count(info, response, ended=True)

    def on_partial(self, info: Any, response: ChatResponse) -> None:
        """Count what arrived of an answer that did not end (the client calls this): it is billed all the same."""
        if id(info) in self._in_flight:
            self._count(info, response, ended=False)

    def _count(self, info: Any, response: ChatResponse | Embeddings, *, ended: bool) -> None:
        if getattr(response, "cached", False):
            return  # it used nothing
        told = response.usage
        given, taken = told.input_tokens, told.output_tokens
        cost = response.cost  # may load the price list: not within the lock
        if given is None or taken is None:
            usage = completed(told, info, response)
            cost = cost_of(response, info, usage)
            given, taken = usage.input_tokens or 0, usage.output_tokens or 0
        with self._lock:
            guessed = self._in_flight[id(info)][0]
            self.spent_tokens += given + taken
            self._longest = max(self._longest, taken)
            if ended and guessed and told.input_tokens is not None:
                self._guessed += guessed
                self._counted += given
            if cost is None:
                self.unpriced_calls += 1
            else:
                self.spent_usd += cost
                key = (info.provider, info.model)
                if cost > self._dearest.get(key, 0.0):
                    self._dearest[key] = cost
            if ended:
                self._forget(info)

    def on_end(self, info: Any) -> None:
        """A call is over, well or not (the client calls this)."""
        if id(info) in self._in_flight:  # not after `on_response`
            with self._lock:
                self._forget(info)

    def _forget(self, info: Any) -> None:
        _, tokens, usd = self._in_flight.pop(id(info))
        self._coming_tokens -= tokens
        self._coming_usd = self._coming_usd - usd if self._in_flight else 0.0  # no rounding is left behind
