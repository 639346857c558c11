"""About how many bytes of memory what is kept between calls takes."""

from __future__ import annotations

from collections.abc import Iterable

from unified_llm import Embeddings, Message, Text

__all__ = ["weight_of_messages", "weight_of_vectors"]


def weight_of_messages(messages: Iterable[Message]) -> int:
    """Texts and attachments; a character counts as a byte."""
    return sum(_weight(part) for message in messages for part in message.parts)


def _weight(part: object) -> int:
    if isinstance(part, Text):
        return len(part.text)
    return len(getattr(part, "data", None) or b"")


def weight_of_vectors(vectors: Embeddings) -> int:
    """Numbers of four bytes, most of the time."""
    return len(vectors) * (vectors.dimensions or 0) * 4
