"""Fields of Claude's blocks that callers write into dictionaries of any shape: cache breakpoints, citations, context.

They are kept as a `Native` block without a type: what is added to the block that the part is encoded to. Claude's
codec writes them; where another dialect is spoken they are recorded as not sent.
Source: platform.claude.com, "Prompt caching" (breakpoints), "Citations" (documents).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from unified_llm import _json
from unified_llm.errors import InvalidMessageError
from unified_llm.messages import File, Image, Message, Native, Part, Text, ToolCall, ToolResult

__all__ = ["CLAUDE", "DOCUMENT_MARKS", "WHY_UNSENT", "are_plain", "marked", "marks_of", "unsent_marks"]

CLAUDE = "anthropic"
WHY_UNSENT = "only Claude's blocks have it (prompt_caching=True is for every provider that caches on demand)"
"""The dialect whose blocks have these fields."""

DOCUMENT_MARKS = ("cache_control", "citations", "context")
_EXAMPLES = {
    "cache_control": '{"type": "ephemeral"}',
    "citations": '{"enabled": True}',
    "context": '"A page of the manual."',
}
_CACHED = (Text, Image, ToolCall, ToolResult)


def marked(part: Part, source: Mapping[str, Any]) -> Part:
    """`part` with the fields of `source` that Claude has for such a block; itself when there are none.

    Raises:
        InvalidMessageError: a field holds what JSON cannot carry.
    """
    names: Sequence[str] = DOCUMENT_MARKS if isinstance(part, File) else ("cache_control",)
    found = {name: source[name] for name in names if source.get(name)}
    given = marks_of(part.native)
    if not found or not isinstance(part, (*_CACHED, File)) or (part.native is not None and not given):
        return part
    for name, value in found.items():
        _check(name, value)
    native = Native(CLAUDE, {**given, **found})
    if isinstance(part, ToolCall):
        return ToolCall(part.name, part.arguments_json, part.id, native=native)
    if isinstance(part, ToolResult):
        return ToolResult(part.call_id, part.parts, is_error=part.is_error, name=part.name, native=native)
    return replace(part, native=native)


def _check(name: str, value: Any) -> None:
    try:
        _json.dumps(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidMessageError(
            f"{name} holds a value that JSON cannot carry: {exc}", hint=f"{name} is written like {_EXAMPLES[name]}"
        ) from exc


def marks_of(native: Native | None) -> Mapping[str, Any]:
    """The fields to add to the block of a part, or nothing."""
    return {} if native is None or native.dialect != CLAUDE or "type" in native.raw else native.raw


def are_plain(messages: Sequence[Message]) -> bool:
    """Whether they are bare texts, as most are: no images to fit, no marks to find. Every call asks: it is short."""
    return not [1 for m in messages for p in m.parts if type(p) is not Text or p.native is not None]


def unsent_marks(messages: Sequence[Message], dialect: str) -> Iterator[str]:
    """Where `messages` have such fields that `dialect` cannot hold, also in blocks that the caller wrote as a whole."""
    if dialect == CLAUDE:
        return
    for i, message in enumerate(messages):
        for j, part in enumerate(message.parts):
            if part.native is not None or type(part) is ToolResult:
                yield from _unsent(part, f"messages[{i}].parts[{j}]")


def _unsent(part: Part, where: str) -> Iterator[str]:
    native = part.native
    if native is not None and native.dialect == CLAUDE:
        yield from (f"{where}.{name}" for name in DOCUMENT_MARKS if name in marks_of(native) or _breaks(name, native))
    if isinstance(part, ToolResult):
        for k, inner in enumerate(part.parts):
            yield from _unsent(inner, f"{where}.parts[{k}]")


def _breaks(name: str, native: Native) -> bool:
    return name == "cache_control" and bool(native.raw.get(name))
