"""Writes a conversation to a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from unified_llm.errors import InvalidRequestError
from unified_llm.message_formats import dump_message
from unified_llm.messages import Message, Text, ToolCall, ToolResult

__all__ = ["save_transcript"]


def save_transcript(where: str, messages: Sequence[Message]) -> Path:
    """Write the messages to `where`: JSON that ``Message.from_dict`` reads back, or Markdown. Returns the path.

    Raises:
        InvalidRequestError: no name was given, the file exists, or it cannot be written.
    """
    if not where:
        raise InvalidRequestError("/save needs a file name", hint="for example /save talk.md, or talk.json")
    path = Path(where).expanduser()
    as_json = path.suffix.lower() == ".json"
    text = (
        json.dumps([dump_message(m) for m in messages], indent=1, ensure_ascii=False)
        if as_json
        else _markdown(messages)
    )
    try:
        with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except FileExistsError:
        raise InvalidRequestError(f"{path} exists", hint="choose another name: nothing is overwritten") from None
    except OSError as exc:
        raise InvalidRequestError(f"cannot write {path}: {exc.strerror}", hint="check the folder") from exc
    return path


def _markdown(messages: Sequence[Message]) -> str:
    return "\n\n".join(f"## {m.role.value}\n\n{_body(m)}" for m in messages) + "\n"


def _body(message: Message) -> str:
    pieces = []
    for part in message.parts:
        if isinstance(part, Text):
            pieces.append(part.text)
        elif isinstance(part, ToolCall):
            pieces.append(f"*calls {part.name}({part.arguments_json})*")
        elif isinstance(part, ToolResult):
            pieces.append(f"*{part.name or part.call_id}:* {part.text}")
        else:
            pieces.append(f"*[{type(part).__name__.lower()}]*")
    return "\n\n".join(pieces)
