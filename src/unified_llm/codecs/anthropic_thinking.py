"""Thinking, effort and the output limit: three options of Claude that depend on each other and on the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unified_llm.codecs.anthropic_models import ClaudeFamily
from unified_llm.codecs.anthropic_notes import Notes
from unified_llm.errors import InvalidRequestError
from unified_llm.requests import ChatRequest, ModelConfig

__all__ = ["DEFAULT_MAX_TOKENS", "max_tokens", "thinking"]

DEFAULT_MAX_TOKENS = 16_384
_SMALLEST_BUDGET = 1024
_DEFAULT_BUDGET = 8192
_EFFORT_WORDS = {"minimal": "low"}
_EFFORT_ORDER = ("low", "medium", "high", "xhigh", "max")
_BUDGET_EFFORT = ((2048, "low"), (8192, "medium"), (24_576, "high"))


def thinking(request: ChatRequest, family: ClaudeFamily, notes: Notes) -> tuple[dict[str, Any] | None, str | None]:
    """The ``thinking`` object and the effort level, either may be None (not sent).

    True asks for the model's own way (adaptive, else a budget of 8192 tokens); False, 0 or effort "none" switches it
    off where that is possible, else asks for the lowest effort; a number is a budget on models that take one, else
    the effort nearest to it.
    """
    config = request.config
    wanted: bool | int | None = config.thinking
    effort = _EFFORT_WORDS.get(config.effort, config.effort) if config.effort else None
    if effort == "none":
        wanted, effort = (False if wanted is None else wanted), None
    if wanted is None:
        return None, _effort(effort, family.efforts, notes)
    if wanted is False or wanted == 0:
        return _off(request.model, effort, family, notes)
    if wanted is not True and "enabled" in family.thinking:
        return _budget(wanted, config, notes), _effort(effort, family.efforts, notes)
    if "adaptive" not in family.thinking:
        return _budget(_DEFAULT_BUDGET, config, notes), _effort(effort, family.efforts, notes)
    if wanted is not True and effort is None:
        effort = next((word for top, word in _BUDGET_EFFORT if wanted <= top), "xhigh")
        notes.changed("thinking", f"{request.model} takes no token budget: effort {effort!r} is asked instead")
    return {"type": "adaptive", "display": "summarized"}, _effort(effort, family.efforts, notes)


def _off(
    model: str, effort: str | None, family: ClaudeFamily, notes: Notes
) -> tuple[dict[str, Any] | None, str | None]:
    kind = next((k for k in ("disabled", "between_tools") if k in family.thinking), None)
    if kind is not None:
        return {"type": kind}, _effort(effort, family.efforts_when_off, notes)
    notes.changed("thinking", f"{model} always thinks: effort 'low' is asked instead")
    return None, _effort("low", family.efforts, notes)


def _effort(effort: str | None, accepted: tuple[str, ...], notes: Notes) -> str | None:
    """The highest accepted level that is not above `effort`."""
    if effort is None or effort in accepted:
        return effort
    if not accepted or effort not in _EFFORT_ORDER:
        notes.dropped("effort", "this model has no effort levels" if not accepted else f"no such level: {effort!r}")
        return None
    limit = _EFFORT_ORDER.index(effort)
    lower = [level for level in accepted if _EFFORT_ORDER.index(level) <= limit]
    level = lower[-1] if lower else accepted[0]
    notes.changed("effort", f"not {effort!r} here: {level!r} is asked instead")
    return level


def _budget(wanted: int, config: ModelConfig, notes: Notes) -> dict[str, Any]:
    """A budget of at least 1024 tokens, below max_tokens when that was given."""
    budget = max(int(wanted), _SMALLEST_BUDGET)
    if budget != wanted:
        notes.changed("thinking", f"the smallest budget is {_SMALLEST_BUDGET} tokens")
    if config.max_tokens is not None and budget >= config.max_tokens:
        if config.max_tokens <= _SMALLEST_BUDGET:
            raise InvalidRequestError(
                f"max_tokens={config.max_tokens} leaves no room to think",
                hint=f"thinking takes at least {_SMALLEST_BUDGET} tokens of max_tokens: raise it, or thinking=False",
            )
        budget = max(_SMALLEST_BUDGET, config.max_tokens // 2)
        notes.changed("thinking", f"the budget must be below max_tokens: {budget} tokens")
    return {"type": "enabled", "budget_tokens": budget}


def max_tokens(config: ModelConfig, family: ClaudeFamily, thought: Mapping[str, Any] | None, notes: Notes) -> int:
    """The output limit, which this API requires: 16384 when unset, on top of a thinking budget, within the model's."""
    if config.max_tokens is None:
        budget = thought.get("budget_tokens", 0) if thought else 0
        return min(DEFAULT_MAX_TOKENS + int(budget), family.max_output or 1 << 31)
    if family.max_output is not None and config.max_tokens > family.max_output:
        notes.changed("max_tokens", f"this model writes at most {family.max_output} tokens")
        return family.max_output
    return config.max_tokens
