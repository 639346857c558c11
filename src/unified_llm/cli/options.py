"""Options that several commands share, declared once."""

from __future__ import annotations

import sys
from typing import Annotated, TypeAlias

import typer

from unified_llm.cli.complete import complete_model, complete_provider

__all__ = [
    "BaseURL",
    "Debug",
    "Fallback",
    "Json",
    "Model",
    "Provider",
    "Retries",
    "Timeout",
    "Verbose",
    "show_help_alone",
]

Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="[PROVIDER:]MODEL",
        help="Model to use, such as claude:claude-sonnet-5-5 or local:.",
        autocompletion=complete_model,
    ),
]
Provider: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--provider", "-p", metavar="NAME", help="Provider to use instead of auto.", autocompletion=complete_provider
    ),
]
BaseURL: TypeAlias = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="Address of the server; alone, of an OpenAI-compatible one."),
]
Timeout: TypeAlias = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Give up after this long in silence.")
]
Retries: TypeAlias = Annotated[
    int | None,
    typer.Option("--retries", min=0, metavar="N", help="Attempts after the first on failures that may pass (2)."),
]
Fallback: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--fallback",
        metavar="PROVIDER:MODEL",
        help="Ask this model when the first fails. Repeatable.",
        autocompletion=complete_model,
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON to stdout, errors included.")]
Verbose: TypeAlias = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more on stderr: model, tokens, time, thinking.")
]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show tracebacks and the library's log on stderr.")]


def show_help_alone(ctx: typer.Context) -> None:
    """A group without a command shows its help, and that is no error."""
    if ctx.invoked_subcommand is None:
        sys.stdout.write(ctx.get_help() + "\n")
