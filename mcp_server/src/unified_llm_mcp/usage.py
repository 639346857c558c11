"""What each caller has used since the server started."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from unified_llm.responses import Usage

__all__ = ["UsageLog"]

MAX_CALLERS = 10_000


@dataclass(slots=True)
class _Used:
    chats: int = 0
    embeddings: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    calls_of_unknown_cost: int = 0
    calls_of_unknown_tokens: int = 0


class UsageLog:
    """Counters by caller. What a provider did not say is counted as unknown, not as zero."""

    def __init__(self) -> None:
        self._by_subject: OrderedDict[str, _Used] = OrderedDict()

    def add(self, subject: str, kind: str, usage: Usage, cost: float | None) -> None:
        """Count a call. `kind` is ``chats`` or ``embeddings``."""
        used = self._by_subject.setdefault(subject, _Used())
        self._by_subject.move_to_end(subject)
        if len(self._by_subject) > MAX_CALLERS:
            self._by_subject.popitem(last=False)
        setattr(used, kind, getattr(used, kind) + 1)
        used.input_tokens += usage.input_tokens or 0
        used.output_tokens += usage.output_tokens or 0
        used.calls_of_unknown_tokens += usage.input_tokens is None
        used.cost_usd += cost or 0.0
        used.calls_of_unknown_cost += cost is None

    def of(self, subject: str) -> dict[str, Any]:
        """The counters of one caller."""
        used = self._by_subject.get(subject, _Used())
        return {name: getattr(used, name) for name in _Used.__slots__}
