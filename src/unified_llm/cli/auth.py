"""``unified-llm auth``: keep, list, remove and try API keys. No command ever prints one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from unified_llm.cli.complete import complete_provider
from unified_llm.cli.failures import reporting
from unified_llm.cli.options import Debug, Json, Timeout, show_help_alone
from unified_llm.cli.output import Output

__all__ = ["app"]

app = typer.Typer(
    help="Keep, list, remove and try API keys. Their values are never shown.", invoke_without_command=True
)


class Store(StrEnum):
    """Where a key can be kept."""

    CONFIG = "config"
    KEYRING = "keyring"


Name = Annotated[
    str, typer.Argument(metavar="PROVIDER", help="Such as claude or openai.", autocompletion=complete_provider)
]


@app.callback()
def auth(ctx: typer.Context) -> None:
    show_help_alone(ctx)


@app.command("set")
def set_key(
    provider: Name,
    source: Annotated[
        Store, typer.Option("--source", help="The configuration file, or the system's keyring.")
    ] = Store.CONFIG,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the key from stdin, as scripts do.")] = False,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Keep this address of the provider, too.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Keep a key. It is asked for without showing it.

    \b
      unified-llm auth set claude
      pass show openai | unified-llm auth set openai --stdin --source keyring
    """
    out = Output(json=json, debug=debug)
    with reporting(out):
        from unified_llm.cli.auth_keys import keep

        keep(out, provider, str(source), from_stdin=stdin, base_url=base_url)


@app.command("list")
def list_keys(json: Json = False, debug: Debug = False) -> None:
    """List the providers that have a key, and where it comes from."""
    out = Output(json=json, debug=debug)
    with reporting(out):
        from unified_llm.cli.auth_keys import show

        show(out)


@app.command("remove")
def remove_key(
    provider: Name,
    source: Annotated[Store | None, typer.Option("--source", help="Only from there; both without this.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Forget a provider's key, in the configuration file and in the keyring."""
    out = Output(json=json, debug=debug)
    with reporting(out):
        from unified_llm.cli.auth_keys import forget

        forget(out, provider, source and str(source))


@app.command("test")
def try_key(
    provider: Name,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="Ask this model for a word; costs a few tokens."),
    ] = None,
    timeout: Timeout = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Try a key: list the provider's models, which costs nothing, and say what failed."""
    out = Output(json=json, debug=debug)
    with reporting(out):
        from unified_llm.cli.auth_keys import attempt

        attempt(out, provider, model, timeout)
