"""``unified-llm mcp``: hands its arguments to the MCP server, which is a package of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from unified_llm.cli.failures import Leave, reporting
from unified_llm.cli.output import Output

__all__ = ["mcp"]


def mcp(
    ctx: typer.Context,
    arguments: Annotated[list[str] | None, typer.Argument(help="Arguments of unified-llm-mcp.", metavar="...")] = None,
) -> None:
    """Run the MCP server (package unified-llm-mcp).

    `unified-llm mcp --help` shows its own options."""
    with reporting(Output()):
        from unified_llm._optional import installed
        from unified_llm.errors import MissingDependencyError

        if not installed("unified_llm_mcp"):
            raise MissingDependencyError(
                "the MCP server is not installed", hint="pip install unified-llm-mcp (or: uvx unified-llm-mcp)"
            )
        import unified_llm_mcp

        raise Leave(int(unified_llm_mcp.main([*(arguments or ()), *ctx.args]) or 0))
