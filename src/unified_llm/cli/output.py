"""Where a command writes: data to stdout, words for people to stderr. Plain text when that is not a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

__all__ = ["Output", "is_terminal", "prepare_streams", "silence_stdout"]

# A model may answer with terminal escape sequences, which could rewrite the screen or the clipboard. On a terminal
# control characters are shown as a replacement character; in a pipe everything passes unchanged.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_DIM, _RED, _BOLD, _RESET, _CLEAR_LINE = "\x1b[2m", "\x1b[31m", "\x1b[1m", "\x1b[0m", "\r\x1b[2K"


def prepare_streams() -> None:
    """Let no character stop a command: what the output encoding cannot hold is written as an escape."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def silence_stdout() -> None:
    """Point stdout at nothing, once its reader is gone: the flush at exit must not fail again."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # not a real file (a test's buffer): there is nothing to flush into
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at `stream`."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


class Output:
    """The two streams of a command, and how much it says.

    Args:
        json: results are JSON; then stdout holds nothing else.
        verbose: more notes (model, usage, latency, thinking).
        debug: tracebacks.
    """

    def __init__(self, *, json: bool = False, verbose: bool = False, debug: bool = False) -> None:
        self.json = json
        self.verbose = verbose
        self.debug = debug
        self._status = ""
        self._at_line_start = True

    # -- stdout -------------------------------------------------------------------------------------------------

    def text(self, piece: str) -> None:
        """Write a piece of text to stdout now. Raises BrokenPipeError when nobody reads."""
        if not piece:
            return
        self.clear_status()
        self._at_line_start = piece.endswith("\n")  # first: Ctrl-C may strike right after the write
        sys.stdout.write(_CONTROL.sub("\ufffd", piece) if is_terminal(sys.stdout) else piece)
        sys.stdout.flush()

    def end_line(self) -> None:
        """End the line that `text` left open, if any."""
        if not self._at_line_start:
            self.text("\n")

    def line(self, text: str = "") -> None:
        """Write a line to stdout."""
        self.text(f"{text}\n")

    def data(self, value: Any, *, compact: bool = False) -> None:
        """Write one JSON value to stdout: indented on a terminal, on one line elsewhere or when `compact`."""
        indent = None if compact or not is_terminal(sys.stdout) else 2
        separators = (",", ":") if indent is None else None
        self.line(json.dumps(value, indent=indent, separators=separators, ensure_ascii=self.ascii_only))

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Aligned columns with headers on a terminal; tab-separated lines without headers elsewhere."""
        if not is_terminal(sys.stdout):
            for row in rows:
                self.line("\t".join(row))
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*headers, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text(_CONTROL.sub("\ufffd", cell), overflow="fold") for cell in row))
        Console(file=sys.stdout, highlight=False).print(table)

    @property
    def ascii_only(self) -> bool:
        """Whether JSON must escape what stdout's encoding may not hold."""
        return not _is_utf8(sys.stdout)

    # -- stderr -------------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Tell the person something, on stderr."""
        self._person(text, _DIM)

    def warn(self, text: str) -> None:
        """Tell the person something that deserves a look, on stderr."""
        self._person(text, "")

    def error(self, text: str) -> None:
        """Write the block of an error: its first line after a red ``error:``."""
        self.clear_status()
        prefix = f"{_RED}error:{_RESET}" if self._coloured(sys.stderr) else "error:"
        self._write_stderr(f"{prefix} {_writable(text, sys.stderr)}\n")

    def thinking(self, piece: str) -> None:
        """A piece of reasoning, on stderr, without a line end of its own."""
        self.clear_status()
        self._write_stderr(self._styled(_writable(piece, sys.stderr), _DIM))

    def status(self, text: str) -> None:
        """Say what is being waited for, on a terminal only; the next output takes its place."""
        if text == self._status or self.json or not self._coloured(sys.stderr, colour=False):
            return
        self._write_stderr(f"{_CLEAR_LINE}{self._styled(_writable(text, sys.stderr), _DIM)}")
        self._status = text

    def clear_status(self) -> None:
        """Remove the line that `status` left."""
        if self._status:
            self._status = ""
            self._write_stderr(_CLEAR_LINE)

    def _person(self, text: str, style: str) -> None:
        self.clear_status()
        if not self._at_line_start and is_terminal(sys.stdout):
            self.text("\n")  # both streams are one screen: do not write into the answer's open line
        self._write_stderr(self._styled(_writable(text, sys.stderr), style) + "\n")

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_RESET}" if style and self._coloured(sys.stderr) else text

    @staticmethod
    def _write_stderr(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    @staticmethod
    def _coloured(stream: TextIO, *, colour: bool = True) -> bool:
        return is_terminal(stream) and _knows_escapes(os.environ) and not (colour and os.environ.get("NO_COLOR"))


def _knows_escapes(environ: Mapping[str, str]) -> bool:
    """Whether the terminal understands ANSI sequences. Older Windows consoles do not, unless switched on."""
    if os.name == "nt":
        return "WT_SESSION" in environ or "ANSICON" in environ
    return environ.get("TERM", "dumb") != "dumb"


def _is_utf8(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def _writable(text: str, stream: TextIO) -> str:
    """`text` for people: no control characters on a terminal, and an arrow that the encoding can hold."""
    if is_terminal(stream):
        text = _CONTROL.sub("\ufffd", text)
    return text if _is_utf8(stream) else text.replace("→", "->").replace("…", "...").replace("·", "-")
