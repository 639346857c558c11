"""docs/cli.md against the command line: every option is there, and every command line in it can be read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from unified_llm.cli.app import app
from unified_llm.cli.exits import ExitCode

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
EVERYWHERE = {"--help", "--version"}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group, with its path."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


ROOT = typer.main.get_command(app)


def test_every_command_is_described() -> None:
    for path, _ in commands(ROOT):
        assert " ".join(path) in PAGE


def test_every_option_is_described() -> None:
    for path, command in commands(ROOT):
        for parameter in command.params:
            for option in (o for o in parameter.opts if o.startswith("--") and o not in EVERYWHERE):
                assert re.search(rf"{option}\b", PAGE), f"{' '.join(path)} {option}"


def test_every_exit_code_is_described() -> None:
    rows = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert [int(row) for row in rows] == [code.value for code in ExitCode]


def test_every_command_of_a_conversation_is_described() -> None:
    from unified_llm.cli.repl import COMMANDS

    assert all(f"/{name}" in PAGE for name in COMMANDS if name != "exit")


LINES = [
    line
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if "unified-llm" in line
]


@pytest.mark.parametrize("line", LINES)
def test_every_example_can_be_read(line: str) -> None:
    words = shlex.split(line, comments=True)
    for sign in ("|", "<"):
        pieces = [list(p) for p in split(words, sign)]
        words = next(p for p in pieces if p and p[0] == "unified-llm")
    context, rest = ROOT.make_context("unified-llm", words[1:], resilient_parsing=True), words[1:]
    command: Any = ROOT
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
        # Resilient only for completion options, which would act at once: commands themselves are read strictly.
        context = command.make_context(command.name, list(rest), parent=context)
    assert command is not ROOT or rest == [] or rest[0].endswith("-completion")


def split(words: list[str], sign: str) -> Iterator[list[str]]:
    """The parts of `words` between the words that are `sign`."""
    part: list[str] = []
    for word in words:
        if word == sign:
            yield part
            part = []
        else:
            part.append(word)
    yield part
