"""What ``--dry-run`` shows: the entry that changes and nothing else of the file, which may hold anybody's secrets."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from unified_llm.errors import redact
from unified_llm_mcp.clients import Client
from unified_llm_mcp.install import is_ours

__all__ = ["difference"]

HIDDEN = "[hidden]"
UNCHANGED = "[unchanged]"


def difference(
    client: Client, path: Path, name: str, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> str:
    """The difference between two configurations; empty when there is none. None stands for "no file".

    Of the server called `name` it shows the command, our arguments and the names of variables; of everything else
    that stays as it is nothing.
    """
    if before == after:
        return ""
    old = [] if before is None else _view(client, name, before, after or {})
    new = [] if after is None else _view(client, name, after, before or {})
    return "".join(difflib.unified_diff(old, new, str(path), str(path)))


def _view(client: Client, name: str, config: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The lines of a configuration with everything hidden that is not to be shown."""
    shown: dict[str, Any] = {}
    servers = config.get(client.key)
    if isinstance(servers, dict):
        shown[client.key] = {key: _entry(one) if key == name else UNCHANGED for key, one in servers.items()}
    if config.get("inputs") != other.get("inputs"):
        known = other.get("inputs") or []
        shown["inputs"] = [UNCHANGED if one in known else one for one in config.get("inputs", [])]
    return json.dumps(shown, indent=2, ensure_ascii=False).splitlines(keepends=True)


def _entry(server: Any) -> Any:
    """An entry: an argument or variable of any server may be a secret; references to variables are none."""
    if not isinstance(server, dict):
        return HIDDEN
    ours = is_ours(server)
    return {key: _value(key, value, ours) for key, value in server.items()}


def _value(key: str, value: Any, ours: bool) -> Any:
    if key in ("type", "command") and isinstance(value, str):
        return redact(value)
    if key == "args" and isinstance(value, list):
        return [redact(str(one)) if ours or _is_option(one) else HIDDEN for one in value]
    if isinstance(value, dict):
        return {name: one if _is_reference(one) else HIDDEN for name, one in value.items()}
    return HIDDEN


def _is_option(argument: Any) -> bool:
    return isinstance(argument, str) and argument.startswith("--") and "=" not in argument


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("${") and value.endswith("}") and value.count("$") == 1
