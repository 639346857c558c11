"""What stands in a history for media that the next provider cannot take: a conversation goes on without them.

Only turns before the last user turn are treated so. What the caller says now is not replaced: there it is an error,
because the caller can convert it, or send it elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from unified_llm.errors import InvalidMessageError
from unified_llm.messages import Audio, File, Image, Message, MessageRole

__all__ = ["check_file_id", "last_user_turn", "stand_in"]

# https://platform.claude.com/docs/en/build-with-claude/files, https://developers.openai.com/api/reference/resources/files
_MAKERS = {"Anthropic": re.compile(r"file_01[0-9A-Za-z]+"), "OpenAI": re.compile(r"file-[0-9A-Za-z]+")}


def last_user_turn(messages: Sequence[Message]) -> int:
    """The place of the last user message; what is before it is history. 0 where there is none."""
    for i in range(len(messages) - 1, -1, -1):
        if messages[i].role is MessageRole.USER:
            return i
    return 0


def stand_in(part: Image | Audio | File) -> str:
    """A text that tells the model what was there."""
    kind = type(part).__name__.lower()
    name = part.url if part.url and not part.url.startswith("data:") else part.name if isinstance(part, File) else None
    return f"[{kind}: {name}]" if name else f"[{kind} not sent: this server does not take it]"


def check_file_id(part: Image | Audio | File, where: str, *, provider: str, maker: str) -> None:
    """Refuse an id that another service gave out, as far as its form tells.

    Raises:
        InvalidMessageError: it has the form of the ids of another one than `maker`.
    """
    for name, form in _MAKERS.items():
        if name != maker and part.file_id is not None and form.fullmatch(part.file_id):
            raise InvalidMessageError(
                f"{where}: the file {part.file_id!r} is one of {name}'s, which {provider} cannot read",
                provider=provider,
                hint="upload the file there, or pass its bytes: data=...",
            )
