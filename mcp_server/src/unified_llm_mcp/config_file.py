"""A client's configuration file: read so that nothing in it is lost, kept as it was, and written in one step."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unified_llm.errors import ConfigurationError

__all__ = ["Change", "backups", "dumped", "parsed", "read"]

BACKUP_SUFFIX = ".before-unified-llm"
BOM = "\ufeff"
_INDENT = re.compile(r"^\ufeff?\{\r?\n([ \t]+)\"", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written. `before` is None when there is no file yet, `after` None when it is to be removed.

    `keep` says that `before` is to be kept as a backup, when the latest backup is another text.
    """

    path: Path
    before: str | None
    after: str | None
    keep: bool = False

    def apply(self) -> None:
        """Write it: first the backup, then the file in one step, with the permissions it had.

        Raises:
            ConfigurationError: the file has changed meanwhile, or cannot be written.
        """
        if read(self.path) != self.before:
            raise ConfigurationError(f"{self.path} has changed meanwhile; it is left as it is", hint="try again")
        try:
            self._write()
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {self.path}: {error}", hint="check the folder and its permissions"
            ) from error

    def _write(self) -> None:
        target = Path(os.path.realpath(self.path))  # a file that is a link stays one
        if self.after is None:
            target.unlink()
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        self._keep(target)
        _write(target, self.after, like=target)

    def _keep(self, target: Path) -> None:
        """Write a backup beside those there are: what one of them holds may be nowhere else."""
        kept = backups(self.path)
        text = self.before if self.before is not None or not kept else ""  # the older ones are not what was there
        if self.keep and text is not None and not (kept and read(kept[-1]) == text):
            _write(_backup(self.path, len(kept) + 1), text, like=target)


def backups(path: Path) -> list[Path]:
    """The file as it was before each installation into a file that had no server of ours, oldest first."""
    found: list[Path] = []
    while (candidate := _backup(path, len(found) + 1)).exists():
        found.append(candidate)
    return found


def _backup(path: Path, number: int) -> Path:
    return path.with_name(path.name + BACKUP_SUFFIX + (f".{number}" if number > 1 else ""))


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


def read(path: Path) -> str | None:
    """The text, line ends and byte order mark included; None when there is no file.

    Raises:
        ConfigurationError: it cannot be read, or is no UTF-8.
    """
    try:
        return path.read_bytes().decode()  # not read_text, which would translate line ends
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}", hint="check the file and its permissions") from error


def parsed(path: Path, text: str | None, hint: str) -> dict[str, Any]:
    """The object that the text holds; empty when there is none.

    Raises:
        ConfigurationError: it is no JSON, or JSON that would lose something when it is written again; `hint` says
            what to do.
    """
    text = (text or "").removeprefix(BOM)
    if not text.strip():
        return {}
    try:
        config = json.loads(
            text, object_pairs_hook=_without_duplicates, parse_float=_finite, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        # Comments are allowed in VS Code's files, and writing the file again would lose them.
        raise ConfigurationError(f"{path} is no plain JSON ({error}); it is left as it is", hint=hint) from error
    if not isinstance(config, dict):
        raise ConfigurationError(f"{path} holds no object", hint="correct the file, then try again")
    return config


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} is there twice in one object")
        found[key] = value
    return found


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def dumped(config: dict[str, Any], before: str | None) -> str:
    """JSON with the indentation, the line ends and the byte order mark of the file as it was."""
    found = _INDENT.search(before or "")
    text = json.dumps(config, indent=found[1] if found else 2, ensure_ascii=False)
    if any("\ud800" <= character <= "\udfff" for character in text):  # escaped half characters; UTF-8 has none
        text = json.dumps(config, indent=found[1] if found else 2)
    if before is not None and "\r\n" in before:
        text = text.replace("\n", "\r\n")
    end = "\n" if before is None or before.endswith("\n") or not before.strip() else ""
    return (BOM if (before or "").startswith(BOM) else "") + text + end
