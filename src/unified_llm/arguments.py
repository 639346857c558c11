"""What `UnifiedLLM` is given, checked when the client is made: a wrong kind would fail later, and elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from unified_llm.costs import PriceTable
from unified_llm.errors import ConfigurationError, brief
from unified_llm.flow.hooks import Hooks
from unified_llm.policy import BreakerSettings, Deployment, Limits, RetryPolicy
from unified_llm.policy.numbers import number_problem

__all__ = ["check_arguments", "checked_hooks"]

_HOOKS = tuple(name for name in vars(Hooks) if not name.startswith("_"))
_OF_CACHES = ("get", "put", "get_async", "put_async")
_NUMBERS: dict[str, tuple[dict[str, Any], str]] = {
    "timeout": ({"above": 0}, "seconds without progress"),
    "deadline": ({}, "seconds for a whole call"),  # `RetryPolicy` knows the ranges of these two
    "max_retries": ({"whole": True}, "how often a call is tried again; 0: never"),
}
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "base_url": (str, "a text such as 'http://127.0.0.1:8080/v1'"),
    "embed_model": (str, "a text such as 'local:'"),
    "headers": (Mapping, "a dictionary of texts"),
    "retry": (RetryPolicy, "RetryPolicy(...)"),
    "breaker": (BreakerSettings, "BreakerSettings(...)"),
    "prices": (PriceTable, "PriceTable(...)"),
    "limits": (Mapping, "a dictionary such as {'claude': Limits(concurrency=8)}"),
    "deployments": (Mapping, "a dictionary such as {'fast': ['openai:gpt-5-mini', Deployment(...)]}"),
}


def check_arguments(given: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for an argument of the wrong kind; None is always right."""
    for name, value in given.items():
        if value is None:
            continue
        if name in _KINDS and not isinstance(value, _KINDS[name][0]):
            raise _wrong(name, value, _KINDS[name][1])
        if name in _NUMBERS:
            _check_number(name, value)
    _check_limits(given.get("limits") or {})
    _check_deployments(given.get("deployments") or {})
    if given.get("on_usage") is not None and not callable(given["on_usage"]):
        raise _wrong("on_usage", given["on_usage"], "a function of one UsageRecord")
    if given.get("cache") is not None and not all(hasattr(given["cache"], name) for name in _OF_CACHES):
        raise _wrong("cache", given["cache"], "MemoryCache(), SQLiteCache(path), or an object with their methods")


def _check_number(name: str, value: object) -> None:
    wanted, what = _NUMBERS[name]
    problem = number_problem(value, **wanted)
    if problem is not None:
        raise ConfigurationError(
            f"{name} must be {problem}, and is {brief(value) or type(value).__name__}", hint=f"{name} is {what}"
        )


def _check_limits(limits: Mapping[str, Any]) -> None:
    for name, value in limits.items():
        if not isinstance(value, Limits):
            raise _wrong(f"limits[{name!r}]", value, "Limits(...)")


def _check_deployments(deployments: Mapping[str, Any]) -> None:
    for name, members in deployments.items():
        if isinstance(members, str) or not isinstance(members, Iterable):
            raise _wrong(f"deployments[{name!r}]", members, "a list of model references or Deployment(...)")
        for member in members:
            if not isinstance(member, (str, Deployment)):
                raise _wrong(f"deployments[{name!r}]", member, "a list of model references or Deployment(...)")


def checked_hooks(hooks: object) -> tuple[object, ...]:
    """The hooks. Raises `ConfigurationError` for what is none."""
    if isinstance(hooks, str) or not isinstance(hooks, Iterable):
        raise _wrong("hooks", hooks, "a list of objects")
    found = tuple(hooks)
    for hook in found:
        if isinstance(hook, type):
            raise ConfigurationError(f"the hook {hook.__name__} is a class", hint=f"make one: {hook.__name__}(...)")
        if not any(hasattr(hook, name) for name in _HOOKS):
            raise ConfigurationError(
                f"{type(hook).__name__} is no hook: it has none of the methods",
                hint=f"a hook has one or more of {', '.join(_HOOKS)}",
            )
    return found


def _wrong(name: str, value: object, what: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is {type(value).__name__}", hint=f"{name} is {what}")
