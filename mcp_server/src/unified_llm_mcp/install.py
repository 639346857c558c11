"""Adding this server to a client's configuration, and taking it out again, without harm to anything else in it."""

from __future__ import annotations

import difflib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unified_llm.errors import ConfigurationError, redact
from unified_llm_mcp.clients import Client, Variable, entry

__all__ = ["Change", "install", "uninstall"]

BACKUP_SUFFIX = ".before-unified-llm"
OURS = ("unified-llm-mcp", "unified_llm_mcp")
_INDENT = re.compile(r"^\{\r?\n([ \t]+)\"", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written. `before` is None when there is no file yet, `after` None when it is to be removed."""

    path: Path
    before: str | None
    after: str | None

    @property
    def backup(self) -> Path:
        """Where the file is kept as it was before the first installation."""
        return self.path.with_name(self.path.name + BACKUP_SUFFIX)

    def diff(self) -> str:
        """The difference, values of variables masked."""
        old, new = (_masked(text or "").splitlines(keepends=True) for text in (self.before, self.after))
        return "".join(difflib.unified_diff(old, new, str(self.path), str(self.path)))

    def apply(self) -> None:
        """Write it: first the backup, then the file in one step, with the permissions it had."""
        target = Path(os.path.realpath(self.path))  # a file that is a link stays one
        if self.after is None:
            target.unlink()
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.before is not None and not self.backup.exists():
            _write(self.backup, self.before, like=target)
        _write(target, self.after, like=target)


def _masked(text: str) -> str:
    """The text without credentials, and without any value under ``env``."""
    values = re.sub(r'("env"\s*:\s*\{)([^}]*)(\})', _mask_values, text)
    return redact(values)


def _mask_values(match: re.Match[str]) -> str:
    return match[1] + re.sub(r'(:\s*)"(?!\$\{)(?:[^"\\]|\\.)*"', r'\1"[hidden]"', match[2]) + match[3]


def _write(path: Path, text: str, *, like: Path) -> None:
    mode = like.stat().st_mode & 0o777 if like.exists() else 0o600  # it may hold keys
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


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
    before = _read(path)
    config = _parsed(path, before, client, name, command)
    servers = config.setdefault(client.key, {})
    if not isinstance(servers, dict):
        raise ConfigurationError(f"{client.key} in {path} is no object", hint="correct the file, then try again")
    if name in servers and not _is_ours(servers[name]) and not replace:
        raise ConfigurationError(
            f"{path} has another server called {name!r}",
            hint="pass --name OTHER, or --replace to put ours in its place",
        )
    servers[name], inputs = entry(client, command, variables)
    _add_inputs(config, inputs)
    return Change(path, before, _dumped(config, before))


def _add_inputs(config: dict[str, Any], inputs: list[dict[str, Any]]) -> None:
    known = {one.get("id") for one in config.get("inputs", [])}
    missing = [one for one in inputs if one["id"] not in known]
    if missing:
        config["inputs"] = [*config.get("inputs", []), *missing]


def uninstall(client: Client, path: Path, name: str) -> Change:
    """The change that takes the server out again; what was there before it under that name comes back.

    Raises:
        ConfigurationError: there is no such server of ours in the file.
    """
    before = _read(path)
    config = _parsed(path, before, client, name, []) if before is not None else {}
    servers = config.get(client.key, {})
    if not isinstance(servers, dict) or not _is_ours(servers.get(name)):
        raise ConfigurationError(f"{path} has no server of ours called {name!r}", hint="check --name and --client")
    original = _original(path, client)
    del servers[name]
    if name in original and not _is_ours(original[name]):
        servers[name] = original[name]
    if not servers and not _backup(path).exists():
        config.pop(client.key)
    return Change(path, before, _dumped(config, before) if config or _backup(path).exists() else None)


def _backup(path: Path) -> Path:
    return Change(path, None, None).backup


def _original(path: Path, client: Client) -> dict[str, Any]:
    """The servers of the backup, when there is one."""
    text = _read(_backup(path))
    servers = json.loads(text).get(client.key, {}) if text else {}
    return servers if isinstance(servers, dict) else {}


def _is_ours(server: Any) -> bool:
    words = [server.get("command"), *server.get("args", [])] if isinstance(server, dict) else []
    return any(isinstance(word, str) and word.endswith(OURS) for word in words)


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8-sig")  # not read_text, which would translate line ends
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}", hint="check the file and its permissions") from error


def _parsed(path: Path, text: str | None, client: Client, name: str, command: list[str]) -> dict[str, Any]:
    if text is None or not text.strip():
        return {}
    try:
        config = json.loads(text)
    except ValueError as error:
        # Comments are allowed in VS Code's files, and writing the file again would lose them.
        shown = json.dumps({client.key: {name: {"command": command[0], "args": command[1:]}}}) if command else "it"
        raise ConfigurationError(
            f"{path} is no plain JSON ({error}); it is left as it is", hint=f"add by hand: {shown}"
        ) from error
    if not isinstance(config, dict):
        raise ConfigurationError(f"{path} holds no object", hint="correct the file, then try again")
    return config


def _dumped(config: dict[str, Any], before: str | None) -> str:
    """JSON with the indentation and the line ends of the file as it was."""
    found = _INDENT.search(before or "")
    text = json.dumps(config, indent=found[1] if found else 2, ensure_ascii=False)
    if before is not None and "\r\n" in before:
        text = text.replace("\n", "\r\n")
    return text + ("\n" if before is None or before.endswith("\n") or not before.strip() else "")
