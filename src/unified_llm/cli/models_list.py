"""What ``unified-llm models list`` does."""

from __future__ import annotations

import os
from functools import partial

from unified_llm.cli.concurrently import gather
from unified_llm.cli.failures import describe
from unified_llm.cli.model_cache import remember_models
from unified_llm.cli.output import Output
from unified_llm.client import UnifiedLLM
from unified_llm.credentials import missing_key
from unified_llm.errors import (
    APIConnectionError,
    APITimeoutError,
    MissingDependencyError,
    ModelNotFoundError,
    ResponseError,
    UnsupportedOptionError,
)
from unified_llm.providers.registry import PROVIDER_CONFIGS, canonical_name, unknown_provider
from unified_llm.responses import ModelInfo

__all__ = ["show_models"]

_SHOWN = 20  # models of one provider, unless --all: some services list hundreds


def show_models(out: Output, *, provider: str | None, base_url: str | None, everything: bool, seconds: float) -> None:
    """List models; see the command.

    Raises:
        UnifiedLLMError: the one provider that was asked for failed, or no provider answered.
    """
    found, failed = _ask(provider, base_url, seconds)
    if not found and failed:
        raise next(iter(failed.values()))
    if everything and provider is None and base_url is None:
        failed |= _unusable({*found, *failed})
    _remember(found, out)
    if out.json:
        models = [{**m.to_dict(), "ref": m.ref} for models in found.values() for m in models]
        out.data({"models": models, "errors": {name: describe(exc) for name, exc in failed.items()}})
        return
    _show_table(found, everything, out)
    _show_failures(failed, everything or out.verbose, out)


def _ask(
    provider: str | None, base_url: str | None, seconds: float
) -> tuple[dict[str, list[ModelInfo]], dict[str, Exception]]:
    if base_url is not None and provider is None:
        provider = "openai-compatible"
    with UnifiedLLM(provider or "offline", base_url=base_url) as llm:
        if provider is not None:
            name = canonical_name(provider)
            if name is None:
                raise unknown_provider(provider)
            names = [name]
        else:
            names = llm.list_providers()
        answers = gather({name: partial(llm.list_models, name) for name in names}, seconds)
    found = {name: result for name, result in answers.items() if not isinstance(result, Exception)}
    failed = {name: _as_ours(name, result) for name, result in answers.items() if isinstance(result, Exception)}
    return found, failed


def _as_ours(name: str, error: Exception) -> Exception:
    if isinstance(error, TimeoutError) and not isinstance(error, APITimeoutError):
        return APITimeoutError(str(error), provider=name, hint="--timeout SECONDS waits longer")
    return error


def _unusable(known: set[str]) -> dict[str, Exception]:
    """Why each provider that was not asked cannot be: a key or a package is missing."""
    reasons: dict[str, Exception] = {}
    for name, config in PROVIDER_CONFIGS.items():
        if name in known:
            continue
        if config.needs_key:
            reasons[name] = missing_key(name, config.env)
        elif config.base_url_env and not config.base_url:
            reasons[name] = UnsupportedOptionError(
                f"no address: {config.base_url_env} is not set", provider=name, hint=f"set {config.base_url_env}"
            )
        else:
            reasons[name] = MissingDependencyError(
                "its package is not installed", provider=name, hint=f'pip install "unified-llm[{name}]"'
            )
    return reasons


def _remember(found: dict[str, list[ModelInfo]], out: Output) -> None:
    try:
        remember_models({name: [m.id for m in models] for name, models in found.items()})
    except (OSError, RuntimeError) as exc:  # RuntimeError: there is no home folder
        if out.verbose or out.debug:
            out.note(f"note: the list for shell completion was not kept: {getattr(exc, 'strerror', None) or exc}")


def _show_table(found: dict[str, list[ModelInfo]], everything: bool, out: Output) -> None:
    rows, hidden = [], []
    for name, models in found.items():
        shown = models if everything else models[:_SHOWN]
        rows += [_row(m) for m in shown]
        if len(shown) < len(models):
            hidden.append(f"{name} has {len(models) - len(shown)} more")
    out.table(("MODEL", "KIND", "CONTEXT", "SIZE", "LOADED", "CAN"), rows)
    if hidden:
        out.note(f"note: {', '.join(hidden)}: --all lists them")


def _row(model: ModelInfo) -> tuple[str, ...]:
    can = [name for name, known in sorted(model.capabilities.items()) if known == "yes"]
    return (
        model.ref,
        model.kind or "",
        str(model.context_window or ""),
        f"{model.size_bytes / 1e9:.2f} GB" if model.size_bytes is not None else "",
        "" if model.loaded is None else "yes" if model.loaded else "no",
        ", ".join(can),
    )


def _show_failures(failed: dict[str, Exception], everything: bool, out: Output) -> None:
    """Servers that are simply not running are one line; every other failure has its own."""
    absent = [] if everything else [name for name, error in failed.items() if _is_absent(name, error)]
    for name, error in failed.items():
        if name not in absent:
            out.warn(f"{name}: {describe(error)['message']}")
    if absent:
        out.note(f"not running: {', '.join(absent)}")


def _is_absent(name: str, error: Exception) -> bool:
    """Whether nothing, or another program, is at an address that nobody configured."""
    config = PROVIDER_CONFIGS[name]
    if config.needs_key or os.environ.get(config.base_url_env or ""):
        return isinstance(error, APIConnectionError) and not config.needs_key
    return isinstance(error, (APIConnectionError, ModelNotFoundError, ResponseError))
