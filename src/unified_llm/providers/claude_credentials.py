"""Who answers for Claude's credential: us (a key we hold) or the SDK (token, profile, workload identity).

The SDK has a chain of its own: ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, ANTHROPIC_PROFILE, workload identity
variables, then the active profile on disk. We look whether it would find something, without importing it (a second and
a half) and without reading a secret. Source: docstring of ``anthropic.Anthropic``, and its lib/credentials.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unified_llm.credentials import Secret, find_key

__all__ = ["ClaudeCredential", "find_claude_credential"]

_KEY = "ANTHROPIC_API_KEY"
_TOKEN = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105  # the variable's name, not a token
_SDK_ARGUMENTS = ("api_key", "auth_token", "credentials", "config", "profile")


@dataclass(frozen=True, slots=True)
class ClaudeCredential:
    """`key`: an API key we hold; `token`: a bearer token we hold; `sdk`: the SDK would find one itself."""

    key: Secret | None = None
    token: Secret | None = None
    sdk: bool = False

    def __bool__(self) -> bool:
        return self.key is not None or self.token is not None or self.sdk


def find_claude_credential(explicit: object, sdk_options: Mapping[str, object]) -> ClaudeCredential:
    """The credential to use. An API key wins over a token, as it does in the SDK; options for the SDK win over both."""
    if any(sdk_options.get(name) is not None for name in _SDK_ARGUMENTS):
        return ClaudeCredential(sdk=True)
    key = find_key("claude", explicit, (_KEY,))
    if key is not None:
        return ClaudeCredential(key=key)
    token = find_key("claude", None, (_TOKEN,))
    if token is not None:
        return ClaudeCredential(token=token)
    return ClaudeCredential(sdk=_has_profile() or _has_workload_identity())


def _has_workload_identity() -> bool:
    found = {name for name in os.environ if name.startswith("ANTHROPIC_") and os.environ[name]}
    return {"ANTHROPIC_FEDERATION_RULE_ID", "ANTHROPIC_ORGANIZATION_ID"} <= found and bool(
        found & {"ANTHROPIC_IDENTITY_TOKEN", "ANTHROPIC_IDENTITY_TOKEN_FILE"}
    )


def _has_profile() -> bool:
    if os.environ.get("ANTHROPIC_PROFILE"):
        return True
    try:
        folder = _config_folder()
    except RuntimeError:  # nobody's home, as in some containers
        return False
    try:
        active = (folder / "active_config").read_text(encoding="utf-8").strip()
    except OSError:
        active = ""
    return bool(active) or (folder / "configs" / "default.json").is_file()


def _config_folder() -> Path:
    if given := os.environ.get("ANTHROPIC_CONFIG_DIR"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "Anthropic"
    return Path.home() / ".config" / "anthropic"
