"""The command line: ``unified-llm chat | compare | embed | models | auth | doctor | mcp``. See docs/cli.md.

Nothing heavy is imported before a command runs: typer is loaded by `main`, the client by the command that needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see `unified_llm.cli.exits`). `argv` defaults to the process's."""
    from unified_llm.cli.app import run

    return run(list(sys.argv[1:] if argv is None else argv))
