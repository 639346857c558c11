"""The commands besides serving: ``install`` and ``check``."""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unified_llm.errors import ConfigurationError
from unified_llm_mcp.clients import CLIENTS, Client, Variable, server_command

if TYPE_CHECKING:
    from unified_llm_mcp.config_file import Change

__all__ = ["COMMANDS"]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


def _say(text: str) -> None:
    print(text)  # noqa: T201  # a command talks to its user


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Own arguments, and those of the server after ``--``."""
    given = list(argv)
    if "--" not in given:
        return given, []
    at = given.index("--")
    return given[:at], given[at + 1 :]


def _install_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unified-llm-mcp install",
        description="Add the server to a client's configuration. Arguments for the server follow --.",
    )
    parser.add_argument("--client", required=True, choices=list(CLIENTS))
    parser.add_argument("--name", default="llm", help="name of the server in the client (llm)")
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="environment variable for the server; without a value the client looks it up or asks, where it can",
    )
    parser.add_argument(
        "--project",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FOLDER",
        help="into the project's file",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file, when it is elsewhere")
    parser.add_argument("--command", choices=["python", "uvx"], help="how the client starts the server")
    parser.add_argument("--replace", action="store_true", help="put it in the place of another server of that name")
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    parser.add_argument("--undo", action="store_true", help="take the server out again")
    return parser


def install_command(argv: Sequence[str]) -> int:
    """Run ``install``; returns the exit code."""
    from unified_llm_mcp.cli import check_server_arguments
    from unified_llm_mcp.config_file import backups
    from unified_llm_mcp.install import install, uninstall

    own, server_arguments = _split(argv)
    arguments = _install_parser().parse_args(own)
    client = CLIENTS[arguments.client]
    if not _NAME.fullmatch(arguments.name):
        raise ConfigurationError(
            f"{arguments.name!r} is no name that every client takes",
            hint="use up to 32 letters, digits, - and _: clients put it before the names of the tools",
        )
    path = arguments.config or client.path(arguments.project)
    if arguments.undo:
        change = uninstall(client, path, arguments.name)
    else:
        _refuse_relative(check_server_arguments(server_arguments).allow_dirs)
        command = [*server_command(arguments.command), *server_arguments]
        variables = [_variable(text) for text in arguments.env]
        change = install(client, path, arguments.name, command, variables, replace=arguments.replace)
    if arguments.dry_run:
        _say(_difference(client, arguments.name, change) or f"{path} is already so")
        return 0
    change.apply()
    _say(f"{'Removed' if arguments.undo else 'Wrote'} {arguments.name} in {path}. {client.restart}")
    if kept := backups(path):
        _say(f"The file as it was before is {kept[-1]}.")
    return 0


def _difference(client: Client, name: str, change: Change) -> str:
    from unified_llm_mcp.config_diff import difference
    from unified_llm_mcp.config_file import parsed

    old, new = (None if text is None else parsed(change.path, text, "") for text in (change.before, change.after))
    return difference(client, change.path, name, old, new)


def _refuse_relative(folders: Sequence[Path]) -> None:
    """A client starts the server in a folder of its own, maybe that of all files, and not in this one."""
    for folder in folders:
        if not folder.is_absolute():
            raise ConfigurationError(
                f"{folder} would be another folder when the client starts the server",
                hint=f"write it whole: --allow-dir {folder.resolve()}",
            )


def _variable(text: str) -> Variable:
    name, equals, value = text.partition("=")
    if not _VARIABLE.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name of a variable", hint="write --env NAME or --env NAME=VALUE")
    return Variable(name, value if equals else None)


def check_command(argv: Sequence[str]) -> int:
    """Run ``check``; returns 0 when everything worked, else 1."""
    from unified_llm_mcp.check import check
    from unified_llm_mcp.cli import check_server_arguments

    own, server_arguments = _split(argv)
    parser = argparse.ArgumentParser(
        prog="unified-llm-mcp check",
        description="Start the server as a client would and call every tool once (one short chat is sent). "
        "Arguments for the server follow --.",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each step may take (60)")
    arguments = parser.parse_args(own)
    if not arguments.seconds > 0:  # so written, it refuses NaN too
        raise ConfigurationError("--seconds must be greater than 0", hint="leave it out: 60")
    check_server_arguments(server_arguments)
    outcomes = asyncio.run(check(server_arguments, seconds=arguments.seconds))
    for outcome in outcomes:
        _say(f"{'ok  ' if outcome.ok else 'FAIL'} {outcome.step:12} {outcome.seconds:6.2f} s  {outcome.said}")
    return 0 if all(outcome.ok for outcome in outcomes) else 1


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"install": install_command, "check": check_command}
