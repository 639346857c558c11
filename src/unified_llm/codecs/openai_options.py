"""Options of a call as body fields of the OpenAI chat dialect, as far as the profile lets them through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from unified_llm.codecs.openai_draft import Draft
from unified_llm.profiles import EFFORTS
from unified_llm.requests import ModelConfig, nearest, unknown_option

__all__ = ["BUDGET_EFFORTS", "nearest_effort", "put", "put_options", "put_unknown"]

Body: TypeAlias = dict[str, Any]

# Sent under their own names, as they are.
_PLAIN = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "user")
# Prompts beyond this many tokens of thinking budget ask for the next higher effort.
BUDGET_EFFORTS = ((2048, "low"), (8192, "medium"))


def put(body: Body, path: str, value: Any) -> None:
    """Set a dotted field, such as ``thinking.budget_tokens``."""
    *parents, last = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[last] = value


def put_options(body: Body, config: ModelConfig, draft: Draft, *, has_tools: bool) -> None:
    """Add every option that is set and understood to `body`; the others are recorded, or raise, by policy."""
    if len(vars(config)) == 1 and not config.unknown:
        return  # nothing is set, as in most calls
    for name in _PLAIN:
        value = getattr(config, name)
        if value is not None and draft.takes(name):
            body[name] = value
    if config.max_tokens is not None and draft.takes("max_tokens"):
        body[draft.profile.max_tokens_field] = config.max_tokens
    if config.stop_sequences and draft.takes("stop_sequences"):
        body["stop"] = list(config.stop_sequences)
    if config.seed is not None and draft.takes("seed"):
        body[draft.profile.seed_field] = config.seed
    # Without tools this has no meaning, and OpenAI refuses it.
    if config.parallel_tool_calls is not None and has_tools and draft.takes("parallel_tool_calls"):
        body["parallel_tool_calls"] = config.parallel_tool_calls
    if config.logprobs and draft.takes("logprobs"):
        body["logprobs"] = True
        if config.logprobs is not True:
            body["top_logprobs"] = config.logprobs
    thinking, effort = _one_of(config.thinking, config.effort, draft)
    if thinking is not None and draft.takes("thinking"):
        _put_thinking(body, thinking, effort, draft)
    if effort is not None and draft.takes("effort"):
        _put_effort(body, effort, draft)
    if config.prompt_caching is not None:
        _CACHING[draft.profile.prompt_caching](body, config.prompt_caching, draft)
    for name in config.unknown:
        put_unknown(name, config, draft)


def put_unknown(name: str, config: ModelConfig, draft: Draft) -> None:
    """Record an option that nobody knows, or raise `UnsupportedOptionError`, by policy."""
    if config.on_unsupported == "error":
        raise unknown_option(name, provider=draft.provider)
    guess = nearest(name, ModelConfig.option_names())
    draft.drop(name, f"no option of that name{'; ' + guess if guess else ''}")


# -- thinking ---------------------------------------------------------------------------------------------------------


def _one_of(thinking: bool | int | None, effort: str | None, draft: Draft) -> tuple[bool | int | None, str | None]:
    """Both, or only the more precise one where the server refuses both: a budget, then an effort, then a switch."""
    profile = draft.profile
    if not thinking or effort is None or not {"thinking", "effort"}.isdisjoint(draft.refused):
        return thinking, effort
    if thinking is not True and profile.thinking_budget_field is not None:
        draft.drop("effort", f"{draft.provider} takes either a token budget or an effort: the budget is sent")
        return thinking, None
    if profile.thinking == "type" and profile.thinking_budget_field is not None:
        return None, effort  # Fireworks takes either, and an effort says as much as the switch
    if profile.thinking == "google":
        draft.drop("thinking", f"{draft.provider} takes either it or an effort: the effort is sent")
        return None, effort
    return thinking, effort


def _put_thinking(body: Body, thinking: bool | int, effort: str | None, draft: Draft) -> None:
    profile = draft.profile
    if not thinking:  # False, or a budget of nothing
        _switch(body, False, draft)
    elif thinking is True:
        if effort is None or profile.thinking != "effort":
            _switch(body, True, draft)
    elif profile.thinking_budget_field is not None:
        _switch(body, True, draft)
        put(body, profile.thinking_budget_field, int(thinking))
    elif profile.thinking == "effort" or profile.thinking == "reasoning":
        if effort is None:
            level = next((name for limit, name in BUDGET_EFFORTS if thinking <= limit), "high")
            draft.change("thinking", f"{draft.provider} has no token budget: it is sent as an effort")
            _put_effort(body, level, draft)
    elif profile.thinking == "none":
        _switch(body, True, draft)
    else:
        draft.change("thinking", f"{draft.provider} has no token budget: thinking is only switched on")
        _switch(body, True, draft)


def _switch(body: Body, on: bool, draft: Draft) -> None:
    """Turn thinking on or off in the server's way."""
    profile = draft.profile
    match profile.thinking:
        case "template":
            put(body, "chat_template_kwargs.enable_thinking", on)
        case "type":
            put(body, "thinking.type", "enabled" if on else "disabled")
        case "reasoning":
            put(body, "reasoning.enabled", on)
        case "google" if on:
            put(body, "extra_body.google.thinking_config.include_thoughts", True)
        case "effort" if on:
            if profile.thinking_on is not None:
                put(body, profile.effort_field, profile.thinking_on)
        case "effort" | "google" if "none" in profile.efforts:
            put(body, profile.effort_field, "none")
        case _:
            state = "on" if on else "off"
            draft.drop("thinking", f"this model of {draft.provider} has no way to switch it {state}")


def _put_effort(body: Body, effort: str, draft: Draft) -> None:
    profile = draft.profile
    if effort not in profile.efforts:
        if effort == "none" and profile.thinking in ("template", "type", "reasoning"):
            _switch(body, False, draft)
            return
        accepted = nearest_effort(effort, profile.efforts)
        draft.change("effort", f"{draft.provider} does not know {effort!r}: {accepted!r} is sent")
        effort = accepted
    put(body, profile.effort_field, effort)


def nearest_effort(effort: str, accepted: tuple[str, ...]) -> str:
    """The accepted effort next to `effort`; of two at the same distance, the lower. Only "none" becomes "none"."""
    if effort != "none":
        accepted = tuple(e for e in accepted if e != "none") or accepted  # thinking is off only when that was asked
    if effort not in EFFORTS:
        return accepted[-1]
    place = EFFORTS.index(effort)
    known = [e for e in accepted if e in EFFORTS]
    return min(known, key=lambda e: abs(EFFORTS.index(e) - place)) if known else accepted[-1]


# -- prompt caching ---------------------------------------------------------------------------------------------------


def _no_caching(body: Body, value: bool | str, draft: Draft) -> None:
    draft.drop("prompt_caching", f"{draft.provider} gives no control over it")


def _automatic_caching(body: Body, value: bool | str, draft: Draft) -> None:
    if value is False:
        draft.drop("prompt_caching", f"{draft.provider} always caches prompts")
    elif value is not True:
        draft.change("prompt_caching", f"{draft.provider} caches prompts by itself and chooses the lifetime")


def _openai_caching(body: Body, value: bool | str, draft: Draft) -> None:
    if value == "24h":
        body["prompt_cache_retention"] = "24h"
    else:
        _automatic_caching(body, value, draft)


def _llama_caching(body: Body, value: bool | str, draft: Draft) -> None:
    body["cache_prompt"] = value is not False
    if isinstance(value, str):
        draft.change("prompt_caching", "the cache lasts as long as the server's slot")


_CACHING: Mapping[str, Callable[[Body, bool | str, Draft], None]] = {
    "none": _no_caching,
    "automatic": _automatic_caching,
    "retention": _openai_caching,
    "cache_prompt": _llama_caching,
}
