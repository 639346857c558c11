"""Where keys come from: a chain of small sources, the first that has one wins. Values never show in a repr or a log."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol, Self

from unified_llm.errors import ConfigurationError, MissingCredentialError

__all__ = ["CredentialSource_", "EnvironmentSource", "Secret", "find_key", "missing_key", "secret"]


class Secret:
    """A credential. Its repr, str and format are masked; `get_secret_value` gives the text. Cannot be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """The credential itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Secret is not serialised: pass the credential again in the other process")


def secret(value: object) -> Secret | None:
    """Make a `Secret` of a str, a `Secret`, or anything with `get_secret_value` (pydantic's SecretStr).

    Blank means none. Raises `ConfigurationError` for a value that cannot be sent in a header.
    """
    if value is None or isinstance(value, Secret):
        return value or None
    reveal = getattr(value, "get_secret_value", None)
    text = str(reveal() if reveal is not None else value).strip()
    if any(c in text for c in "\r\n\0"):
        raise ConfigurationError("the API key has a line break inside", hint="copy the key again, on one line")
    if not text.isascii():
        raise ConfigurationError("the API key has a character outside ASCII", hint="copy the key again")
    return Secret(text) if text else None


class CredentialSource_(Protocol):  # noqa: N801  # the public name CredentialSource is the enumeration
    """One place keys may be in."""

    label: str

    def get(self, provider: str, names: Sequence[str]) -> str | None:
        """The key of `provider`, or None. `names` are its environment variables."""
        ...


class EnvironmentSource:
    """Environment variables, read at each call, blank ones ignored."""

    label = "environment"

    def get(self, provider: str, names: Sequence[str]) -> str | None:
        return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


CHAIN: list[CredentialSource_] = [EnvironmentSource()]


def find_key(provider: str, explicit: object, names: Sequence[str]) -> Secret | None:
    """The key of `provider`: the explicit one, else the first source of `CHAIN` that has one, else None."""
    given = secret(explicit)
    if given is not None:
        return given
    for source in CHAIN:
        found = secret(source.get(provider, names))
        if found is not None:
            return found
    return None


def missing_key(provider: str, names: Sequence[str]) -> MissingCredentialError:
    """The error for a provider that needs a key and has none."""
    return MissingCredentialError(
        f"no API key for {provider}",
        provider=provider,
        hint=f"set {' or '.join(names)}, or pass api_key=... to UnifiedLLM(provider={provider!r})",
    )
