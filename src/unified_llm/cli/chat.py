"""``unified-llm chat``: one prompt, a pipe, or a conversation in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from unified_llm.cli.complete import complete_prompt
from unified_llm.cli.failures import reporting
from unified_llm.cli.options import BaseURL, Debug, Fallback, Json, Model, Provider, Retries, Timeout, Verbose
from unified_llm.cli.output import Output

__all__ = ["chat"]


def chat(
    prompt: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to ask. Without it, stdin is the prompt; in a terminal, a conversation starts.",
            autocompletion=complete_prompt,
        ),
    ] = None,
    model: Model = None,
    provider: Provider = None,
    base_url: BaseURL = None,
    system: Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="System prompt.")] = None,
    image: Annotated[
        list[str] | None,
        typer.Option("--image", "-i", metavar="PATH|URL|-", help="Attach an image. May be given several times."),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="PATH|URL|-", help="Attach a file: text, PDF, image, sound. Repeatable."),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="FILE|JSON|MODULE:CLASS",
            help="Answer with JSON that fits a JSON Schema (a file, or inline) or a pydantic class; 'json': any.",
        ),
    ] = None,
    tools: Annotated[
        list[str] | None,
        typer.Option(
            "--tools",
            "-t",
            metavar="MODULE:FUNCTION|FILE.py",
            help="Functions the model may call; they run on this machine. Repeatable.",
        ),
    ] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="Ask before each tool call.")] = False,
    temperature: Annotated[float | None, typer.Option("--temperature", metavar="0..2", help="Sampling.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, metavar="N", help="Longest answer.")] = None,
    stream: Annotated[
        bool | None,
        typer.Option("--stream/--no-stream", help="Write text as it comes (default). With --json: one event a line."),
    ] = None,
    thinking: Annotated[
        str | None, typer.Option("--thinking", metavar="on|off|TOKENS", help="Reasoning; shown on stderr.")
    ] = None,
    effort: Annotated[
        str | None, typer.Option("--effort", metavar="LEVEL", help="none, minimal, low, medium, high, xhigh or max.")
    ] = None,
    timeout: Timeout = None,
    retries: Retries = None,
    fallback: Fallback = None,
    json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Ask a model.

    The answer goes to stdout and everything else to stderr. Ctrl-C stops the answer and keeps what has come.

    \b
      unified-llm chat "Why is the sky blue?"
      git diff | unified-llm chat "Write a commit message" -m claude:claude-sonnet-5-5
      unified-llm chat                      # a conversation; /help lists its commands
    """
    out = Output(json=json, verbose=verbose, debug=debug)
    with reporting(out):
        from unified_llm.cli.chat_run import ChatOptions, run_chat

        options = ChatOptions(
            words=tuple(prompt or ()),
            model=model,
            provider=provider,
            base_url=base_url,
            system=system,
            images=tuple(image or ()),
            files=tuple(file or ()),
            schema=schema,
            tools=tuple(tools or ()),
            confirm=confirm,
            temperature=temperature,
            max_tokens=max_tokens,
            stream=stream,
            thinking=thinking,
            effort=effort,
            timeout=timeout,
            retries=retries,
            fallbacks=tuple(fallback or ()),
        )
        run_chat(options, out)
