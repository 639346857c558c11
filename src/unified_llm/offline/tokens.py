"""How the offline engine counts: a token is at most four characters of one word, with the blanks before it.

The rule is simple on purpose (a test can compute it by hand), stable across versions and close to real tokenizers
on English text. ``"Hello world"`` is four tokens: ``Hell``, ``o``, `` worl``, ``d``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unified_llm import _json

__all__ = ["MEDIA_TOKENS", "MESSAGE_TOKENS", "count_prompt", "count_text", "split_text"]

MESSAGE_TOKENS = 3  # role and separators of one message
MEDIA_TOKENS = 256  # an image, a sound or a file, whatever its size

_PIECE = re.compile(r"\s*\S{1,4}|\s+")


def split_text(text: str) -> list[str]:
    """Cut `text` into its tokens; joined again they are `text`."""
    return _PIECE.findall(text)


def count_text(text: str) -> int:
    """Number of tokens in `text`."""
    return sum(1 for _ in _PIECE.finditer(text))


def count_prompt(body: Mapping[str, Any]) -> int:
    """Prompt tokens of a chat request body: texts, tool calls and definitions, a fixed cost per message and medium."""
    total = sum(_count_message(m) for m in body.get("messages") or ())
    for tool in body.get("tools") or ():
        total += count_text(_json.dumps_str(tool))
    return total


def _count_message(message: Mapping[str, Any]) -> int:
    total = MESSAGE_TOKENS + _count_content(message.get("content"))
    for call in message.get("tool_calls") or ():
        total += count_text(_json.dumps_str(call.get("function") or {}))
    return total


def _count_content(content: str | Sequence[Mapping[str, Any]] | None) -> int:
    if content is None:
        return 0
    if isinstance(content, str):
        return count_text(content)
    return sum(_count_blocks(content))


def _count_blocks(blocks: Iterable[Mapping[str, Any]]) -> Iterable[int]:
    for block in blocks:
        text = block.get("text")
        yield count_text(text) if isinstance(text, str) else MEDIA_TOKENS
