"""``unified-llm models``: what can be used, and downloads of what runs in this process."""

from __future__ import annotations

from typing import Annotated

import typer

from unified_llm.cli.failures import reporting
from unified_llm.cli.options import BaseURL, Debug, Json, Provider, Verbose, show_help_alone
from unified_llm.cli.output import Output

__all__ = ["app"]

app = typer.Typer(help="List models, and download GGUF models to run here.", invoke_without_command=True)


@app.callback()
def models(ctx: typer.Context) -> None:
    show_help_alone(ctx)


@app.command("list")
def list_models(
    provider: Provider = None,
    base_url: BaseURL = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Every model, and why each other provider cannot be used.")
    ] = False,
    seconds: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.01, help="Longest wait for each provider.")
    ] = 5.0,
    json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """List the models of every provider that can be used, or of one.

    All providers are asked at once. What answers in time is listed; the rest is reported on stderr.
    """
    out = Output(json=json, verbose=verbose, debug=debug)
    with reporting(out):
        from unified_llm.cli.models_list import show_models

        show_models(out, provider=provider, base_url=base_url, everything=everything, seconds=seconds)


@app.command("pull")
def pull(
    reference: Annotated[
        str,
        typer.Argument(metavar="REPO[:FILE]", help="A Hugging Face repository, and a file of it; or ollama:NAME."),
    ],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Download a GGUF model from Hugging Face, to run inside this process; or have a running Ollama download one.

    A download that was interrupted goes on where it stopped.

    \b
      unified-llm models pull Qwen/Qwen3-0.6B-GGUF
      unified-llm models pull Qwen/Qwen3-0.6B-GGUF:Qwen3-0.6B-Q8_0.gguf
      unified-llm models pull ollama:qwen3:0.6b
    """
    out = Output(json=json, debug=debug)
    with reporting(out):
        from unified_llm.cli.models_pull import pull_model

        pull_model(reference, out)
