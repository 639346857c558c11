"""What the places of credentials say of a provider beside its key: address, organization, project, region, version."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping
from typing import Any

from unified_llm.credentials import FIELDS, KeyringSource
from unified_llm.credentials.chain import current_chain
from unified_llm.providers.registry import PROVIDER_CONFIGS, ProviderConfig, factory_of

__all__ = ["provider_settings"]

logger = logging.getLogger("unified_llm")
_told: set[tuple[str, str, str]] = set()


def provider_settings(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor keywords of the provider `name`: those `given`, then what the places of credentials say.

    A field that the provider cannot use is left out, and said once. Our own providers look for their keys by
    themselves: they are passed only one from the keyring, which would be asked for it again.
    """
    config = PROVIDER_CONFIGS.get(name)
    if config is None:
        return dict(given)
    settings = dict(given)
    for field, value in _found(name, config, given).items():
        if settings.get(field) is not None:
            continue
        taken = _taken(name, settings)
        if field not in taken:
            _tell(name, field, settings)
        elif not any(os.environ.get(variable, "").strip() for variable in taken[field]):
            settings[field] = value
    return settings


def _found(name: str, config: ProviderConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in the order of `FIELDS`; the first place that has one wins."""
    found: dict[str, Any] = {}
    key_known = given.get("api_key") is not None
    looks_itself = hasattr(factory_of(name), "settings_taken")
    for source in current_chain():
        in_keyring = isinstance(source, KeyringSource)
        if in_keyring and (key_known or not config.needs_key):
            continue  # it may ask its user to unlock it: for a key that is needed, and not known
        fields = dict(source.get(name, config.env))
        key_known = key_known or "api_key" in fields
        if looks_itself and not in_keyring:
            fields.pop("api_key", None)
        found = fields | found
    return {field: found[field] for field in FIELDS if field in found}


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
