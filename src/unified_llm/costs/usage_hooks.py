"""The two functions of other clients' contract, as a hook: `increment_usage` counts calls, `get_usage` allows them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from unified_llm.costs.budget import BudgetExceeded
from unified_llm.costs.ledger import Ledger, UsageRecord
from unified_llm.errors import InvalidRequestError
from unified_llm.responses import ChatResponse, Embeddings

__all__ = ["UsageHooks"]


class UsageHooks:
    """``hooks=[UsageHooks(increment_usage, get_usage)]``; both may be coroutine functions.

    Args:
        increment_usage: called after each call that was answered, also for what arrived of one that was cut or left,
            or lost to a hedged one: it is billed. By the number of arguments it takes: one, the
            `UsageRecord`; two, cost (USD or None) and model; eleven, cost, model, operation, seconds, seconds to the
            first token, tokens in, tokens out, provider, project, region and cached tokens, in that order, the last
            five None where they are not known.
        get_usage: called before each call, with nothing; the call is only made if it answers with something true.

    Raises:
        InvalidRequestError: one of them is no function, or `increment_usage` takes another number of arguments.
        BudgetExceeded (from the call): `get_usage` did not allow it.
    """

    def __init__(
        self, increment_usage: Callable[..., Any] | None = None, get_usage: Callable[[], Any] | None = None
    ) -> None:
        self._increment = increment_usage
        self._arguments = _ARGUMENTS[_arity(increment_usage)] if increment_usage is not None else None
        if get_usage is not None and not callable(get_usage):
            raise InvalidRequestError(
                f"get_usage is {type(get_usage).__name__}", hint="pass a function without arguments"
            )
        self._allowed = get_usage

    def before_call(self, info: Any) -> Awaitable[None] | None:
        """The gate (the client calls this). Raises `BudgetExceeded`."""
        if self._allowed is None:
            return None
        answer = self._allowed()
        if inspect.isawaitable(answer):
            return _judge_later(answer)
        _judge(answer)
        return None

    def on_response(self, info: Any, response: ChatResponse | Embeddings) -> Any:
        """Count a call (the client calls this)."""
        if self._increment is None or self._arguments is None:
            return None
        return self._increment(*self._arguments(Ledger.record_of(info, response)))

    def on_partial(self, info: Any, response: ChatResponse) -> Any:
        """Count what arrived of a stream that did not end (the client calls this)."""
        if self._increment is None or self._arguments is None:
            return None
        return self._increment(*self._arguments(replace(Ledger.record_of(info, response), partial=True)))


def _judge(allowed: object) -> None:
    if not allowed:
        raise BudgetExceeded(
            f"get_usage() does not allow this call: it answered {'0' if allowed == 0 else type(allowed).__name__}",
            hint="it decides who may go on, with an answer that is true (a function that returns nothing says None)",
        )


async def _judge_later(answer: Awaitable[object]) -> None:
    _judge(await answer)


def _eleven(record: UsageRecord) -> tuple[Any, ...]:
    usage = record.usage
    tokens = (usage.input_tokens, usage.output_tokens)
    project = region = None  # addresses are the provider's business, and in no record
    return (
        record.cost,
        record.model,
        record.label or record.operation,
        record.latency,
        record.time_to_first_token,
        *tokens,
        record.provider,
        project,
        region,
        usage.cache_read_tokens,
    )


_ARGUMENTS: dict[int, Callable[[UsageRecord], tuple[Any, ...]]] = {
    1: lambda record: (record,),
    2: lambda record: (record.cost, record.model),
    11: _eleven,
}


def _arity(function: Callable[..., Any]) -> int:
    """The most arguments by position that fit one of the contracts."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as exc:  # no function, or one of C that does not tell
        raise InvalidRequestError(
            f"how increment_usage is called cannot be seen: it is {type(function).__name__}",
            hint="pass a function of 1 (the record), 2 (cost, model) or 11 arguments: lambda record: ...",
        ) from exc
    kinds = [parameter.kind for parameter in parameters]
    if needed := [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]:
        raise InvalidRequestError(
            f"increment_usage needs {', '.join(needed)} by name", hint="it is called with arguments by position alone"
        )
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 11
    count = sum(k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in kinds)
    if count not in _ARGUMENTS:
        raise InvalidRequestError(
            f"increment_usage takes {count} arguments", hint="it takes 1 (the record), 2 (cost, model) or 11"
        )
    return count
