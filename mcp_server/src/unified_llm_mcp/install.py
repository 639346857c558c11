"""Adding this server to a client's configuration, and taking it out again, without harm to anything else in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from unified_llm.errors import ConfigurationError
from unified_llm_mcp.clients import Client, Variable, entry
from unified_llm_mcp.config_file import Change, backups, dumped, parsed, read

__all__ = ["install", "is_ours", "uninstall"]

_PACKAGE = re.compile(r"unified[-_]llm[-_]mcp(\[[^\]]*\])?([@=<>!~].*)?")
_CORE = re.compile(r"unified[-_]llm(\[[^\]]*\])?([@=<>!~].*)?")
_INPUT = re.compile(r"\$\{input:([^}]+)\}")


def install(
    client: Client,
    path: Path,
    name: str,
    command: list[str],
    variables: list[Variable],
    *,
    replace: bool = False,
) -> Change:
    """The change that adds the server under `name`; nothing is written yet.

    Raises:
        ConfigurationError: the file is no JSON we can edit without losing something, another server has that name,
            or a variable has no value.
    """
    before = read(path)
    ours = json.dumps({client.key: {name: {"command": command[0], "args": command[1:]}}})
    config = parsed(path, before, f"add by hand: {ours}")
    servers = config.setdefault(client.key, {})
    if not isinstance(servers, dict):
        raise ConfigurationError(f"{client.key} in {path} is no object", hint="correct the file, then try again")
    foreign = name in servers and not is_ours(servers[name])
    if foreign and not replace:
        raise ConfigurationError(
            f"{path} has another server called {name!r}",
            hint="pass --name OTHER, or --replace to put ours in its place",
        )
    keep = foreign or not any(is_ours(server) for server in servers.values())
    servers[name], inputs = entry(client, command, variables)
    _add_inputs(config, inputs, path)
    return Change(path, before, dumped(config, before), keep=keep)


def _add_inputs(config: dict[str, Any], inputs: list[dict[str, Any]], path: Path) -> None:
    if not inputs:
        return
    there = config.get("inputs", [])
    if not isinstance(there, list):
        raise ConfigurationError(f"inputs in {path} is no list", hint="correct the file, then try again")
    known = {one.get("id") for one in there if isinstance(one, dict)}
    config["inputs"] = [*there, *(one for one in inputs if one["id"] not in known)]


def uninstall(client: Client, path: Path, name: str) -> Change:
    """The change that takes the server out again; what was there before it under that name comes back.

    Raises:
        ConfigurationError: there is no such server of ours in the file, or a backup cannot be read.
    """
    before = read(path)
    config = parsed(path, before, "take the server out by hand")
    servers = config.get(client.key, {})
    if not isinstance(servers, dict) or not is_ours(servers.get(name)):
        raise ConfigurationError(f"{path} has no server of ours called {name!r}", hint="check --name and --client")
    texts = [read(backup) for backup in backups(path)]
    originals = [_original(backup, text) for backup, text in zip(backups(path), texts, strict=True)]
    latest = originals[-1] if originals else {}
    ours = servers.pop(name)
    replaced = _replaced(originals, client, name)
    if replaced is not None:
        servers[name] = replaced
    if not servers and client.key not in latest:
        config.pop(client.key)
    _remove_inputs(config, ours, latest)
    if config == latest:  # nothing else has changed since: every byte as it was
        return Change(path, before, texts[-1] if texts else None)
    return Change(path, before, dumped(config, before))


def _original(backup: Path, text: str | None) -> dict[str, Any]:
    return parsed(backup, text, "move this backup elsewhere to undo without it")


def _replaced(originals: list[dict[str, Any]], client: Client, name: str) -> Any:
    """The server that ours has replaced under `name`, from the latest backup that was made before ours was there."""
    for original in reversed(originals):
        servers = original.get(client.key)
        found = servers.get(name) if isinstance(servers, dict) else None
        if not is_ours(found):
            return found
    return None


def _remove_inputs(config: dict[str, Any], ours: Any, latest: dict[str, Any]) -> None:
    """Take out the inputs that only our entry asked for (VS Code)."""
    there = config.get("inputs")
    if not isinstance(there, list):
        return
    wanted = set(_INPUT.findall(json.dumps(config)))
    unwanted = set(_INPUT.findall(json.dumps(ours))) - wanted
    before = latest.get("inputs")
    kept = [one for one in there if not (_id(one) in unwanted and one not in (before or []))]
    if kept or before is not None:
        config["inputs"] = kept
    else:
        config.pop("inputs")


def _id(one: Any) -> Any:
    return one.get("id") if isinstance(one, dict) else None


def is_ours(server: Any) -> bool:
    """Whether an entry starts this server: as a module, as its own command, or through a runner such as uvx."""
    if not isinstance(server, dict):
        return False
    arguments = server.get("args")
    words = [one if isinstance(one, str) else "" for one in (arguments if isinstance(arguments, list) else [])]
    program = _program(server.get("command"))
    if _PACKAGE.fullmatch(program) or any(_PACKAGE.fullmatch(word) for word in words):
        return True
    return any(_CORE.fullmatch(first) and second == "mcp" for first, second in zip([program, *words], words))  # noqa: B905


def _program(command: Any) -> str:
    """The name of a program without its folder, on any system."""
    return re.split(r"[/\\]", command)[-1].removesuffix(".exe") if isinstance(command, str) else ""
