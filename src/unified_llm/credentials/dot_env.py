"""A ``.env`` file as a place of credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from unified_llm.credentials.sources import expanded, from_variables, read_text

__all__ = ["DotEnvSource"]

_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[^\s#=]+)\s*=\s*(?P<value>.*)")
_QUOTED = re.compile(r"(?P<quote>[\"'])(?P<value>.*?)(?P=quote)\s*(?:#.*)?$")
_COMMENT = re.compile(r"(?:^|\s)#.*")


class DotEnvSource:
    """A ``.env`` file, read only when somebody asks for this source: ``CHAIN.insert(1, DotEnvSource(".env"))``.

    A file that does not exist has nothing; one that cannot be read is a `ConfigurationError`.
    """

    label = ".env file"

    def __init__(self, path: str | os.PathLike[str] = ".env") -> None:
        self.path = expanded(path)

    def get(self, provider: str, names: Sequence[str]) -> Mapping[str, str]:
        return from_variables(self._variables(), names)

    def _variables(self) -> dict[str, str]:
        try:
            lines = read_text(self.path).splitlines()
        except FileNotFoundError:
            return {}
        return {found["name"]: _unquoted(found["value"]) for line in lines if (found := _LINE.match(line))}


def _unquoted(value: str) -> str:
    """The value as a shell takes it: without its quotes, and the comment after it."""
    quoted = _QUOTED.match(value)
    return quoted["value"] if quoted else _COMMENT.sub("", value).rstrip()
