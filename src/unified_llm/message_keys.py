"""Keys of message dictionaries that no request carries: typing mistakes raise, what other formats have is told."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from unified_llm.errors import InvalidMessageError

__all__ = ["Unsent", "unsent_keys"]

Unsent: TypeAlias = tuple[str, str]
"""A key that says something and is not sent, and why."""

_READ = frozenset(
    {"role", "content", "name", "id", "tool_calls", "function_call", "tool_call_id", "is_error"}
    | {"reasoning_content", "reasoning", "thinking", "thinking_blocks", "reasoning_details", "extra_content"}
    | {"refusal", "images", "tool_name", "parts", "origin", "cache_control"}
)
"""Keys of a message that `message_formats` reads, the vendors' spellings included."""

_RECORDS = frozenset(
    {"type", "object", "model", "status", "index", "usage", "logprobs", "finish_reason", "stop_reason"}
    | {"stop_sequence", "stop_details", "created", "created_at", "timestamp", "container", "example", "weight"}
    | {"metadata", "response_metadata", "usage_metadata", "provider_specific_fields", "caller", "eval_count"}
)
"""What answers and archives say about a message. No vendor takes it back, so nothing is lost."""

_CACHING = "prompt_caching=True asks every provider that has it; for one block pass a part with its native form"
_ELSEWHERE: dict[str, str] = {
    "cache_control": "Claude caches from texts, images, documents, calls of tools and their results only",
    "prompt_cache_breakpoint": _CACHING,
    "annotations": "citations go back only as the block they came in",
    "citations": "citations are switched on by the native form of the block only",
    "context": "it is sent in the native form of the block only",
    "audio": "a spoken answer goes back only as response.message",
    "additional_kwargs": "LangChain's messages are read by the package langchain-unified-llm",
    "prefix": "pass it in extra_body, if the server has it at all",
    "partial": "pass it in extra_body, if the server has it at all",
    "detail": "it belongs into image_url",
}
"""Keys that say something in another format, and what to do instead."""

_MARKS = frozenset({"cache_control", "citations", "context"})  # of documents: see `marks`
_BLOCKS: dict[str, frozenset[str]] = {
    "text": frozenset({"text", "citations", "cache_control"}),
    "input_text": frozenset({"text", "cache_control"}),
    "output_text": frozenset({"text", "cache_control"}),
    "image_url": frozenset({"image_url", "cache_control"}),
    "image": frozenset({"source", "cache_control"}),
    "document": frozenset({"source", "title"} | _MARKS),
    "input_audio": frozenset({"input_audio"}),
    "file": frozenset({"file", "file_id", "file_data", "filename"} | _MARKS),
    "tool_use": frozenset({"name", "input", "cache_control"}),
    "tool_result": frozenset({"tool_use_id", "content", "is_error", "cache_control"}),
    "thinking": frozenset({"thinking", "signature"}),
    "redacted_thinking": frozenset({"data"}),
    "refusal": frozenset({"refusal"}),
}
_ANY_BLOCK = frozenset({"type", "id"})


def unsent_keys(message: Mapping[str, Any]) -> list[Unsent]:
    """What a message dictionary says that will not be sent; keys without a value say nothing.

    Raises:
        InvalidMessageError: a key that no format has; or one of a block that looks like a known one misspelled.
    """
    found: list[Unsent] = []
    if not message.keys() <= _READ:
        found += _of_message(message)
    content = message.get("content")
    if type(content) is not str and isinstance(content, Sequence):
        found += _of_blocks(content, "content")
    return found


def _of_message(message: Mapping[str, Any]) -> Iterator[Unsent]:
    for key, value in message.items():
        if key in _READ or key in _RECORDS:
            continue
        if key not in _ELSEWHERE:
            raise _unknown("a message", key, [*_READ])
        if value not in (None, [], {}, "", False):
            yield key, _ELSEWHERE[key]


def _of_blocks(blocks: Sequence[Any], where: str) -> Iterator[Unsent]:
    for position, block in enumerate(blocks):
        if not isinstance(block, Mapping):
            continue
        place = f"{where}[{position}]"
        known = _BLOCKS.get(str(block.get("type")))
        if known is not None and not block.keys() <= known | _ANY_BLOCK:
            yield from _of_block(block, known, place)
        inner = block.get("content")
        if known is not None and isinstance(inner, Sequence) and not isinstance(inner, str):
            yield from _of_blocks(inner, f"{place}.content")


def _of_block(block: Mapping[str, Any], known: frozenset[str], place: str) -> Iterator[Unsent]:
    """Vendors add keys to blocks all the time, so only what looks misspelled is an error here."""
    for key, value in block.items():
        if key in known or key in _ANY_BLOCK or key in _RECORDS or value in (None, [], {}, "", False):
            continue
        if key not in _ELSEWHERE and difflib.get_close_matches(str(key), known, n=1, cutoff=0.75):
            raise _unknown(f"{place} ({block['type']})", key, [*known])
        yield f"{place}.{key}", _ELSEWHERE.get(key, "no dialect sends it: pass the native form of the block")


def _unknown(what: str, key: object, known: Sequence[str]) -> InvalidMessageError:
    close = difflib.get_close_matches(str(key), sorted(known), n=1, cutoff=0.6)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return InvalidMessageError(
        f"{what} has the unknown key {key!r}",
        hint=f"{guess}leave it out; fields that only one server has go in extra_body={{...}}",
    )
