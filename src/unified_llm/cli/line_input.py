"""Reads a message in the terminal, with line editing and the session's history where Python has readline."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from unified_llm.cli.output import is_terminal

__all__ = ["LineReader"]

_QUOTES = '"""'


class LineReader:
    """Lines from the person. The history is kept in memory only: it ends with the session.

    Args:
        commands: words that the Tab key completes at the start of a line.
    """

    def __init__(self, commands: Sequence[str] = ()) -> None:
        self._readline = _readline()
        if self._readline is not None:
            _complete_with(self._readline, commands)

    def read(self, *, prefill: str = "") -> str:
        """One message; several lines when it begins with three double quotes, until the next three.

        Raises:
            EOFError: Ctrl-D. KeyboardInterrupt: Ctrl-C.
        """
        text = self._line("> ", prefill)
        if not text.lstrip().startswith(_QUOTES):
            return text
        text = text.lstrip().removeprefix(_QUOTES)
        while _QUOTES not in text:
            text += "\n" + self._line("... ", "")
        return text.partition(_QUOTES)[0].strip("\n")

    def _line(self, prompt: str, prefill: str) -> str:
        if self._readline is None:
            return _plain_line(prompt)
        if prefill:
            self._readline.set_startup_hook(lambda: self._insert(prefill))
        try:
            return input(prompt)
        finally:
            self._readline.set_startup_hook(None)

    def _insert(self, text: str) -> None:
        assert self._readline is not None  # noqa: S101  # the hook is only set when there is one
        self._readline.insert_text(text)


def _readline() -> ModuleType | None:
    """The readline module when it can be used: `input` edits lines only if both ends are a terminal."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        return None
    try:
        return importlib.import_module("readline")
    except ImportError:  # Windows has none; its console edits lines by itself
        return None


def _complete_with(readline: ModuleType, words: Sequence[str]) -> None:
    def complete(text: str, state: int) -> str | None:
        matches = [w for w in words if w.startswith(text)] if text.startswith("/") else []
        return matches[state] if state < len(matches) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n")
    editline = "libedit" in (readline.__doc__ or "")  # macOS ships another library under the same name
    readline.parse_and_bind("bind ^I rl_complete" if editline else "tab: complete")


def _plain_line(prompt: str) -> str:
    """A line without editing. The prompt goes to stderr, since stdout may be a file."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\r\n")
