"""The command line: serve over standard input and output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from unified_llm.errors import UnifiedLLMError
from unified_llm_mcp import __version__
from unified_llm_mcp.settings import TOOL_NAMES, Settings

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0, 2 for wrong arguments, 128 plus the number of a signal."""
    arguments = _parser().parse_args(argv)
    try:
        return _serve(arguments)
    except UnifiedLLMError as error:
        print(error, file=sys.stderr)  # noqa: T201  # a command talks to its user
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unified-llm-mcp", description="MCP server: any language model as tools, over standard input and output."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--model", help="provider:model used when a chat names none")
    parser.add_argument("--embed-model", help="provider:model used when an embedding names none")
    parser.add_argument("--tools", help=f"comma-separated names of the tools to offer (all: {','.join(TOOL_NAMES)})")
    parser.add_argument(
        "--allow-dir", action="append", default=[], type=Path, help="folder attachments may come from; repeatable"
    )
    parser.add_argument("--max-wait", type=float, help="seconds before a result becomes a handle (50; 0: never)")
    parser.add_argument("--max-tokens", type=int, help="most output tokens of one chat")
    parser.add_argument("--max-spend", type=float, dest="max_spend_usd", help="USD after which chats are refused")
    parser.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {
        name: value
        for name in ("model", "embed_model", "max_wait", "max_tokens", "max_spend_usd")
        if (value := getattr(arguments, name)) is not None
    }
    if arguments.tools is not None:
        given["tools"] = tuple(name.strip() for name in arguments.tools.split(",") if name.strip())
    return Settings(allow_dirs=tuple(arguments.allow_dir), **given)


def _serve(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from unified_llm_mcp.wire import claim_wire

    wire = claim_wire()  # before anything is imported that might print
    from unified_llm_mcp.log import configure_logging

    configure_logging(arguments.log_level)
    from unified_llm_mcp.server import build_server
    from unified_llm_mcp.stdio import run_until_signal, serve_stdio

    server = build_server(settings=settings)
    return run_until_signal(server, serve_stdio(server, wire))
