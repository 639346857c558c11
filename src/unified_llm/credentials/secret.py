"""A credential that does not show: masked in every repr, refused by pickle."""

from __future__ import annotations

from typing import Any, Self

from unified_llm.errors import ConfigurationError

__all__ = ["Secret", "secret"]


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
    """Make a `Secret` of a text, its bytes, a `Secret`, or anything with `get_secret_value` (pydantic's SecretStr).

    Blank means none. Raises `ConfigurationError` for a value of another kind, or one that cannot be sent in a header.
    """
    if value is None or isinstance(value, Secret):
        return value or None
    reveal = getattr(value, "get_secret_value", None)
    text = _text(reveal() if reveal is not None else value).strip()
    if any(c in text for c in "\r\n\0"):
        raise ConfigurationError("the API key has a line break inside", hint="copy the key again, on one line")
    if not text.isascii():
        raise ConfigurationError("the API key has a character outside ASCII", hint="copy the key again")
    return Secret(text) if text else None


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")  # what is no UTF-8 becomes a character outside ASCII
    if not isinstance(value, str):
        raise ConfigurationError(f"the API key is {type(value).__name__}", hint="pass it as a text")
    return value
