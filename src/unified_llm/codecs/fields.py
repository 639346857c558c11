"""Fields of answers, read by their kind: what a server sends of another kind counts as not sent."""

from __future__ import annotations

from typing import Any

__all__ = ["count_of", "text_of"]


def text_of(value: Any) -> str | None:
    """A text that says something, or None: some servers send numbers or nothing where the dialect has texts."""
    return value if isinstance(value, str) and value else None


def count_of(value: Any) -> int | None:
    """A whole number from 0, or None. True is none, though it is an int to `isinstance`."""
    return value if type(value) is int and value >= 0 else None
