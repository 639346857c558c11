"""What is measured, how the answers are checked, and what this library aims at."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from benchmarks import payloads

__all__ = ["CASES", "Case", "check"]

Kind: TypeAlias = Literal["import", "call", "async call", "stream", "async stream", "vectors", "flight"]


@dataclass(frozen=True)
class Case:
    """One column of the table.

    Attributes:
        kind: what a client's function returns. "call": a callable that gives the text; "async call": its coroutine;
            "stream" and "async stream": an iterator of text pieces; "vectors": one sequence of floats per text;
            "flight": as "async call", awaited many times at once; "import": nothing, `IMPORT` is run instead.
        count: how often the work is done (in all, for "flight"); warm: how often before the clock starts.
        unit: what one figure of the yardstick stands for.
        targets: by client, the ratio aimed at: at most for CPU, at least for requests per second ("flight").
    """

    name: str
    title: str
    kind: Kind
    unit: str
    count: int
    warm: int = 1
    at_once: int = 1
    targets: Mapping[str, float] = field(default_factory=dict)


CASES: Final = (
    Case("import", "import", "import", "process", 1, targets={"unified": 1.2}),
    Case("chat", "chat", "call", "call", 300, 30, targets={"unified": 1.0}),
    Case("agent", "101 messages, 20 tools", "call", "call", 100, 10, targets={"unified": 0.7}),
    Case("chat_async", "chat, async", "async call", "call", 300, 30, targets={"unified": 1.0}),
    Case("stream", "chunk", "stream", "chunk", 5, 1, targets={"unified": 1.0}),
    Case("stream_async", "chunk, async", "async stream", "chunk", 5, 1, targets={"unified": 1.0}),
    Case("embeddings", "2,048 embeddings", "vectors", "call", 2, 1, targets={"unified": 0.2}),
    Case("in_flight_64", "64 in flight", "flight", "call/s", 640, 1, 64, {"unified": 7, "unified_aiohttp": 20}),
    Case("in_flight_256", "256 in flight", "flight", "call/s", 1024, 1, 256, {"unified": 10, "unified_aiohttp": 30}),
    Case("claude_chat", "Claude chat", "call", "call", 200, 20, targets={"unified": 1.2}),
    Case("claude_chat_async", "Claude chat, async", "async call", "call", 200, 20, targets={"unified": 1.2}),
    Case("claude_stream", "Claude chunk", "stream", "chunk", 5, 1, targets={"unified": 1.0}),
    Case("claude_stream_async", "Claude chunk, async", "async stream", "chunk", 5, 1, targets={"unified": 1.0}),
)


def check(case: Case, result: Any) -> None:
    """Raise ValueError unless `result` is the right answer: a client that skips work must not look fast."""
    if case.kind == "vectors":
        _check_vectors(result)
    elif case.kind in ("stream", "async stream"):
        if "".join(result) != "".join(payloads.WORDS):
            raise ValueError(f"{case.name}: the streamed text is not what was sent")
    elif result != payloads.ANSWER:
        raise ValueError(f"{case.name}: got {str(result)[:80]!r}")


def _check_vectors(vectors: Sequence[Sequence[float]]) -> None:
    if len(vectors) != payloads.VECTORS:
        raise ValueError(f"{len(vectors)} vectors came back, not {payloads.VECTORS}")
    for row in (0, 1, payloads.VECTORS - 1):
        pairs = itertools.zip_longest(vectors[row], payloads.vector(row), fillvalue=float("nan"))
        if any(not abs(got - expected) < 1e-6 for got, expected in pairs):
            raise ValueError(f"vector {row} is not the one that was sent")
