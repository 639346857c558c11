"""What `doctor` found out, as data."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, field
from typing import Any

from unified_llm import __version__
from unified_llm.cli.extras import Extra
from unified_llm.cli.failures import describe
from unified_llm.cli.probes import ServerState
from unified_llm.detection import Detection
from unified_llm.responses import ModelInfo

__all__ = ["KeyState", "Report"]


@dataclass(frozen=True, slots=True)
class KeyState:
    """Whether a provider has a key, and where: the name of the source and of the variable, never the value."""

    provider: str
    source: str | None
    variable: str | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The known fields, and whether a key is set."""
        known = {n: v for n in self.__slots__ if (v := getattr(self, n)) is not None}
        return known | {"set": self.source is not None}


@dataclass(slots=True)
class Report:
    """Everything found. `auto` is what ``provider="auto"`` would use, or the error it would raise."""

    extras: list[Extra]
    keys: list[KeyState]
    servers: list[ServerState]
    local_models: list[ModelInfo] | Exception
    auto: Detection | Exception
    problems: list[str] = field(default_factory=list)
    next_steps: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        found = self.local_models
        return {
            "version": __version__,
            "python": platform.python_version(),
            "executable": sys.executable,
            "platform": platform.platform(),
            "auto": _auto_dict(self.auto),
            "extras": [e.to_dict() for e in self.extras],
            "keys": [k.to_dict() for k in self.keys],
            "servers": [s.to_dict() for s in self.servers],
            "local_models": [] if isinstance(found, Exception) else [m.to_dict() for m in found],
            **({"local_models_error": describe(found)} if isinstance(found, Exception) else {}),
            "problems": self.problems,
            "next": self.next_steps,
        }


def _auto_dict(auto: Detection | Exception) -> dict[str, Any]:
    if isinstance(auto, Exception):
        return {"error": describe(auto)}
    return {"provider": auto.provider, "reason": auto.reason, "tried": list(auto.tried)}
