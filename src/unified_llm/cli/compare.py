"""``unified-llm compare``: one prompt, several models, side by side."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unified_llm.cli.complete import complete_model
from unified_llm.cli.failures import describe, reporting
from unified_llm.cli.options import Debug, Json, Retries, Timeout, Verbose
from unified_llm.cli.output import Output

if TYPE_CHECKING:
    from unified_llm.comparison import Comparison

__all__ = ["compare"]

_WIDTH = 60


def compare(
    prompt: Annotated[list[str] | None, typer.Argument(help="What to ask; without it, stdin is the prompt.")] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="PROVIDER:MODEL",
            help="A model to ask. Give several.",
            autocompletion=complete_model,
        ),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="System prompt.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", metavar="0..2", help="Sampling.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, metavar="N", help="Longest answer.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw times, speeds and costs: .png, .svg or .pdf.")
    ] = None,
    timeout: Timeout = None,
    retries: Retries = None,
    json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Ask several models the same, at once, and compare answers, times, tokens and costs.

    \b
      unified-llm compare "Why is the sky blue?" -m claude:claude-sonnet-5-5 -m openai:gpt-5-mini -m local:
    """
    out = Output(json=json, verbose=verbose, debug=debug)
    with reporting(out):
        from unified_llm.cli import compare_plot
        from unified_llm.cli.prompt import user_message
        from unified_llm.client import UnifiedLLM
        from unified_llm.comparison import compare_async

        if plot is not None:
            compare_plot.check(plot)  # before anything is paid for
        message = user_message(" ".join(prompt or ()), _piped(out), ())
        out.status("asking…")

        async def ask() -> list[Comparison]:  # Ctrl-C ends every request of an event loop, and none of a thread
            async with UnifiedLLM(max_retries=retries) as llm:
                return await compare_async(
                    [message],
                    models or (),
                    llm=llm,
                    system=system,
                    temperature=temperature,
                    max_tokens=max_tokens,
                    timeout=timeout,
                )

        results = asyncio.run(ask())
        _show(out, results)
        if plot is not None:
            compare_plot.draw(plot, results)
            out.note(f"drew {plot}")


def _piped(out: Output) -> str | None:
    from unified_llm.cli.prompt import decode_text, piped_stdin

    data = piped_stdin()
    return decode_text(data, "stdin", out) if data else None


def _show(out: Output, results: list[Comparison]) -> None:
    """The table, or the JSON; when nobody answered, the first failure is the command's."""
    errors = [r.error for r in results if r.error is not None]
    if len(errors) == len(results):
        for failed in errors[1:]:
            out.warn(f"{getattr(failed, 'provider', None) or 'error'}: {describe(failed)['message']}")
        raise errors[0]
    if out.json:
        out.data({"results": [r.to_dict() | _described(r) for r in results]})
        return
    out.table(("MODEL", "SECONDS", "FIRST", "TOKENS", "PER SECOND", "USD", "ANSWER"), [_row(r) for r in results])
    for result in results:
        if result.error is not None:
            out.warn(f"{result.model}: {describe(result.error)['message']}")
        elif out.verbose:
            out.line(f"\n--- {result.model}\n{result.text}")


def _described(result: Comparison) -> dict[str, object]:
    return {} if result.error is None else {"error": describe(result.error)}


def _row(result: Comparison) -> tuple[str, ...]:
    usage = result.usage
    said = f"({type(result.error).__name__})" if result.error is not None else result.text or ""
    text = " ".join(said.split())
    return (
        result.model,
        f"{result.seconds:.2f}",
        _number(result.time_to_first_token, ".2f"),
        f"{_number(usage.input_tokens, 'd')}+{_number(usage.output_tokens, 'd')}",
        _number(result.tokens_per_second, ".0f"),
        _number(result.cost, ".6f"),
        text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}...",
    )


def _number(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)
