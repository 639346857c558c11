"""Providers that other installed packages bring, through the entry-point group ``unified_llm.providers``.

In their pyproject.toml: ``[project.entry-points."unified_llm.providers"]`` and ``acme = "acme_llm:AcmeProvider"``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from unified_llm.errors import ConfigurationError

__all__ = ["GROUP", "load_plugin", "plugins"]

GROUP = "unified_llm.providers"


def plugins() -> Mapping[str, EntryPoint]:
    """Name in lower case to the entry point; nothing is imported."""
    return _scan(tuple(sys.path))


@lru_cache(maxsize=4)
def _scan(path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    # Kept, because each look reads the metadata of every installed package (tens of milliseconds), and every model id
    # with a colon in it, as Ollama's have, is looked up here.
    return {entry.name.lower(): entry for entry in entry_points(group=GROUP)}


def load_plugin(entry: EntryPoint) -> Any:
    """What the entry point names. Raises `ConfigurationError` when it cannot be imported, for whatever reason."""
    try:
        return entry.load()
    except Exception as exc:
        package = entry.dist.name if entry.dist is not None else entry.value
        raise ConfigurationError(
            f"the provider {entry.name!r} of the package {package!r} cannot be loaded: {type(exc).__name__}: {exc}",
            provider=entry.name,
            hint=f"update or uninstall {package}; the other providers work without it",
        ) from exc
