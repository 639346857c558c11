"""Model ids seen by the last ``models list``, kept for shell completion, which must not ask any server."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["cache_file", "cached_models", "remember_models"]


def cache_file() -> Path:
    """Where the ids are: UNIFIED_LLM_CACHE_DIR, else the user's cache folder of this system."""
    chosen = os.environ.get("UNIFIED_LLM_CACHE_DIR")
    if chosen:
        return Path(chosen) / "models.json"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "unified-llm" / "models.json"


def cached_models() -> dict[str, list[str]]:
    """Model ids by provider; empty when nothing usable is cached."""
    try:
        value = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # absent, half written, or there is no home: a cache may be missing
        return {}
    if not isinstance(value, dict):
        return {}
    return {k: [m for m in v if isinstance(m, str)] for k, v in value.items() if isinstance(v, list)}


def remember_models(found: Mapping[str, Sequence[str]]) -> None:
    """Put the ids of these providers in the cache; those of other providers stay.

    Raises OSError, and RuntimeError where there is no home folder.
    """
    if not found:
        return
    path = cache_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(cached_models() | {k: list(v) for k, v in found.items()}, indent=1)
    # Written aside and moved: a completion that reads at this moment sees the old file or the new one.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".models-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
