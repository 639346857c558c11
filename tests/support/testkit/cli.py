"""Runs the command line: in this process with streams of its own, or for real behind a pseudo terminal.

result = run_cli("chat", "Hello", "-p", "offline", input=b"piped text")
assert result.code == 0 and "Hello" in result.out

with scripted_provider("First answer.", Failure(status=429)) as provider:
    run_cli("chat", "Hi", "-m", "scripted:")
    assert provider.requests[0].prompt == "Hi"

with Terminal("chat", "-p", "offline") as terminal:     # a real process that believes a person is there
    terminal.wait_for("> ")
    terminal.type("Hello\n")
"""

from __future__ import annotations

import io
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from unified_llm.cli import main
from unified_llm.offline.script import Script
from unified_llm.providers.offline import OfflineProvider
from unified_llm.providers.registry import PROVIDER_CONFIGS, register_provider

__all__ = ["CliResult", "Terminal", "run_cli", "scripted_provider"]


@dataclass(frozen=True)
class CliResult:
    """What a command did: its exit code, and the text of both streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as one JSON value."""
        return json.loads(self.out)

    @property
    def events(self) -> list[Any]:
        """stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class _Stream(io.TextIOWrapper):
    """A text stream over a buffer that says whether it is a terminal."""

    def __init__(self, data: bytes = b"", *, encoding: str = "utf-8", terminal: bool = False) -> None:
        self.bytes = io.BytesIO(data)
        super().__init__(self.bytes, encoding=encoding, newline="\n")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def written(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode(self.encoding)


def run_cli(
    *argv: str,
    input: str | bytes = b"",
    encoding: str = "utf-8",
    terminal: bool = False,
    typing: bool = False,
) -> CliResult:
    """Run a command in this process.

    Args:
        input: what is piped in; with `typing`, what the person at the terminal types.
        encoding: of stdout and stderr.
        terminal: whether stdout and stderr are a terminal; typing: whether stdin is one.
    """
    given = input.encode() if isinstance(input, str) else input
    streams = (
        _Stream(given, terminal=typing),
        _Stream(encoding=encoding, terminal=terminal),
        _Stream(encoding=encoding, terminal=terminal),
    )
    before = (sys.stdin, sys.stdout, sys.stderr)
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        code = main(argv)
    except SystemExit as exc:  # shell completion, and the MCP server's own parser, end the process themselves
        code = exc.code if isinstance(exc.code, int) else 0
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    return CliResult(int(code), streams[1].written(), streams[2].written())


@contextmanager
def scripted_provider(*steps: Any, name: str = "scripted", **options: Any) -> Iterator[OfflineProvider]:
    """A provider called `name` that answers with `steps`; one call too many is an error. See `unified_llm.testing`."""
    provider = OfflineProvider(script=Script(steps) if steps else None, **options)
    register_provider(name, lambda **_: provider)
    try:
        yield provider
    finally:
        del PROVIDER_CONFIGS[name]


class Terminal:
    """The command in a process of its own, in a pseudo terminal. Leaving the ``with`` block ends it if it still runs.

    Args:
        code: Python run instead of `unified_llm.cli.main`; it sees `argv` in ``sys.argv[1:]``, and `sys`.
    """

    def __init__(self, *argv: str, env: Mapping[str, str] | None = None, code: str | None = None) -> None:
        # In a session of its own, the first terminal that is opened controls it: then ^C typed here is SIGINT there.
        control = "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR))"
        run = code or "from unified_llm.cli import main; sys.exit(main())"
        self._command = [sys.executable, "-c", f"{control}\n{run}", *argv]
        self._env = {**os.environ, "TERM": "dumb", **(env or {})}
        self.seen = ""

    def __enter__(self) -> Self:
        import pty  # absent on Windows, where these tests are skipped

        self._master, follower = pty.openpty()
        self._process = subprocess.Popen(
            self._command, stdin=follower, stdout=follower, stderr=follower, env=self._env, start_new_session=True
        )
        os.close(follower)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        os.close(self._master)

    def type(self, text: str) -> None:
        """Type `text`; ``\\n`` is the Enter key, ``\\x03`` Ctrl-C, ``\\x04`` Ctrl-D."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str, seconds: float = 20.0) -> str:
        """Wait until `text` appears after what was waited for before; returns everything up to its end."""
        if not self.shows(text, seconds):
            raise AssertionError(f"{text!r} did not appear; the screen shows: {self.seen!r}")
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def shows(self, text: str, seconds: float) -> bool:
        """Whether `text` appears within `seconds`; what was seen stays seen."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            if not self._read(deadline - time.monotonic()):
                return False
        return True

    def press_until(self, key: str, text: str) -> None:
        """Press `key` until `text` appears.

        A signal that comes just before readline starts to wait is seen with the next one only: Python looks at
        signals after the wait, not before it.
        """
        for _ in range(20):
            self.type(key)
            if self.shows(text, 1.0):
                break
        self.wait_for(text)

    def wait_end(self, seconds: float = 20.0) -> int:
        """Wait until the process has ended; returns its exit code. The rest of its output is in `seen`."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self.seen += piece.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(piece)
