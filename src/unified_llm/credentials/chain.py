"""The chain of sources, and the two questions asked of it: which key, and what to say when there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from unified_llm.credentials.secret import Secret, secret
from unified_llm.credentials.sources import (
    ConfigFileSource,
    EnvironmentSource,
    Source,
)
from unified_llm.credentials.system_keyring import KeyringSource
from unified_llm.errors import MissingCredentialError

__all__ = ["CHAIN", "configured_by", "current_chain", "find_key", "find_source", "missing_key"]

CHAIN: list[Source] = [EnvironmentSource(), ConfigFileSource(), KeyringSource()]
"""Looked through in order after an explicit key. Applications may add sources of their own."""


_file: ContextVar[ConfigFileSource | None] = ContextVar("unified_llm_configuration_file", default=None)


@contextmanager
def configured_by(file: ConfigFileSource | None) -> Iterator[None]:
    """Within, `file` stands in the place of the usual configuration file; None leaves that one where it is."""
    token = _file.set(file)
    try:
        yield
    finally:
        _file.reset(token)


def current_chain(chain: Sequence[Source] | None = None) -> list[Source]:
    """The sources to look through: `chain`, or `CHAIN`, with the file of `configured_by` in its place."""
    file = _file.get()
    given = CHAIN if chain is None else chain
    return [file if file and isinstance(source, ConfigFileSource) and source.usual else source for source in given]


def find_key(
    provider: str, explicit: object, names: Sequence[str], *, chain: Sequence[Source] | None = None
) -> Secret | None:
    """The key of `provider`: the explicit one, else the first source that has one, else None.

    Raises:
        ConfigurationError: a key that cannot be sent, or a configuration file that cannot be read.
    """
    given = secret(explicit)
    return given if given is not None else find_source(provider, names, chain=chain)[1]


def find_source(
    provider: str, names: Sequence[str], *, chain: Sequence[Source] | None = None
) -> tuple[Source | None, Secret | None]:
    """The first source that has a key for `provider`, and the key."""
    for source in current_chain(chain):
        found = secret(source.get(provider, names).get("api_key"))
        if found is not None:
            return source, found
    return None, None


def missing_key(provider: str, names: Sequence[str]) -> MissingCredentialError:
    """The error for a provider that needs a key and has none."""
    path = (_file.get() or ConfigFileSource()).path
    return MissingCredentialError(
        f"no API key for {provider}",
        provider=provider,
        hint=f"set {' or '.join(names) or 'its key'}; or pass api_key=...; or put "
        f'{{"{provider}": {{"api_key": "..."}}}} in {path}; or store it there or in '
        f"the system keyring with `unified-llm auth set {provider}`",
    )
