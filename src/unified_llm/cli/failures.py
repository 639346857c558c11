"""Errors as a person reads them on stderr, and as a script reads them with ``--json``."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unified_llm.cli.exits import ExitCode, exit_code_of
from unified_llm.cli.output import Output, silence_stdout
from unified_llm.errors import (
    MissingCredentialError,
    ModelNotFoundError,
    UnifiedLLMError,
    UnknownProviderError,
    redact,
)

__all__ = ["Leave", "describe", "report", "reporting"]

# The library's hints speak of Python arguments; here the same things are options.
_ARGUMENT = re.compile(
    r"\b(?P<name>model|model_name|embed_model|base_url|provider|system|temperature|max_tokens|timeout|max_retries|fallbacks)"
    r"=(?P<value>'[^']*'|\[?\.\.\.\]?)"
)
_OPTION_OF = {"model_name": "model", "embed_model": "model", "max_retries": "retries", "fallbacks": "fallback"}


class Leave(Exception):  # noqa: N818  # not an error: the exit code of a command that has already said everything
    """Ends the command with `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@contextmanager
def reporting(out: Output) -> Iterator[None]:
    """Run a command's body: show the library's warnings as notes, report what fails, and end with its exit code."""
    handler = _Notes(out)
    logger = logging.getLogger("unified_llm")
    level = logger.level
    logger.addHandler(handler)
    if out.debug:
        logger.setLevel(logging.DEBUG)
    try:
        yield
        out.clear_status()
    except Leave:
        raise
    except BrokenPipeError:  # `| head` has read enough: not a failure of ours
        silence_stdout()
        raise Leave(ExitCode.OK) from None
    except (Exception, KeyboardInterrupt) as exc:  # the boundary: each becomes a message and a code
        raise Leave(report(out, exc)) from exc
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def report(out: Output, error: BaseException) -> ExitCode:
    """Say what went wrong (a block on stderr; with ``--json`` an object on stdout too) and return the exit code."""
    code = exit_code_of(error)
    try:
        out.end_line()
        if out.json:
            out.data({"error": describe(error)}, compact=True)
    except BrokenPipeError:
        silence_stdout()
    if isinstance(error, KeyboardInterrupt):
        out.note("interrupted")
    else:
        out.error(_block(error))
    if out.debug:
        out.note(redact("".join(traceback.format_exception(error)).rstrip()))
    return code


def describe(error: BaseException) -> dict[str, Any]:
    """The JSON form of an error; unknown fields are left out."""
    values: dict[str, Any] = {
        "type": type(error).__name__,
        "message": _message(error),
        "exit_code": exit_code_of(error),
    }
    if isinstance(error, UnifiedLLMError):
        values["hint"] = _hint(error)
        for name in ("provider", "model", "status", "request_id", "retry_after", "retryable", "code"):
            values[name] = getattr(error, name)
        values["partial"] = error.partial.to_dict() if error.partial is not None else None
    return {k: v for k, v in values.items() if v is not None}


def _message(error: BaseException) -> str:
    if isinstance(error, UnifiedLLMError):
        return error.message
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return redact(f"{type(error).__name__}: {error}")


def _block(error: BaseException) -> str:
    if isinstance(error, UnifiedLLMError):
        error.hint = _hint(error)
        return redact(str(error))
    return f"unexpected {_message(error)}\n  → this is a defect of unified-llm: run again with --debug and report it"


def _hint(error: UnifiedLLMError) -> str | None:
    """The error's hint in the words of the command line."""
    hint = error.hint
    if isinstance(error, MissingCredentialError) and hint:  # a key on the command line would show in `ps`
        return hint.replace("; or pass api_key=...", "") + "; `unified-llm doctor` shows what is set"
    if isinstance(error, ModelNotFoundError) and error.provider:
        offer = f"`unified-llm models list --provider {error.provider}` shows what it offers"
        return f"{_translated(hint)}; {offer}" if hint else offer
    if isinstance(error, UnknownProviderError) and hint:
        return hint.partition("; for another")[0] + "; for another OpenAI-compatible server use --base-url URL"
    return _translated(hint)


def _translated(hint: str | None) -> str | None:
    return hint and _ARGUMENT.sub(_as_option, hint)


def _as_option(argument: re.Match[str]) -> str:
    option = _OPTION_OF.get(argument["name"], argument["name"]).replace("_", "-")
    value = argument["value"].strip("'[]")
    return f"--{option}" if value in ("", "...") else f"--{option} {value}"


class _Notes(logging.Handler):
    """Shows the library's warnings (an option that was dropped, for example) as notes."""

    def __init__(self, out: Output) -> None:
        super().__init__(logging.DEBUG if out.debug else logging.WARNING)
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        self._out.note(redact(f"note: {record.getMessage()}"))
