"""Prices per model: your own first, then those of the package genai-prices (extra `prices`), else unknown."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from unified_llm._optional import installed, require
from unified_llm.errors import InvalidRequestError
from unified_llm.responses import Usage

__all__ = ["Price", "PriceTable"]

MILLION = 1_000_000
_RATES = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
KNOWN_FOR = 3600.0
"""Seconds a price of the list is kept: some depend on the time of day."""
MOST_KNOWN = 4096
"""Prices kept, as some applications make up model ids."""
_Known: TypeAlias = "tuple[Price | None, float | None, float | None]"  # price, rate to USD, until when

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
            if not is_amount(value) and (value is not None or name in ("input", "output")):
                raise InvalidRequestError(
                    f"a price is a number, 0 or more: {name} is {value!r}",
                    hint="prices are per million tokens; leave out what is not known of the cache, and the whole price "
                    "of a model when input or output are not known",
                )
        if not isinstance(self.currency, str):
            raise InvalidRequestError(f"currency is {self.currency!r}", hint="name it as the table's rates do: 'EUR'")
        if not _are_steps(self.above):
            raise InvalidRequestError(
                f"above is {self.above!r}", hint="pairs of tokens and prices: above=((200_000, Price(4, 20)),)"
            )

    def times(self, factor: float) -> Price:
        """The same prices multiplied: 0.5 for a batch that costs half."""
        changed: dict[str, Any] = {n: v * factor for n in _RATES if (v := getattr(self, n)) is not None}
        return replace(self, **changed, above=tuple((start, one.times(factor)) for start, one in self.above))

    def cost(self, usage: Usage) -> float | None:
        """Cost of a call in `currency`, or None when its tokens are not known."""
        given, taken = usage.input_tokens, usage.output_tokens
        if given is None or taken is None:
            return None
        read, write = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
        price = self.at(given) if self.above else self
        if not read and not write:
            return (given * price.input + taken * price.output) / MILLION
        for_an_hour = min(write, _one_hour_writes(usage))
        fresh = max(0, given - read - write)
        write_price = price.input if price.cache_write is None else price.cache_write
        total = (
            fresh * price.input
            + read * (price.input if price.cache_read is None else price.cache_read)
            + (write - for_an_hour) * write_price
            + for_an_hour * (write_price if price.cache_write_1h is None else price.cache_write_1h)
            + taken * price.output
        )
        return total / MILLION

    def at(self, given: int) -> Price:
        """The prices for a prompt of so many tokens."""
        price = self
        for start, other in self.above:
            if given > start:
                price = other
        return price


def _are_steps(above: object) -> bool:
    return isinstance(above, (tuple, list)) and all(
        isinstance(step, (tuple, list)) and len(step) == 2 and is_amount(step[0]) and isinstance(step[1], Price)
        for step in above
    )


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

    Raises:
        InvalidRequestError: an override is no `Price`, or a rate no amount.
    """

    def __init__(
        self, overrides: Mapping[str, Price] | None = None, *, rates: Mapping[str, float] | None = None
    ) -> None:
        self._overrides = {ref: _checked(ref, price) for ref, price in (overrides or {}).items()}
        self._rates = {"USD": 1.0, **(rates or {})}
        for currency, rate in self._rates.items():
            if not is_amount(rate):
                raise InvalidRequestError(
                    f"the rate of {currency} is {rate!r}", hint="rates are numbers: what one of it is worth in USD"
                )
        self._known: dict[tuple[str, str, str | None], _Known] = {}
        cls = type(self)  # what a subclass does in its own way is not looked up past it
        self._is_extended = cls.price is not PriceTable.price or cls.cost is not PriceTable.cost

    def override(self, ref: str, price: Price) -> None:
        """Set the price of ``provider:model``, ``provider:*`` or ``model``."""
        self._overrides[ref] = _checked(ref, price)
        self._known = {}  # a new one: what is being looked up now must not come back into it

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
        return self._find(provider, model, tier)[0]

    def cost(self, provider: str, model: str, usage: Usage, *, tier: str | None = None) -> float | None:
        """Cost of a call in USD, or None when the price, the tokens or the currency's rate are not known."""
        if self._is_extended:
            price = self.price(provider, model, tier=tier)
            rate = None if price is None else self._rates.get(price.currency)
        else:
            price, rate, _ = self._find(provider, model, tier)
        if price is None or rate is None:
            return None
        given, taken = usage.input_tokens, usage.output_tokens
        if given is not None and taken is not None and not usage.cache_read_tokens and not usage.cache_write_tokens:
            if price.above:
                price = price.at(given)
            return (given * price.input + taken * price.output) / MILLION * rate
        amount = price.cost(usage)
        return None if amount is None else amount * rate

    def expected(self, provider: str, model: str, given: int, taken: int) -> float | None:
        """The `cost` of a call of so many tokens in and out, nothing of it cached."""
        if self._is_extended:
            return self.cost(provider, model, Usage(given, taken))
        price, rate, _ = self._find(provider, model, None)
        if price is None or rate is None:
            return None
        if price.above:
            price = price.at(given)
        return (given * price.input + taken * price.output) / MILLION * rate

    def _find(self, provider: str, model: str, tier: str | None) -> _Known:
        """The price of a model and what it takes to convert it, kept: looking it up costs more than a small call."""
        key = (provider, model, tier)
        known = self._known
        found = known.get(key)
        if found is not None and (found[2] is None or time.monotonic() < found[2]):
            return found
        price = self.own(provider, model)
        until = None if price is not None else time.monotonic() + KNOWN_FOR
        price = _listed(provider, model, tier) if price is None else price
        if len(known) >= MOST_KNOWN:
            known.clear()
        found = known[key] = (price, None if price is None else self._rates.get(price.currency), until)
        return found


def _checked(ref: str, price: Price) -> Price:
    if not isinstance(price, Price):
        raise InvalidRequestError(
            f"the price of {ref!r} is {type(price).__name__}", hint="Price(input=..., output=...), per million tokens"
        )
    return price


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
