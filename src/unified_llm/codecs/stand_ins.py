"""What stands in a history for media that the next provider cannot take: a conversation goes on without them.

Only turns before the last user turn are treated so. What the caller says now is not replaced: there it is an error,
because the caller can convert it, or send it elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from unified_llm.errors import InvalidMessageError
from unified_llm.messages import Audio, File, Image, Message, MessageRole
from unified_llm.pictures import can_convert

__all__ = ["check_file_id", "check_image_type", "last_user_turn", "stand_in", "url_refused"]

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


def check_image_type(media_type: str | None, taken: Collection[str], where: str, *, provider: str) -> None:
    """Refuse an image of a type that is not `taken`; no types mean that any is.

    Raises:
        InvalidMessageError: it was not converted: Pillow is not here, or cannot read it.
    """
    if not taken or media_type is None or media_type in taken:
        return
    itself = "" if can_convert() else '; pip install "unified-llm[images]" has it done'
    raise InvalidMessageError(
        f"{where}: {provider} does not take {media_type}",
        provider=provider,
        hint=f"convert the image to {' or '.join(sorted(taken))}{itself}",
    )


def url_refused(where: str, *, provider: str) -> InvalidMessageError:
    """The error (not raised) of an image's URL for a server that fetches none."""
    return InvalidMessageError(
        f"{where}: {provider} does not load images from URLs",
        provider=provider,
        hint="download the image and pass its bytes: Image(data=...); or let it be done: "
        f"UnifiedLLM({provider!r}, download_images=True)",
    )
