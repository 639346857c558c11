"""Small values that answers carry: `Usage`, `FinishReason`, `Adjustment`, `Attempt`. Unknown is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

__all__ = ["Adjustment", "Attempt", "FinishReason", "Usage"]


class FinishReason(StrEnum):
    """Why generation ended, in one vocabulary; `ChatResponse.native_finish_reason` keeps the server's word."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    STOP_SEQUENCE = "stop_sequence"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    PAUSE = "pause"
    CONTEXT_OVERFLOW = "context_overflow"
    CANCELLED = "cancelled"
    ERROR = "error"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Something asked for that was not done as asked. Nothing is changed or dropped without one of these.

    Attributes:
        kind: "dropped" (not sent), "changed" (sent differently), "lost" (part of the history that could not be kept).
        what: the option or part, such as ``temperature`` or ``messages[3].thinking``.
        reason: why, in one sentence.
    """

    kind: Literal["dropped", "changed", "lost"]
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that failed before the one that answered (or before the error was raised).

    `error` is the class name, `reason` its message, without secrets.
    """

    provider: str
    model: str | None
    error: str
    reason: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. None means the server did not say.

    `input_tokens` is the whole prompt, cached tokens included (providers that count them apart are summed);
    `output_tokens` includes `reasoning_tokens`. `native` is the server's own usage object.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    native: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def total_tokens(self) -> int | None:
        """Input plus output, or None when either is unknown."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens

    def to_dict(self) -> dict[str, int]:
        """The known figures only, `total_tokens` included."""
        figures = asdict(self) | {"total_tokens": self.total_tokens}
        return {k: v for k, v in figures.items() if isinstance(v, int)}

    def __add__(self, other: Usage) -> Usage:
        def add(a: int | None, b: int | None) -> int | None:
            return b if a is None else a if b is None else a + b

        return Usage(
            add(self.input_tokens, other.input_tokens),
            add(self.output_tokens, other.output_tokens),
            add(self.cache_read_tokens, other.cache_read_tokens),
            add(self.cache_write_tokens, other.cache_write_tokens),
            add(self.reasoning_tokens, other.reasoning_tokens),
        )
