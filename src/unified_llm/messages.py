"""Messages: a role and a tuple of parts (`parts`), frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeAlias, Union

from unified_llm.errors import InvalidMessageError
from unified_llm.parts import (
    Audio,
    Content,
    File,
    Image,
    Native,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    content_parts,
    new_id,
    parts_from_paths,
)

__all__ = [
    "Audio",
    "Content",
    "File",
    "Image",
    "Message",
    "MessageRole",
    "Native",
    "Opaque",
    "Origin",
    "Part",
    "Text",
    "Thinking",
    "ToolCall",
    "ToolResult",
    "new_id",
]


class MessageRole(StrEnum):
    """Who speaks. A plain string of the same value is accepted everywhere."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


_ROLES: dict[str, MessageRole] = {r.value: r for r in MessageRole} | {
    "developer": MessageRole.SYSTEM,  # OpenAI's newer name
    "human": MessageRole.USER,
    "ai": MessageRole.ASSISTANT,
    "model": MessageRole.ASSISTANT,  # Gemini's name
    "chatbot": MessageRole.ASSISTANT,
    "function": MessageRole.TOOL,  # OpenAI's older name
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an assistant message was made: provider name, wire dialect, model id.

    `paused`: its maker stopped in the middle (`FinishReason.PAUSE`), and goes on when it gets the message back.
    """

    provider: str
    dialect: str
    model: str
    paused: bool = False


RoleLike: TypeAlias = Union[MessageRole, Literal["system", "user", "assistant", "tool", "developer"], str]


@dataclass(frozen=True, slots=True, init=False)
class Message:
    """One turn. `content` may be text, a part, or a list of both; `file_paths` are attached after it.

    Raises:
        InvalidMessageError: unknown role, or content of a type that is no part.
    """

    role: MessageRole
    parts: tuple[Part, ...]
    name: str | None = None
    origin: Origin | None = None
    id: str | None = None

    def __init__(
        self,
        role: RoleLike,
        content: Content = None,
        file_paths: Iterable[str | Path] | None = None,
        tool_call: ToolCall | Iterable[ToolCall] | None = None,
        tool_result: ToolResult | Iterable[ToolResult] | None = None,
        *,
        name: str | None = None,
        origin: Origin | None = None,
        id: str | None = None,
    ) -> None:
        known = _ROLES.get(role) if isinstance(role, str) else None
        if known is None:
            raise InvalidMessageError(f"unknown role {role!r}", hint="use system, user, assistant or tool")
        parts = content_parts(content)
        if file_paths is not None:
            parts += parts_from_paths(file_paths)
        if tool_call is not None:
            parts += (tool_call,) if isinstance(tool_call, ToolCall) else tuple(tool_call)
        if tool_result is not None:
            parts += (tool_result,) if isinstance(tool_result, ToolResult) else tuple(tool_result)
        put = object.__setattr__
        put(self, "role", known)
        put(self, "parts", parts)
        put(self, "name", name)
        put(self, "origin", origin)
        put(self, "id", id)

    @property
    def text(self) -> str:
        """The text parts, joined. Thinking is not included."""
        parts = self.parts
        if len(parts) == 1 and isinstance(parts[0], Text):
            return parts[0].text
        return "".join(p.text for p in parts if isinstance(p, Text))

    @property
    def content(self) -> str | None:
        """The text, or None when the message has no text part."""
        return self.text if any(isinstance(p, Text) for p in self.parts) else None

    @property
    def thinking(self) -> str | None:
        """The readable reasoning, joined, or None."""
        return "".join(p.text for p in self.parts if isinstance(p, Thinking)) or None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, in order."""
        return tuple(p for p in self.parts if isinstance(p, ToolCall))

    @property
    def tool_call(self) -> ToolCall | None:
        """The first tool call, or None."""
        return next(iter(self.tool_calls), None)

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """The tool results, in order."""
        return tuple(p for p in self.parts if isinstance(p, ToolResult))

    def to_dict(self) -> dict[str, Any]:
        """The message in the OpenAI chat shape, JSON-safe; what that shape cannot hold is left out (see `dump`)."""
        from unified_llm.message_formats import to_openai_dict

        return to_openai_dict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Message:
        """Read the OpenAI chat shape, Anthropic content blocks, or the output of `dump`.

        Raises:
            InvalidMessageError: the dictionary is no message; the text says which key is wrong.
        """
        from unified_llm.message_formats import message_from_dict

        return message_from_dict(value)

    def dump(self) -> dict[str, Any]:
        """The whole message as a JSON-safe dictionary, native blocks included; `from_dict` reads it back equal."""
        from unified_llm.message_formats import dump_message

        return dump_message(self)
