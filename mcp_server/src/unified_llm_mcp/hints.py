"""The library's hints for those who call tools: they pass no Python arguments, and run no commands on the server."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["for_callers"]

_CLAUSES = re.compile(r"; (?:or )?|, or (?=\w+ )")
_PYTHON = re.compile(r"\b[a-z_]+=(?!=)|\.partial\b|\b\w+\(|\bto embed\b|\bretry policy\b")
_ATTRIBUTE = re.compile(r" \(see retry_after\)")  # a result says it in words
_INSTALL = re.compile(r'^pip install (?:"?unified-llm\[(\w+)\]"?|.+)')


def for_callers(hint: str | None) -> str | None:
    """What of `hint` somebody can do who calls a tool, or who runs the server; None when that is nothing."""
    if not hint:
        return None
    # `max_tokens` is an argument of the tool, too.
    hint = _ATTRIBUTE.sub("", hint.replace("max_tokens=", "max_tokens").replace(str(Path.home()), "~"))
    clauses = _CLAUSES.split(hint)
    told = [_told(clause) for clause in clauses if not _PYTHON.search(clause)]
    return "; ".join(filter(None, told)) or None


def _told(clause: str) -> str:
    """A clause; what is to be installed has to be installed where the server runs, with whatever runs it."""
    found = _INSTALL.match(clause)
    if found is None:
        return clause.strip()
    with_uvx = f' (or start it with: uvx "unified-llm-mcp[{found[1]}]")' if found[1] else ""
    return f"whoever runs the server installs it there: {clause}{with_uvx}"
