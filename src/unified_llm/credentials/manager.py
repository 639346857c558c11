"""`CredentialManager`: credentials of every provider from four sources, with the names of the founding contract."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from unified_llm.credentials.secret import Secret, secret
from unified_llm.credentials.sources import FIELDS, ConfigFileSource, EnvironmentSource, Source
from unified_llm.credentials.system_keyring import KeyringSource
from unified_llm.errors import ConfigurationError

__all__ = ["CredentialManager", "CredentialSource"]


class CredentialSource(StrEnum):
    """Where a credential is, strongest first."""

    EXPLICIT = "explicit"
    ENV = "environment"
    CONFIG_FILE = "configuration file"
    KEYRING = "keyring"

    @classmethod
    def _missing_(cls, value: object) -> CredentialSource:
        """The member called `value`, such as ``config_file``. Raises `ConfigurationError` when there is none."""
        found = cls.__members__.get(value.strip().upper()) if isinstance(value, str) else None
        if found is None:
            known = ", ".join(repr(member.value) for member in cls)
            raise ConfigurationError(f"credentials are in no source {value!r}", hint=f"one of {known}")
        return found


class CredentialManager:
    """Reads and keeps credentials: explicit > environment > configuration file > keyring.

    Args:
        config_path: the configuration file; default UNIFIED_LLM_CONFIG, else ``~/.unified_llm/config.json``.
        names: environment variables of each provider's key; default those of `PROVIDER_CONFIGS`.
    """

    def __init__(
        self, config_path: str | os.PathLike[str] | None = None, *, names: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._names = names
        self._explicit: dict[str, dict[str, Any]] = {}  # `api_key` is a `Secret`
        self.file = ConfigFileSource(config_path)
        self.keyring = KeyringSource()
        self._sources: tuple[tuple[CredentialSource, Source], ...] = (
            (CredentialSource.ENV, EnvironmentSource()),
            (CredentialSource.CONFIG_FILE, self.file),
            (CredentialSource.KEYRING, self.keyring),
        )

    def __repr__(self) -> str:
        return f"CredentialManager(config_path={str(self.file.path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a CredentialManager may hold keys and is not serialised: make one in the other process")

    def _name(self, provider: str) -> str:
        """The provider's own name: "anthropic" and "Claude" mean "claude", as everywhere."""
        if self._names is not None and provider in self._names:
            return provider
        # Imported here: the table of providers stands on this room.
        from unified_llm.providers.registry import canonical_name

        return canonical_name(provider) or provider

    def variables(self, provider: str) -> Sequence[str]:
        """The environment variables that may hold the provider's key."""
        known = self._names if self._names is not None else provider_variables()
        return known.get(self._name(provider), ())

    def get_credentials(self, provider: str) -> dict[str, Any]:
        """Every field known, the strongest source winning field by field; `api_key` is a `Secret`."""
        provider = self._name(provider)
        merged: dict[str, Any] = {}
        for _, source in reversed(self._sources):
            merged |= source.get(provider, self.variables(provider))
        merged |= self._explicit.get(provider, {})
        if (key := secret(merged.pop("api_key", None))) is not None:
            merged["api_key"] = key
        return merged

    def get_api_key(self, provider: str) -> Secret | None:
        """The key, or None. The keyring is asked only when no place before it has one."""
        return next((key for _, value in self._keys(provider) if (key := secret(value)) is not None), None)

    def _keys(self, provider: str, *, quiet: bool = False) -> Iterator[tuple[CredentialSource, object]]:
        """Each place that has a key, strongest first, looked into when it is asked for."""
        provider = self._name(provider)
        names = self.variables(provider)
        if (given := self._explicit.get(provider, {}).get("api_key")) is not None:
            yield CredentialSource.EXPLICIT, given
        for kind, source in self._sources:
            skipped = quiet and kind is CredentialSource.KEYRING
            if not skipped and (found := source.get(provider, names).get("api_key")):
                yield kind, found

    def set_api_key(
        self, provider: str, key: object, source: CredentialSource | str = CredentialSource.EXPLICIT
    ) -> None:
        """Keep a key: for this manager only (EXPLICIT), in the configuration file, or in the keyring."""
        self.save_credentials(provider, {"api_key": key}, source)

    def save_credentials(
        self,
        provider: str,
        credentials: Mapping[str, object],
        source: CredentialSource | str = CredentialSource.CONFIG_FILE,
    ) -> None:
        """Keep some fields of a provider.

        Raises:
            ConfigurationError: an unknown field, an empty or unusable value, the environment or an unknown word as
                source, a keyring that cannot be used, or a file that cannot be written.
        """
        provider, fields = self._name(provider), _checked(credentials)
        match CredentialSource(source):
            case CredentialSource.EXPLICIT:
                self._explicit[provider] = {**self._explicit.get(provider, {}), **fields}
            case CredentialSource.CONFIG_FILE:
                self.file.save(provider, _revealed(fields))
            case CredentialSource.KEYRING:
                self.keyring.save(provider, _revealed(fields))
            case CredentialSource.ENV:
                raise ConfigurationError(
                    "a library does not write environment variables",
                    hint=f"export {next(iter(self.variables(provider)), 'the variable')} in your shell",
                )

    def credential_source(self, provider: str, *, quiet: bool = False) -> CredentialSource | None:
        """Where the key in use comes from, or None when there is none. `quiet`: without asking the keyring."""
        return next((kind for kind, _ in self._keys(provider, quiet=quiet)), None)

    def is_provider_configured(self, provider: str) -> bool:
        """Whether there is a key for the provider."""
        return self.credential_source(provider) is not None

    check_provider_credentials = is_provider_configured

    def get_configured_providers(self) -> list[str]:
        """The providers with a key; of a keyring those saved by this library."""
        return list(self.configured_sources())

    def configured_sources(self) -> dict[str, CredentialSource]:
        """Every provider with a key, and where that is.

        The keyring is asked once, for its index: each look-up may ask its user to unlock it.
        """
        known = self._names if self._names is not None else provider_variables()
        stored = dict.fromkeys(self.keyring.stored(), CredentialSource.KEYRING)
        found = {name: self.credential_source(name, quiet=True) or stored.get(name) for name in known}
        return {name: source for name, source in found.items() if source is not None}

    def clear_credentials(self, provider: str, source: CredentialSource | str | None = None) -> bool:
        """Forget a provider in one source, or in all but the environment; False when nothing was kept.

        Raises:
            ConfigurationError: an unknown source, or one that refuses.
        """
        provider = self._name(provider)
        wanted = {CredentialSource(source)} if source is not None else set(CredentialSource)
        removed = CredentialSource.EXPLICIT in wanted and self._explicit.pop(provider, None) is not None
        if CredentialSource.CONFIG_FILE in wanted:
            removed |= self.file.remove(provider, self.variables(provider))
        if CredentialSource.KEYRING in wanted:
            removed |= self.keyring.remove(provider)
        return removed


def _checked(credentials: Mapping[str, object]) -> dict[str, Any]:
    """The fields that are given; `api_key` as a `Secret`."""
    fields: dict[str, Any] = {}
    for name, value in credentials.items():
        if name not in FIELDS:
            raise ConfigurationError(f"unknown credential field {name!r}", hint=f"known: {', '.join(FIELDS)}")
        if name == "api_key":
            fields[name] = secret(value)
            if fields[name] is None:
                raise ConfigurationError(
                    "the API key is empty", hint="pass the key, or clear_credentials() to forget it"
                )
        elif isinstance(value, str):
            fields[name] = value
        elif value is not None:
            raise ConfigurationError(f"{name} is {type(value).__name__}", hint=f"{name} is a text")
    return fields


def _revealed(fields: Mapping[str, Any]) -> dict[str, str]:
    """The fields as they are kept."""
    return {name: v.get_secret_value() if isinstance(v, Secret) else v for name, v in fields.items()}


def provider_variables() -> Mapping[str, Sequence[str]]:
    """Environment variables of every known provider's key."""
    # Imported here: the table of providers stands on this room.
    from unified_llm.providers.registry import PROVIDER_CONFIGS

    return {name: config.env for name, config in PROVIDER_CONFIGS.items() if config.env}
