"""Shell completion of provider names and model ids. Reads the registry and a cache file; asks no server."""

from __future__ import annotations

import os

import typer

__all__ = ["complete_model", "complete_prompt", "complete_provider"]


def complete_provider(incomplete: str) -> list[tuple[str, str]]:
    """Provider names, with their descriptions."""
    from unified_llm.providers.registry import PROVIDER_CONFIGS, provider_names

    described = ((n, PROVIDER_CONFIGS[n].description if n in PROVIDER_CONFIGS else "") for n in provider_names())
    return [(name, text) for name, text in described if name.startswith(incomplete)]


def complete_model(ctx: typer.Context, incomplete: str) -> list[str]:
    """Model references: bare ids too when ``--provider`` is given; ``provider:`` where nothing is cached."""
    from unified_llm.cli.model_cache import cached_models
    from unified_llm.providers.registry import canonical_name, provider_names

    cached = cached_models()
    chosen = canonical_name(str(ctx.params.get("provider") or ""))
    refs = [*cached.get(chosen, ())] if chosen else []
    if not chosen:
        for name in provider_names():
            refs += [f"{name}:{model}" for model in cached.get(name, ())] or [f"{name}:"]
    return [ref for ref in refs if ref.startswith(incomplete)]


def complete_prompt(incomplete: str) -> list[str]:
    """Model ids after ``--model provider:`` in bash, which takes the colon for the end of a word; else nothing."""
    from unified_llm.cli.model_cache import cached_models

    words = os.environ.get("COMP_WORDS", "").split("\n")
    at = int(os.environ.get("COMP_CWORD") or 0)
    if at < 4 or words[at - 1 : at] != [":"] or words[at - 3] not in ("-m", "--model"):
        return []
    return [model for model in cached_models().get(words[at - 2], ()) if model.startswith(incomplete)]
