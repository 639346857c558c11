"""Headers that a client, or a call, has of its own: their credentials, and whom they make of the one who asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from unified_llm.codecs.errors import mask
from unified_llm.errors import UnifiedLLMError, holds_key
from unified_llm.requests import ModelConfig

__all__ = ["digest_of", "mask_given", "secrets_in"]


def secrets_in(*given: Mapping[str, object] | None) -> tuple[str, ...]:
    """The credentials among headers or fields of a body, at any depth.

    ``Bearer abc`` is one as a whole, and so is ``abc``.
    """
    found: list[str] = []
    for fields in given:
        for name, text in _texts("", fields):
            if holds_key(name, text):
                words = text.split()
                found += [text, *(words[1:] if len(words) == 2 else ())]
    return tuple(found)


def _texts(name: str, value: object, above: tuple[int, ...] = ()) -> Iterator[tuple[str, str]]:
    """Each text of `value` with the name of its field. `above`: ids of what it is a part of, as it may be of itself."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, (Mapping, list, tuple)) and id(value) not in above:
        fields = value.items() if isinstance(value, Mapping) else ((name, item) for item in value)
        for key, item in fields:
            yield from _texts(str(key), item, (*above, id(value)))


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
