"""Asks the person at the terminal before a tool runs (``--confirm``)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from unified_llm.cli.output import Output, is_terminal
from unified_llm.errors import InvalidRequestError

__all__ = ["terminal_confirm"]


def terminal_confirm(out: Output) -> Callable[[str], bool]:
    """A function that shows a call and says whether it may run: only after ``y`` or ``yes``.

    Asks on the controlling terminal when stdin is a pipe.

    Raises:
        InvalidRequestError: there is no terminal to ask on.
    """
    answers = sys.stdin if is_terminal(sys.stdin) else _controlling_terminal()

    def confirm(call: str) -> bool:
        out.warn(f"[tool] run {call}? [y/N]")
        return answers.readline().strip().lower() in ("y", "yes")

    return confirm


def _controlling_terminal() -> TextIO:
    name = "CONIN$" if os.name == "nt" else "/dev/tty"
    try:
        return Path(name).open(encoding="utf-8", errors="replace")
    except OSError as exc:
        raise InvalidRequestError(
            "--confirm needs a terminal to ask on", hint="leave --confirm out, or run in a terminal"
        ) from exc
