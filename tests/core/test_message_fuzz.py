"""Whatever a dictionary holds: it is a message, or an `InvalidMessageError` with a hint."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from unified_llm import InvalidMessageError, Message
from unified_llm.message_formats import KNOWN_TYPES, normalize_messages
from unified_llm.message_keys import _BLOCKS, _ELSEWHERE, _READ
from unified_llm.messages import Part

_SCALARS = (
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "x", "data:image/png;base64,AAAA", "AAAA"])
)
_NAMES = sorted(
    _READ | _ELSEWHERE.keys() | {key for keys in _BLOCKS.values() for key in keys} | {"function", "id", "url"}
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3)
        | st.fixed_dictionaries(
            {"type": st.sampled_from(sorted(KNOWN_TYPES))},
            optional=dict.fromkeys(sorted({key for keys in _BLOCKS.values() for key in keys}), inner),
        )
    ),
    max_leaves=12,
)
_MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system", "robot"]) | _VALUES},
    optional=dict.fromkeys(sorted(_READ - {"role"}), _VALUES),
)


_TEXT = (str, type(None))
_FIELDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "citations": (tuple,),
    "signature": _TEXT,
    "redacted": _TEXT,
    "id": _TEXT,
    "name": _TEXT,
    "arguments_json": (str,),
    "call_id": (str,),
    "is_error": (bool,),
    "data": (bytes, type(None)),
    "url": _TEXT,
    "media_type": _TEXT,
    "file_id": _TEXT,
    "detail": _TEXT,
}


def wrong_fields(parts: tuple[Part, ...]) -> list[str]:
    """Fields of parts, and of parts inside of them, that hold something of another type than they say."""
    found = []
    for part in parts:
        for f in fields(part):
            value = getattr(part, f.name)
            if f.name in _FIELDS and not isinstance(value, _FIELDS[f.name]):
                found.append(f"{type(part).__name__}.{f.name} is {value!r}")
        found += wrong_fields(getattr(part, "parts", ()))
    return found


def read(value: dict[str, Any]) -> Message | InvalidMessageError:
    try:
        return normalize_messages([value])[0]
    except InvalidMessageError as exc:
        return exc


@settings(max_examples=200, deadline=None)
@given(_MESSAGES)
def test_a_dictionary_is_a_message_or_an_error_with_a_hint(value: dict[str, Any]) -> None:
    found = read(value)
    if isinstance(found, InvalidMessageError):
        assert found.hint
        assert found.message.startswith("messages[0]: ")
        return
    json.dumps([found.dump(), found.to_dict()])
    assert wrong_fields(found.parts) == []
    assert isinstance(found.name, _TEXT)
    assert isinstance(found.id, _TEXT)
