"""Where a credential's region and project go when Claude runs on somebody else's cloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unified_llm.errors import ConfigurationError

__all__ = ["platform_options", "settings_taken"]

_AWS: dict[str, tuple[str, tuple[str, ...]]] = {"region": ("aws_region", ("AWS_REGION", "AWS_DEFAULT_REGION"))}
_FIELDS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "bedrock": _AWS,
    "aws": _AWS,
    "vertex": {
        "region": ("region", ("CLOUD_ML_REGION",)),
        "project_id": ("project_id", ("ANTHROPIC_VERTEX_PROJECT_ID",)),
    },
}
"""Platform and field to the argument of the SDK's client, and the variables that the SDK reads for it."""


def settings_taken(options: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The fields of a credential that a `ClaudeProvider` with these `options` uses.

    Each comes with the environment variables that go before it. On other clouds, neither our key nor our address.
    """
    platform = options.get("platform") or "anthropic"
    if platform == "anthropic":
        return {"api_key": (), "base_url": ("ANTHROPIC_BASE_URL",)}
    given = options.get("sdk_options") or {}
    fields = _FIELDS.get(platform, {})
    return {field: variables for field, (argument, variables) in fields.items() if argument not in given}


def platform_options(platform: str, fields: Mapping[str, str | None], given: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of the SDK's client: those `given`, and the `fields` under the names they have there.

    Raises:
        ConfigurationError: the platform has no such field, or it was given twice.
    """
    options = dict(given)
    for field, value in fields.items():
        if not value:
            continue
        argument, _ = _FIELDS.get(platform, {}).get(field, (None, ()))
        if argument is None:
            raise ConfigurationError(
                f"Claude on the platform {platform!r} has no {field}",
                provider="claude",
                hint=f"leave {field} out, or name the platform that it belongs to: platform='vertex', 'bedrock'",
            )
        if argument in options:
            raise ConfigurationError(
                f"{field} was given twice", provider="claude", hint=f"leave it out, or {argument!r} in sdk_options"
            )
        options[argument] = value
    return options
