"""Keys inside what is passed on as it is (headers, body fields, provider options): printed masked, sent whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SecretStr

from unified_llm.errors import holds_key, redact

__all__ = ["PASSED_ON", "digest", "hidden", "masked", "shown"]

PASSED_ON = ("extra_headers", "extra_body", "provider_options")
"""The options whose values are not ours, and may hold keys."""


def hidden(value: Any, name: str = "") -> Any:
    """`value`, in which texts are `SecretStr` that stand under the name of a key, or look like one.

    Every header counts as one: which of them is a key depends on the server.
    """
    return _hidden(value, secret=name == "extra_headers")


def _hidden(value: Any, *, secret: bool) -> Any:
    if isinstance(value, Mapping):
        return {k: _hidden(v, secret=secret or holds_key(str(k), None)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_hidden(one, secret=secret) for one in value])
    return SecretStr(value) if isinstance(value, str) and (secret or redact(value) != value) else value


def shown(value: Any) -> Any:
    """`value` as it is sent: the opposite of `hidden`."""
    return _each_secret(value, SecretStr.get_secret_value)


def masked(value: Any) -> Any:
    """`value`, with asterisks for what is hidden in it: what may be printed, and is still JSON."""
    return _each_secret(value, str)


def _each_secret(value: Any, change: Callable[[SecretStr], str]) -> Any:
    if isinstance(value, SecretStr):
        return change(value)
    if isinstance(value, Mapping):
        return {k: _each_secret(v, change) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_each_secret(one, change) for one in value])
    return value


def digest(*values: Any) -> str:
    """Text that is equal for equal `values` and shows none of them."""
    return hashlib.sha256(repr(shown(values)).encode()).hexdigest()[:32]
