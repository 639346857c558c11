"""Results of tools, and names of parts, in the dialects that have no flag for a failure."""

from __future__ import annotations

from unified_llm.errors import InvalidMessageError
from unified_llm.messages import Opaque, Part, ToolResult

__all__ = ["kind_of", "result_text", "unasked"]


def result_text(result: ToolResult) -> str:
    """The text of a result; that of a failure begins with the word."""
    text = result.text
    if result.is_error and not text.lower().startswith("error"):
        return f"Error: {text}"
    return text


def unasked(result: ToolResult, where: str) -> InvalidMessageError:
    """The error (not raised) for a result whose call is not in the messages before it."""
    return InvalidMessageError(
        f"{where}: a tool result for {result.call_id!r}, which no earlier message called",
        hint="keep the assistant message with the tool call before its result",
    )


def kind_of(part: Part) -> str:
    """What a part is called in adjustments, such as ``image``; an opaque one by the type of its block."""
    return part.type or "opaque" if isinstance(part, Opaque) else type(part).__name__.lower()
