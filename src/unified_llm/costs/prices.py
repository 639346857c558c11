"""Prices per model: your own first, then those of the package genai-prices (extra `prices`), else unknown."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from unified_llm._optional import installed, require
from unified_llm.errors import InvalidRequestError
from unified_llm.responses import Usage

__all__ = ["Price", "PriceTable"]

MILLION = 1_000_000
_RATES = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
KNOWN_FOR = 3600.0
"""Seconds a looked-up price is kept: some depend on the time of day."""

# Names that genai-prices gives to providers.
_THEIR_NAMES = {
    "claude": "anthropic",
    "gemini": "google",
    "xai": "x-ai",
}

_HALF_FOR_BATCH = frozenset({"anthropic", "openai"})


def is_amount(value: object) -> bool:
    """Whether a value is a finite number, 0 or more: a limit or a price can be nothing else."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


@dataclass(frozen=True, slots=True)
class Price:
    """Prices per million tokens.

    Attributes:
        input, output: of uncached input and of output (thinking included).
        cache_read, cache_write: of cached input; None: as `input`.
        cache_write_1h: of entries kept for an hour; None: as `cache_write`.
        currency: what these are in; converted with the table's `rates`.
        above: prices for prompts longer than so many tokens, which then hold for the whole call.
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None
    currency: str = "USD"
    above: tuple[tuple[int, Price], ...] = ()

    def __post_init__(self) -> None:
        for name in _RATES:
            value = getattr(self, name)
            if value is not None and not is_amount(value):
                raise InvalidRequestError(
                    f"a price is a number, 0 or more: {name} is {value!r}",
                    hint="prices are per million tokens; leave out what is not known",
                )

    def times(self, factor: float) -> Price:
        """The same prices multiplied: 0.5 for a batch that costs half."""
        changed: dict[str, Any] = {n: v * factor for n in _RATES if (v := getattr(self, n)) is not None}
        return replace(self, **changed, above=tuple((start, one.times(factor)) for start, one in self.above))

    def cost(self, usage: Usage) -> float | None:
        """Cost of a call in `currency`, or None when its tokens are not known."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        price = self
        for start, other in self.above:
            if usage.input_tokens > start:
                price = other
        read, write = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
        if not read and not write:
            return (usage.input_tokens * price.input + usage.output_tokens * price.output) / MILLION
        for_an_hour = min(write, _one_hour_writes(usage))
        fresh = max(0, usage.input_tokens - read - write)
        write_price = price.input if price.cache_write is None else price.cache_write
        total = (
            fresh * price.input
            + read * (price.input if price.cache_read is None else price.cache_read)
            + (write - for_an_hour) * write_price
            + for_an_hour * (write_price if price.cache_write_1h is None else price.cache_write_1h)
            + usage.output_tokens * price.output
        )
        return total / MILLION


def _one_hour_writes(usage: Usage) -> int:
    """Tokens written to a cache that lives an hour, as Claude reports them."""
    created = (usage.native or {}).get("cache_creation")
    value = created.get("ephemeral_1h_input_tokens") if isinstance(created, Mapping) else None
    return value if isinstance(value, int) else 0


class PriceTable:
    """Looks up prices and computes costs. Thread-safe; the price list is loaded at the first look-up.

    Args:
        overrides: ``"provider:model"``, ``"provider:*"`` or ``"model"`` to `Price`; these win.
        rates: currency to USD, such as ``{"EUR": 1.17}``, for overrides in other currencies.
    """

    def __init__(
        self, overrides: Mapping[str, Price] | None = None, *, rates: Mapping[str, float] | None = None
    ) -> None:
        self._overrides = dict(overrides or {})
        self._rates = {"USD": 1.0, **(rates or {})}
        self._known: dict[tuple[str, str, str | None], tuple[Price | None, float]] = {}

    def override(self, ref: str, price: Price) -> None:
        """Set the price of ``provider:model``, ``provider:*`` or ``model``."""
        self._overrides[ref] = price

    def own(self, provider: str, model: str) -> Price | None:
        """Your own price of a model, or None."""
        if not self._overrides:
            return None
        own = self._overrides.get
        return own(f"{provider}:{model}") or own(model) or own(f"{provider}:*")

    def price(self, provider: str, model: str, *, tier: str | None = None) -> Price | None:
        """The price of a model, or None when nobody knows it.

        `tier` is a service tier as the server names it, such as ``flex``, ``priority`` or ``batch``. A tier for which
        the list has no rates of its own costs what the list says of the model; ``batch`` at Anthropic and OpenAI then
        costs half of that (https://platform.claude.com/docs/en/build-with-claude/batch-processing#pricing,
        https://platform.openai.com/docs/guides/batch). Your own prices hold for every tier.
        """
        if (own := self.own(provider, model)) is not None:
            return own
        key = (provider, model, tier)
        found = self._known.get(key)
        if found is None or time.monotonic() - found[1] > KNOWN_FOR:
            found = self._known[key] = (_listed(provider, model, tier), time.monotonic())
        return found[0]

    def cost(self, provider: str, model: str, usage: Usage, *, tier: str | None = None) -> float | None:
        """Cost of a call in USD, or None when the price, the tokens or the currency's rate are not known."""
        price = self.price(provider, model, tier=tier)
        if price is None or price.currency not in self._rates:
            return None
        amount = price.cost(usage)
        return None if amount is None else amount * self._rates[price.currency]


def _listed(provider: str, model: str, tier: str | None) -> Price | None:
    """The price in genai-prices' list, in our form; None when the package or the model is not there."""
    if not installed("genai_prices"):
        return None
    prices = require("genai_prices", extra="prices", purpose="a price")
    theirs = _THEIR_NAMES.get(provider, provider)

    def look_up(context: Mapping[str, str] | None) -> Any:
        asked = {"model_ref": model, "provider_id": theirs, "price_context": context}
        return prices.calc_price(prices.Usage(input_tokens=1, output_tokens=1), **asked).model_price

    try:
        listed = _from_list(look_up(None))
        special = _from_list(look_up(_context(tier))) if tier else listed
    except LookupError:
        return None
    if tier == "batch" and theirs in _HALF_FOR_BATCH and listed is not None and special == listed:
        return listed.times(0.5)
    return special


def _context(tier: str) -> dict[str, str]:
    """What genai-prices calls a tier."""
    return {"processing": "batch"} if tier == "batch" else {"service_tier": tier}


def _from_list(listed: Any) -> Price | None:
    fields = {
        "input": listed.input_mtok,
        "output": listed.output_mtok,
        "cache_read": listed.cache_read_mtok,
        "cache_write": listed.cache_write_mtok,
        "cache_write_1h": getattr(listed, "cache_write_1h_mtok", None),
    }
    if fields["input"] is None:
        return None  # priced by the image, the second or the request: not by tokens
    starts = sorted({tier.start for value in fields.values() for tier in getattr(value, "tiers", ())})

    def at(start: int | None) -> dict[str, float | None]:
        return {name: _value_at(value, start) for name, value in fields.items()}

    above = tuple((start, _price(at(start))) for start in starts)
    return _price(at(None), above)


def _value_at(value: Any, start: int | None) -> float | None:
    if value is None:
        return None
    tiers: list[Any] = getattr(value, "tiers", [])
    chosen = getattr(value, "base", value)
    for tier in tiers:
        if start is not None and tier.start <= start:
            chosen = tier.price
    return float(chosen)


def _price(values: Mapping[str, float | None], above: tuple[tuple[int, Price], ...] = ()) -> Price:
    return Price(
        input=values["input"] or 0.0,
        output=values["output"] or 0.0,
        cache_read=values["cache_read"],
        cache_write=values["cache_write"],
        cache_write_1h=values["cache_write_1h"],
        above=above,
    )
