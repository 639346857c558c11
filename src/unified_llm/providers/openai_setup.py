"""How a provider of the OpenAI dialect is set up: profile, address and key, each from the places it may come from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from unified_llm.credentials import Secret, missing_key
from unified_llm.drivers.urls import is_loopback, normalize_base_url
from unified_llm.errors import ConfigurationError
from unified_llm.profiles import PROFILES, Profile
from unified_llm.providers.registry import ProviderConfig

__all__ = [
    "auth_header",
    "check_key",
    "project_address",
    "resolve_base_url",
    "resolve_profile",
    "sent_fields",
    "settings_taken",
]


def resolve_profile(wanted: Profile | str, name: str) -> Profile:
    """The profile itself, or the row of that name. Raises `ConfigurationError` for an unknown name."""
    if isinstance(wanted, Profile):
        return wanted
    known = PROFILES.get(wanted)
    if known is None:
        raise ConfigurationError(
            f"unknown profile {wanted!r}", provider=name, hint=f"known: {', '.join(PROFILES)}; or pass a Profile"
        )
    return known


def resolve_base_url(name: str, given: str | None, row: ProviderConfig, profile: Profile) -> str:
    """The address to talk to: argument, variable, row; a bare host gets the path that such servers have.

    Raises:
        ConfigurationError: there is none, or it cannot be used.
    """
    variable = os.environ.get(row.base_url_env, "").strip() if row.base_url_env else ""
    url = (given or "").strip() or variable or row.base_url
    if not url:
        or_set = f", or set {row.base_url_env}" if row.base_url_env else ""
        raise ConfigurationError(
            f"{name} needs the address of a server",
            provider=name,
            hint=f"pass base_url=..., for example base_url='http://127.0.0.1:8080/v1'{or_set}",
        )
    url = normalize_base_url(url)
    return f"{url}/{profile.base_path}" if profile.base_path and not urlsplit(url).path else url


def project_address(name: str, project_id: str | None, base_url: str | None, row: ProviderConfig) -> str | None:
    """`base_url`, or the address of a project where the service has one.

    Scaleway: https://www.scaleway.com/en/docs/generative-apis/api-cli/using-generative-apis/

    Raises:
        ConfigurationError: both were given, the id cannot be one, or the service has no projects.
    """
    project = (project_id or "").strip()
    if not project or "project_id" in row.sent:
        return base_url
    if row.project_url is None:
        raise ConfigurationError(f"{name} has no projects", provider=name, hint="leave project_id out")
    if base_url:
        raise ConfigurationError(
            "both base_url and project_id were given",
            provider=name,
            hint="a base_url is used as it is: give one of them",
        )
    if not re.fullmatch(r"[A-Za-z0-9-]+", project):
        raise ConfigurationError(
            f"project_id {project!r} is no project's id",
            provider=name,
            hint="it looks like 1a2b3c4d-..., see the console",
        )
    return row.project_url.format(project_id=project)


def settings_taken(row: ProviderConfig, options: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """The fields of a credential that a provider of this row uses, beside `options`.

    Each comes with the environment variables that go before it.
    """
    variables = (row.base_url_env,) if row.base_url_env else ()
    taken: dict[str, tuple[str, ...]] = {"api_key": (), "base_url": variables, **dict.fromkeys(row.sent, ())}
    if (
        row.project_url
        and not options.get("base_url")
        and not any(os.environ.get(name, "").strip() for name in variables)
    ):
        taken["project_id"] = ()
    return taken


def sent_fields(
    name: str, row: ProviderConfig, base_url: str, fields: Mapping[str, str | None]
) -> tuple[dict[str, str], dict[str, str]]:
    """Headers and query parameters of the `fields` given; blank ones count as not given.

    Raises:
        ConfigurationError: the service has no place for one of them.
    """
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    for field, value in fields.items():
        text = _text(name, field, value)
        if not text:
            continue
        place = row.sent.get(field)
        if place is None:
            raise ConfigurationError(
                f"{name} has no {field}",
                provider=name,
                hint=f"leave {field} out; a gateway may want it in headers={{...}}",
            )
        if place.startswith("?"):
            query[place[1:]] = _undated(name, text, base_url)
        else:
            headers[place] = text
    return headers, query


def _text(name: str, field: str, value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{field} is {type(value).__name__}", provider=name, hint=f"{field} is a text")
    return (value or "").strip()


def _undated(name: str, version: str, base_url: str) -> str:
    """`version`, unless it is a date and the address that of Azure's v1 API, which replaces the dated ones.

    https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
    """
    if re.match(r"\d{4}-\d\d-\d\d", version) and base_url.endswith("/openai/v1"):
        raise ConfigurationError(
            f"api_version {version!r} is of the API before v1",
            provider=name,
            hint="leave it out, or give 'preview': the address /openai/v1 takes no dated versions",
        )
    return version


def auth_header(key: Secret | None, profile: Profile) -> dict[str, str]:
    """The header with the key; none without a key, because an empty bearer is an error to many servers."""
    if key is None:
        return {}
    value = key.get_secret_value()
    return {"authorization": f"Bearer {value}"} if profile.auth == "bearer" else {profile.auth: value}


def check_key(name: str, key: Secret | None, row: ProviderConfig, url: str, headers: Mapping[str, str]) -> None:
    """Raise `MissingCredentialError` when the service needs a key and there is none.

    An address on this machine needs none, and the caller's own headers may carry it.
    """
    if not row.needs_key or key is not None or is_loopback(urlsplit(url).hostname or ""):
        return
    if not headers.keys() & {"authorization", "api-key", "x-api-key"}:
        raise missing_key(name, row.env)
