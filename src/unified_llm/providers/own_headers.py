"""Headers that a client, or a call, has of its own: their credentials, and whom they make of the one who asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from unified_llm.codecs.errors import mask
from unified_llm.errors import UnifiedLLMError, holds_key
from unified_llm.requests import ModelConfig

__all__ = ["digest_of", "mask_given", "secrets_in"]


def secrets_in(*given: Mapping[str, object] | None) -> tuple[str, ...]:
    """The credentials among headers or fields of a body: ``Bearer abc`` is one as a whole, and so is ``abc``."""
    found: list[str] = []
    for fields in given:
        for name, value in (fields or {}).items():
            if isinstance(value, str) and holds_key(name, value):
                found += [value, *value.split()[1:2]]
    return tuple(found)


def mask_given(error: UnifiedLLMError, config: ModelConfig) -> None:
    """Mask the credentials that one call was given for itself: servers quote them, too."""
    if config.extra_headers or config.extra_body:
        mask(error, secrets_in(config.extra_headers, config.extra_body))


def digest_of(sent: Mapping[str, object]) -> str:
    """What tells clients apart that say different things with every call, keys among them; "" where nothing is said.

    For the keys of kept answers: nobody gets back from it to what was said.
    """
    said = sorted((name.lower(), value) for name, value in sent.items() if isinstance(value, str))
    return hashlib.sha256(json.dumps(said).encode()).hexdigest() if said else ""
