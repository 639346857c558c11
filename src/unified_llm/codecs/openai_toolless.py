"""Tool calls and their results as plain text, for servers without tools: a history made elsewhere goes on."""

from __future__ import annotations

from collections.abc import Sequence

from unified_llm.codecs.openai_draft import Draft
from unified_llm.codecs.results import unasked
from unified_llm.messages import Message, MessageRole, Part, Text, ToolCall, ToolResult

__all__ = ["told_in_words"]


def told_in_words(messages: Sequence[Message], draft: Draft) -> Sequence[Message]:
    """`messages` with every call and result as text, one for one; each change is recorded.

    Raises:
        InvalidMessageError: a tool result has no call before it.
    """
    names: dict[str, str] = {}
    told = []
    for i, message in enumerate(messages):
        if any(isinstance(p, (ToolCall, ToolResult)) for p in message.parts):
            draft.rearrange(f"messages[{i}]", f"{draft.provider} has no tool calls: they and their results are text")
            role = MessageRole.USER if message.role is MessageRole.TOOL else message.role
            parts = _parts(message, names, f"messages[{i}]")
            told.append(Message(role, parts, name=message.name, origin=message.origin, id=message.id))
        else:
            told.append(message)
    return told


def _parts(message: Message, names: dict[str, str], where: str) -> list[Part]:
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolCall):
            names[part.id] = part.name
            before = "\n\n" if parts else ""
            parts.append(Text(f"{before}[Called the tool {part.name} with {part.arguments_json or '{}'}]"))
        elif isinstance(part, ToolResult):
            parts += _result(part, names, where)
        else:
            parts.append(part)
    return parts


def _result(result: ToolResult, names: dict[str, str], where: str) -> list[Part]:
    name = names.get(result.call_id)
    if name is None:
        raise unasked(result, where)
    what = "failed" if result.is_error else "answered"
    media = [p for p in result.parts if not isinstance(p, Text)]
    return [Text(f"[The tool {name} {what}: {result.text}]"), *media]
