"""Optional packages: imported on first use, with an error that names the extra to install."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from unified_llm.errors import MissingDependencyError

__all__ = ["installed", "missing", "require"]


def installed(module: str) -> bool:
    """Whether `module` can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a parent package is missing, or the module is half initialised
        return False


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or raise `MissingDependencyError` naming the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        if exc.name is not None and exc.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there, and something inside it is broken: say that, not "install it"
        raise missing(module, extra=extra, purpose=purpose) from exc


def missing(module: str, *, extra: str, purpose: str, otherwise: str | None = None) -> MissingDependencyError:
    """The error (not raised) for an absent package; `otherwise` says how to do without it."""
    return MissingDependencyError(
        f"{purpose} needs the package {module.split('.')[0]!r}, which is not installed",
        hint=f'pip install "unified-llm[{extra}]"' + (f"; {otherwise}" if otherwise else ""),
    )
