"""An MCP server that offers any language model as tools. ``build_server(client, settings)``, or run `main`.

Importing this package loads neither the MCP SDK nor a provider's SDK.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from unified_llm_mcp.cli import main
    from unified_llm_mcp.server import ModelServer, build_server
    from unified_llm_mcp.settings import Settings

__all__ = ["ModelServer", "Settings", "__version__", "build_server", "main"]

_HOMES = {
    "ModelServer": "unified_llm_mcp.server",
    "Settings": "unified_llm_mcp.settings",
    "build_server": "unified_llm_mcp.server",
    "main": "unified_llm_mcp.cli",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
