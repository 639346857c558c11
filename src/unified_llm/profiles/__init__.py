"""What differs between servers and model families, as data. A new OpenAI-compatible server is a row here.

Each surprising cell names its source. A cell nobody could check keeps the default, which is what the OpenAI
documentation says; a server's own rows can be given with `Profile(...)` as the provider's `profile=` option.
"""

from __future__ import annotations

from unified_llm.profiles.base import EFFORTS, ModelRule, Profile
from unified_llm.profiles.hosted import HOSTED
from unified_llm.profiles.local import LOCAL

__all__ = ["EFFORTS", "PROFILES", "ModelRule", "Profile", "profile_named"]

# https://platform.claude.com/docs/en/build-with-claude/vision
_CLAUDE = Profile("claude", image_types=frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"}))
PROFILES: dict[str, Profile] = {p.name: p for p in (*HOSTED, *LOCAL, _CLAUDE)}


def profile_named(name: str) -> Profile:
    """The row called `name`; a server without a row is treated as ``openai-compatible``."""
    return PROFILES.get(name, PROFILES["openai-compatible"])
