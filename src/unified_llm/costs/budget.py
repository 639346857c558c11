"""Budgets: calls stop before the one that would exceed them."""

from __future__ import annotations

import threading
from typing import Any

from unified_llm.errors import InvalidRequestError
from unified_llm.responses import ChatResponse, Embeddings

__all__ = ["Budget", "BudgetExceeded"]


class BudgetExceeded(InvalidRequestError):  # noqa: N818  # the name the contract gives it
    """A call was not sent: its budget is used up."""


class Budget:
    """A limit in USD or tokens, for a whole client or for the calls of one label. A hook: put it in ``hooks=[...]``.

    A call is refused when what was spent, and what the calls in flight are expected to cost, has reached the limit.
    The cost of a call is known only afterwards: each one in flight is expected to cost as much as the dearest so far.

    Args:
        usd: most USD; calls whose cost is not known count as nothing, unless `refuse_unpriced`.
        tokens: most tokens, input and output together.
        label: only calls with this label count; None: all of them.
        refuse_unpriced: refuse further calls once the cost of one is not known.

    Raises:
        InvalidRequestError: a limit is negative, or there is none.
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
            if value is not None and value < 0:
                raise InvalidRequestError(
                    f"a budget of {value} {name} makes no sense",
                    hint="limits are 0 or more; leave out the one you do not need",
                )
        self.usd, self.tokens, self.label, self.refuse_unpriced = usd, tokens, label, refuse_unpriced
        self.spent_usd = 0.0
        self.spent_tokens = 0
        self.unpriced_calls = 0
        self._dearest = 0.0
        self._longest = 0
        self._in_flight: set[int] = set()
        self._lock = threading.Lock()

    def before_call(self, info: Any) -> None:
        """The gate (the client calls this). Raises `BudgetExceeded`."""
        if self.label is not None and info.label != self.label:
            return
        with self._lock:
            waiting = len(self._in_flight)
            if self.usd is not None:
                self._check("USD", self.usd, self.spent_usd + waiting * self._dearest)
            if self.tokens is not None:
                self._check("tokens", self.tokens, self.spent_tokens + waiting * self._longest)
            if self.refuse_unpriced and self.unpriced_calls:
                raise BudgetExceeded(
                    "the cost of an earlier call is not known", hint="give its price: PriceTable.override(...)"
                )
            self._in_flight.add(id(info))

    def _check(self, unit: str, limit: float, spent: float) -> None:
        if spent >= limit:
            of = f" of label {self.label!r}" if self.label else ""
            raise BudgetExceeded(
                f"the budget{of} is used up: {spent:g} of {limit:g} {unit}",
                hint="raise it, or wait for its next period",
            )

    def on_response(self, info: Any, response: ChatResponse | Embeddings) -> None:
        """Count what a call cost (the client calls this)."""
        with self._lock:
            if id(info) not in self._in_flight:
                return
            self._in_flight.discard(id(info))
            if getattr(response, "cached", False):
                return  # it used nothing
            tokens = response.usage.total_tokens or 0
            self.spent_tokens += tokens
            self._longest = max(self._longest, tokens)
            if response.cost is None:
                self.unpriced_calls += 1
            else:
                self.spent_usd += response.cost
                self._dearest = max(self._dearest, response.cost)

    def on_end(self, info: Any) -> None:
        """A call is over, well or not (the client calls this)."""
        if id(info) in self._in_flight:  # not after `on_response`
            with self._lock:
                self._in_flight.discard(id(info))
