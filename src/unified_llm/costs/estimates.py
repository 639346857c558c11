"""What a call will take, and what an answer took whose server did not say: estimates, told as such by who uses them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from unified_llm.preparation import approximate_part_tokens
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import ChatResponse, Embeddings, Usage

__all__ = ["completed", "cost_later", "cost_of", "looked_up", "most_output", "tell_not_known", "tier_of", "told_cost"]

logger = logging.getLogger("unified_llm")

_STANDARD = ("standard", "default", "auto", "on_demand")


def most_output(request: ChatRequest | EmbedRequest | None) -> int | None:
    """The most tokens an answer may have; 0 for embeddings, None without a limit."""
    if isinstance(request, EmbedRequest):
        return 0
    limit = request.config.max_tokens if request is not None else None
    return limit if limit is not None and limit > 0 else None  # 0 and -1 mean no limit


def completed(usage: Usage, info: Any, response: ChatResponse | Embeddings, *, cut: bool = False) -> Usage:
    """The usage of the call `info`, with estimates for what the server did not say.

    `cut`: the answer did not end, so that its server may have counted less than it sent (Claude says 1 at the start).
    """
    given, taken = usage.input_tokens, usage.output_tokens
    if given is not None and taken is not None and not cut:
        return usage
    if given is None:
        given = info.prompt_tokens()
    if taken is None or cut:
        said = response.message.parts if isinstance(response, ChatResponse) else ()
        taken = max(taken or 0, sum(map(approximate_part_tokens, said)))
    return replace(usage, input_tokens=given, output_tokens=taken)


def looked_up(find: Callable[[], float | None]) -> float | None:
    """What `find` finds in a price table; None, and a word in the log, when it raises: tokens count all the same."""
    try:
        return find()
    except Exception:  # noqa: BLE001  # a price table is the application's, and so is what it raises
        tell_not_known()
        return None


def tell_not_known() -> None:
    """Log the exception that is being handled: a cost could not be looked up."""
    logger.exception("the cost of a call could not be looked up: it counts as not known")


def told_cost(response: ChatResponse | Embeddings) -> float | None:
    """The cost of a response; None when looking it up fails: a price that is not found must not lose the tokens."""
    try:
        return response.cost
    except Exception:  # noqa: BLE001  # as in `looked_up`, which for each call is dearer
        tell_not_known()
        return None


def cost_of(response: ChatResponse | Embeddings, info: Any, usage: Usage) -> float | None:
    """The cost of a response in USD; by `usage`, its completed one, where the server did not count its tokens."""
    cost = told_cost(response)
    if cost is not None or info.prices is None:
        return cost
    model = info.model or response.model or ""
    return looked_up(lambda: info.prices.cost(info.provider, model, usage, tier=tier_of(usage)))


def cost_later(response: ChatResponse | Embeddings, info: Any, usage: Usage) -> Callable[[], float | None]:
    """What gives the `cost_of` a response: for those who need not know it now. It does not keep the response."""
    told, prices = response.unlooked_cost, info.prices
    provider, model = info.provider, info.model or response.model or ""

    def look_up() -> float | None:
        cost = told() if callable(told) else told
        if cost is None and prices is not None:
            cost = prices.cost(provider, model, usage, tier=tier_of(usage))
        return cost

    return lambda: looked_up(look_up)


def tier_of(usage: Usage) -> str | None:
    """The service tier that a server billed, unless it is the usual one."""
    if usage.native is None:
        return None
    tier = usage.native.get("service_tier") if isinstance(usage.native, Mapping) else None
    return tier if isinstance(tier, str) and tier not in _STANDARD else None
