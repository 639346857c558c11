"""The typer application: registers the commands, and turns what parsing them raises into messages and exit codes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from unified_llm import __version__
from unified_llm.cli import auth, chat, compare, doctor, embed, mcp, models
from unified_llm.cli.exits import ExitCode
from unified_llm.cli.failures import Leave
from unified_llm.cli.options import show_help_alone
from unified_llm.cli.output import Output, prepare_streams, silence_stdout
from unified_llm.errors import redact

__all__ = ["app", "run"]

app = typer.Typer(
    name="unified-llm",
    help="One command line for every language model: Claude, LM Studio, llama.cpp, OpenAI-compatible servers, and "
    "models inside this process.",
    epilog="Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 something to set up, 4 try again later, 130 interrupted.",
    rich_markup_mode=None,  # plain help: it fits 80 columns, and shows without loading rich
    pretty_exceptions_enable=False,  # they print local variables, and those may hold keys
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command("chat")(chat.chat)
app.command("compare")(compare.compare)
app.command("embed")(embed.embed)
app.add_typer(models.app, name="models")
app.add_typer(auth.app, name="auth")
app.command("doctor")(doctor.doctor)
app.command(
    "mcp",
    add_help_option=False,  # --help belongs to the server's own command line
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False},
)(mcp.mcp)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"unified-llm {__version__}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    show_help_alone(ctx)


def run(argv: list[str]) -> int:
    """Run the command line `argv` and return the exit code. Never raises, but for what exits at once (completion)."""
    prepare_streams()
    try:
        code = app(args=argv, prog_name="unified-llm", standalone_mode=False)
        sys.stdout.flush()
    except Leave as exc:
        return exc.code
    except BrokenPipeError:
        silence_stdout()
        return ExitCode.OK
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except Exception as exc:
        if not hasattr(exc, "format_message"):
            raise
        return _refused(exc, argv)
    return code if isinstance(code, int) else ExitCode.OK


def _refused(error: Exception, argv: list[str]) -> int:
    """Report what the parser refuses. Its exceptions are click's, or typer's own copy of them: known by their shape."""
    out = Output(json="--json" in argv)
    said = error.format_message()  # type: ignore[attr-defined]  # looked for by the caller
    code = getattr(error, "exit_code", ExitCode.USAGE)
    path = getattr(getattr(error, "ctx", None), "command_path", "unified-llm")
    about_keys = path.startswith("unified-llm auth")
    message = redact(said, *(_perhaps_keys(argv) if about_keys else ()))
    hint = _NO_KEY_HERE if about_keys and message != said else f"`{path} --help` lists what it takes"
    if out.json:
        out.data({"error": {"type": "UsageError", "message": message, "hint": hint, "exit_code": code}}, compact=True)
    out.error(f"{message}\n  → {hint}")
    return int(code)


_NO_KEY_HERE = (
    "a key is never given on the command line, where the shell's history and other users see it: `unified-llm auth set "
    "PROVIDER` asks for it, and --stdin reads it from a pipe"
)


def _perhaps_keys(argv: list[str]) -> list[str]:
    """What may be a key among the words of a command line: keys of many services have no form to know them by."""
    return [word for word in argv if len(word) >= 12 and not word.startswith("-")]
