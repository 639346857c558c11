"""What the places of credentials say of a provider beside its key: address, organization, project, region, version."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unified_llm.credentials import CHAIN, FIELDS, ConfigFileSource, EnvironmentSource, KeyringSource, Source
from unified_llm.providers.registry import PROVIDER_CONFIGS, ProviderConfig, factory_of

__all__ = ["provider_settings"]

logger = logging.getLogger("unified_llm")
_told: set[tuple[str, str, str]] = set()


def provider_settings(
    name: str, given: Mapping[str, Any], config_path: str | os.PathLike[str] | None
) -> dict[str, Any]:
    """Constructor keywords of the provider `name`: those `given`, then what the places of credentials say.

    A field that the provider cannot use is left out, and said once. The provider looks for its key by itself; only one
    that it would not find (in the file at `config_path`), or would ask the keyring for again, is passed on.
    """
    config = PROVIDER_CONFIGS.get(name)
    if config is None:
        return dict(given)
    settings = dict(given)
    for field, value in _found(name, config, given, config_path).items():
        if settings.get(field) is not None:
            continue
        taken = _taken(name, settings)
        if field not in taken:
            _tell(name, field, settings)
        elif not any(os.environ.get(variable, "").strip() for variable in taken[field]):
            settings[field] = value
    return settings


def _found(
    name: str, config: ProviderConfig, given: Mapping[str, Any], config_path: str | os.PathLike[str] | None
) -> dict[str, Any]:
    """The fields in the order of `FIELDS`; the first place that has one wins."""
    found: dict[str, Any] = {}
    key_known = given.get("api_key") is not None
    passed_on = False
    for source in _chain(config_path):
        if isinstance(source, KeyringSource) and (key_known or not config.needs_key):
            continue  # it may ask its user to unlock it: for a key that is needed, and not known
        fields = source.get(name, _variables(name, config, source))
        passed_on = passed_on or ("api_key" in fields and not key_known and _only_here(source, config_path))
        key_known = key_known or "api_key" in fields
        found = {**fields, **found}
    if not passed_on:
        found.pop("api_key", None)
    return {field: found[field] for field in FIELDS if field in found}


def _only_here(source: Source, config_path: str | os.PathLike[str] | None) -> bool:
    return config_path is not None or isinstance(source, KeyringSource)


def _chain(config_path: str | os.PathLike[str] | None) -> Iterable[Source]:
    """`CHAIN`, with the file at `config_path` in the place of the usual one."""
    if config_path is None:
        return tuple(CHAIN)
    return tuple(ConfigFileSource(config_path) if isinstance(source, ConfigFileSource) else source for source in CHAIN)


def _variables(name: str, config: ProviderConfig, source: Source) -> Sequence[str]:
    """The variables of the key. Claude's second one holds a bearer token, which the provider looks for itself."""
    return config.env[:1] if name == "claude" and isinstance(source, EnvironmentSource) else config.env


def _taken(name: str, options: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    """The fields that the provider can use, each with the environment variables that go before it."""
    factory = factory_of(name)
    told = getattr(factory, "settings_taken", None)
    if told is not None:
        taken: Mapping[str, tuple[str, ...]] = told(name, options)
        return taken
    variable = PROVIDER_CONFIGS[name].base_url_env
    parameters = inspect.signature(factory).parameters
    return {field: (variable,) if field == "base_url" and variable else () for field in FIELDS if field in parameters}


def _tell(name: str, field: str, options: Mapping[str, Any]) -> None:
    platform = str(options.get("platform") or "")
    if field == "api_key" or (name, platform, field) in _told:
        return  # a key belongs to the service itself, not to the cloud it may run on
    _told.add((name, platform, field))
    where = f" on the platform {platform!r}" if platform else ""
    logger.warning("%s has no use for %s%s: what is configured there is left out", name, field, where)
