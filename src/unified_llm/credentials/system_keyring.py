"""The system keyring as a place of credentials."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from unified_llm._optional import installed, require
from unified_llm.credentials.sources import known_fields
from unified_llm.errors import ConfigurationError

__all__ = ["KeyringSource"]

logger = logging.getLogger("unified_llm")


class KeyringSource:
    """The system keyring, through the package `keyring`. Absent, or without a backend, it has nothing.

    Keyrings cannot be listed, and each look-up may ask the user to unlock: an index entry remembers which providers
    were stored, so that looking for any key asks once.
    """

    label = "keyring"
    service = "unified_llm"
    _INDEX = "__providers__"

    def get(self, provider: str, names: Sequence[str]) -> Mapping[str, str]:
        value = self._read(provider)
        if not value:
            return {}
        try:
            decoded = json.loads(value)
        except ValueError:
            return {"api_key": value}  # stored by hand: `keyring set unified_llm claude`
        return known_fields(decoded) if isinstance(decoded, dict) else {"api_key": value}

    def stored(self) -> list[str]:
        """The providers saved by `save`."""
        return [name for name in (self._read(self._INDEX) or "").split(",") if name]

    def save(self, provider: str, fields: Mapping[str, str]) -> None:
        """Store `fields`. Raises `ConfigurationError` when there is no package or backend, or nothing is kept."""
        keyring = require("keyring", extra="keyring", purpose="the system keyring")
        merged = json.dumps({**self.get(provider, ()), **fields})
        hint = "use the configuration file instead, or install a keyring backend"
        _asked(hint, keyring.set_password, self.service, provider, merged)
        if self._read(provider) != merged:  # a keyring that is switched off takes everything and keeps nothing
            backend = type(keyring.get_keyring())
            raise ConfigurationError(
                f"the system keyring ({backend.__module__}.{backend.__qualname__}) does not keep it", hint=hint
            )
        _asked(hint, keyring.set_password, self.service, self._INDEX, ",".join(sorted({*self.stored(), provider})))

    def remove(self, provider: str, names: Sequence[str] = ()) -> bool:
        """Forget a provider; False when it was not stored. Raises `ConfigurationError` when the keyring refuses."""
        keyring = self._module()
        if keyring is None or self._read(provider) is None:
            return False
        hint = f"unlock the keyring, or remove {provider!r} of {self.service!r} with the system's own program"
        _asked(hint, keyring.delete_password, self.service, provider)
        _asked(hint, keyring.set_password, self.service, self._INDEX, ",".join(sorted({*self.stored()} - {provider})))
        return True

    def _module(self) -> ModuleType | None:
        return require("keyring", extra="keyring", purpose="the system keyring") if installed("keyring") else None

    def _read(self, name: str) -> str | None:
        keyring = self._module()
        if keyring is None:
            return None
        try:
            value: str | None = keyring.get_password(self.service, name)
        except Exception as exc:  # noqa: BLE001  # backends pass on what D-Bus, files and vaults raise
            logger.debug("the system keyring cannot be read: %s", type(exc).__name__)
            return None
        return value


def _asked(hint: str, call: Callable[..., object], *arguments: str) -> None:
    """Make the call. Whatever a keyring's backend raises becomes a `ConfigurationError` without that exception."""
    try:
        call(*arguments)
    except Exception as exc:  # noqa: BLE001  # backends pass on what D-Bus, files and vaults raise
        kind = type(exc).__name__
    else:
        return
    # Out here, because the exception's text may hold the key, and it would be the context of this one.
    raise ConfigurationError(f"the system keyring cannot be used: {kind}", hint=hint)
