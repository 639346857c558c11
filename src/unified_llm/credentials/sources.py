"""The places a credential may be in. Each is read when asked, so a change is seen without a restart."""

from __future__ import annotations

import copy
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from unified_llm.credentials.file_lock import locked
from unified_llm.errors import ConfigurationError

__all__ = [
    "ConfigFileSource",
    "EnvironmentSource",
    "Source",
    "default_config_path",
]

logger = logging.getLogger("unified_llm")

FIELDS = ("api_key", "base_url", "organization_id", "project_id", "region", "api_version")
"""What can be configured for a provider. Only `api_key` is secret."""


class Source(Protocol):
    """One place credentials may be in."""

    label: str

    def get(self, provider: str, names: Sequence[str]) -> Mapping[str, str]:
        """The fields known for `provider` (see `FIELDS`), or nothing. `names` are its key's environment variables."""
        ...


class EnvironmentSource:
    """Environment variables; blank ones count as unset."""

    label = "environment"

    def get(self, provider: str, names: Sequence[str]) -> Mapping[str, str]:
        return from_variables(os.environ, names)


def from_variables(variables: Mapping[str, str | None], names: Sequence[str]) -> dict[str, str]:
    key = next((value for name in names if (value := (variables.get(name) or "").strip())), None)
    return {"api_key": key} if key else {}


def default_config_path() -> Path:
    """UNIFIED_LLM_CONFIG, else ``~/.unified_llm/config.json``; with its ``~`` where there is no such home folder."""
    return expanded(os.environ.get("UNIFIED_LLM_CONFIG", "").strip() or "~/.unified_llm/config.json")


def expanded(path: str | os.PathLike[str]) -> Path:
    """`path` with its ``~`` resolved; as it is where there is no such home folder, as in some containers."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _is_homeless(path: Path) -> bool:
    """Whether `expanded` could not resolve its ``~``."""
    return path.parts[:1] != () and path.parts[0].startswith("~")


class ConfigFileSource:
    """A JSON file: flat ``{"anthropic_api_key": "..."}`` or ``{"claude": {"api_key": "...", "base_url": "..."}}``.

    The file is read again when it changes, never created by reading, and written atomically with mode 0600, by one
    writer at a time. A link is followed: the file it names is written.
    """

    label = "configuration file"

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = expanded(path) if path is not None else None
        self._stamp: tuple[str, int, int, int] | None = None
        self._content: dict[str, Any] = {}
        self._told: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path,)  # what was read holds keys, and stays where it was read

    @property
    def usual(self) -> bool:
        """Whether it is the file in the usual place, because nobody named another one."""
        return self._path is None

    @property
    def path(self) -> Path:
        """The file, which need not exist."""
        return self._path or default_config_path()

    def get(self, provider: str, names: Sequence[str]) -> Mapping[str, str]:
        """See `Source.get`. Raises `ConfigurationError` when the file is not JSON, naming line and column."""
        content = self.load()
        self._tell_unread(provider, content, names)
        found: dict[str, str] = {}
        # The founding format: flat keys, each a string or a mapping of fields.
        for key in _flat_keys(provider, names):
            value = content.get(key)
            found = (known_fields({"api_key": value} if isinstance(value, str) else value)) | found
        for table, alias in _tables(content, provider):
            found |= known_fields(table[alias])
        return found

    def _tell_unread(self, provider: str, content: Mapping[str, Any], names: Sequence[str]) -> None:
        """Say once, by their names, which entries of a provider are not understood. Their values may be keys."""
        if provider in self._told:
            return
        self._told.add(provider)
        unread = list(_unread(content, provider, names))
        if unread:
            logger.warning(
                "%s: not understood, and left out: %s. A provider has an object of texts: %s",
                self.path,
                ", ".join(unread),
                ", ".join(FIELDS),
            )

    def load(self) -> dict[str, Any]:
        """The whole file, or an empty mapping when there is none."""
        path = self.path
        if _is_homeless(path):
            return {}
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as exc:
            raise ConfigurationError(f"cannot read {path}: {exc.strerror}", hint="check its permissions") from exc
        stamp = (str(path), status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._content = _read_config(path)
            self._stamp = stamp
            self._told.clear()
            _warn_if_readable(path, status.st_mode)
        return self._content

    def save(self, provider: str, fields: Mapping[str, str]) -> None:
        """Merge `fields` into the provider's table; the rest of the file stays. Atomic, mode 0600.

        Raises:
            ConfigurationError: the file cannot be read or written, or another process keeps writing it.
        """
        with self._changing() as content:
            # Where the file has several tables for a provider the last one wins: elsewhere a new key would be hidden.
            table, name = next(reversed(_tables(content, provider)), (content, provider))
            known = table.get(name)
            table[name] = {**(known if isinstance(known, dict) else {}), **fields}

    def remove(self, provider: str, names: Sequence[str] = ()) -> bool:
        """Forget a provider, in either format; False when the file did not know it. Raises like `save`."""
        if not self._forget(copy.deepcopy(self.load()), provider, names):
            return False  # nothing is written, not even a lock
        with self._changing() as content:
            return self._forget(content, provider, names)

    def _forget(self, content: dict[str, Any], provider: str, names: Sequence[str]) -> bool:
        """Take the provider out of `content`."""
        doomed = {*_names_in_files(provider), *_flat_keys(provider, names)} & content.keys()
        nested = [(table, name) for table, name in _tables(content, provider) if table is not content]
        for table, key in (*nested, *((content, key) for key in doomed)):
            del table[key]
        return bool(doomed or nested)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """The content of the file, to be changed within: it is then written, and nobody else writes in between."""
        path = self.path
        if _is_homeless(path):
            raise ConfigurationError(
                f"cannot write {path}: there is no such home folder",
                hint="set UNIFIED_LLM_CONFIG to a file that this process may write",
            )
        target = Path(os.path.realpath(path))
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(target):
                self._stamp = None  # what was read before may be older than the lock
                content = copy.deepcopy(self.load())
                yield content
                self._write(content, target)
        except OSError as exc:
            raise ConfigurationError(
                f"cannot write {path}: {exc.strerror or type(exc).__name__}",
                hint="check its folder, permissions and free space; it was left as it is",
            ) from exc

    def _write(self, content: Mapping[str, Any], path: Path) -> None:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".config-")  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._stamp = None


def _names_in_files(provider: str) -> tuple[str, ...]:
    """What a provider may be called in a configuration file: its name, and every alias of it."""
    # Imported here: the table of providers stands on this room.
    from unified_llm.providers.registry import ALIASES

    names = (provider, *(alias for alias, name in ALIASES.items() if name == provider))
    return tuple(dict.fromkeys((*names, *(name.replace("-", "_") for name in names))))


def _flat_keys(provider: str, variables: Sequence[str]) -> tuple[str, ...]:
    """The flat keys of a provider, the strongest first."""
    flat = (f"{name}_api_key" for name in _names_in_files(provider))
    return tuple(dict.fromkeys((*flat, *variables, *(variable.lower() for variable in variables))))


def _tables(content: dict[str, Any], provider: str) -> list[tuple[dict[str, Any], str]]:
    """Where the file has a table for `provider`, as (mapping, key); the last one wins."""
    providers = content.get("providers")
    places = (content, providers if isinstance(providers, dict) else {})
    return [(p, alias) for p in places for alias in _names_in_files(provider) if isinstance(p.get(alias), dict)]


def _unread(content: Mapping[str, Any], provider: str, variables: Sequence[str]) -> Iterator[str]:
    """Names of the provider's entries that nothing is read from: fields of another name or kind, texts for a table."""
    for key in _flat_keys(provider, variables):
        if not isinstance(value := content.get(key), str):
            yield from _unread_in(key, value)
    providers = content.get("providers")
    for place in (content, providers if isinstance(providers, dict) else {}):
        for name in _names_in_files(provider):
            yield from _unread_in(name, place.get(name))


def _unread_in(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (f"{name}.{k}" for k, v in value.items() if k not in FIELDS or not isinstance(v, (str, type(None))))
    elif value is not None:
        yield name


def known_fields(value: Any) -> dict[str, str]:
    """The fields of `FIELDS` in a mapping that are texts and not blank."""
    if not isinstance(value, Mapping):
        return {}
    return {k: str(v).strip() for k, v in value.items() if k in FIELDS and isinstance(v, str) and v.strip()}


def read_text(path: Path) -> str:
    """The text of a file. Raises `FileNotFoundError`, and `ConfigurationError` when it is there and cannot be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as exc:
        hint = "check the file and its permissions"
        raise ConfigurationError(f"cannot read {path}: {exc.strerror or type(exc).__name__}", hint=hint) from exc
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        before = data[: exc.start]
    line, column = before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1
    # Out here, because that exception holds the file, keys included, and would be the context of this one; so would
    # the variables of this frame, to a tool that reports them.
    del data, before
    raise ConfigurationError(f"{path} is not UTF-8: line {line}, column {column}", hint="save the file as UTF-8")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except FileNotFoundError:
        return {}  # removed since it was looked at
    except ConfigurationError:  # a ValueError, too
        raise
    except json.JSONDecodeError as exc:
        why = f"line {exc.lineno}, column {exc.colno}: {exc.msg}"
    except (ValueError, RecursionError) as exc:  # a number of thousands of digits; thousands of brackets
        why = str(exc)
    else:
        if not isinstance(content, dict):
            raise ConfigurationError(f"{path} holds {type(content).__name__}, not an object", hint="see docs/keys.md")
        return content
    # Out here, because the exception holds the document, keys included, and would be the context of this one.
    raise ConfigurationError(f"{path} is not valid JSON: {why}", hint="mend the file by hand; it was left as it is")


def _warn_if_readable(path: Path, mode: int) -> None:
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("%s can be read by other users (mode %o): run chmod 600 on it", path, stat.S_IMODE(mode))
