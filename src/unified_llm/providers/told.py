"""Errors complete themselves on the way up: who was asked, and for which model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from unified_llm.errors import UnifiedLLMError

__all__ = ["told"]


@contextmanager
def told(provider: str, model: str | None = None) -> Iterator[None]:
    """Within, a `UnifiedLLMError` that does not say whom it is about is told."""
    try:
        yield
    except UnifiedLLMError as exc:
        exc.with_context(provider=provider, model=model)
        raise
