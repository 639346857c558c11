"""What each caller has used since the server started."""

from __future__ import annotations

from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from unified_llm.responses import ChatResponse, Usage

__all__ = ["UsageLog"]

MAX_CALLERS = 10_000


@dataclass(slots=True)
class _Used:
    chats: int = 0
    embeddings: int = 0
    unfinished: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    calls_of_unknown_cost: int = 0
    calls_of_unknown_tokens: int = 0


_watched: ContextVar[tuple[UsageLog, str] | None] = ContextVar("unified_llm_mcp_usage", default=None)


class UsageLog:
    """Counters by caller. What a provider did not say is counted as unknown, not as zero.

    A hook of the client, which tells what arrived of answers that were cut: those are billed, too.
    """

    def __init__(self) -> None:
        self._by_subject: OrderedDict[str, _Used] = OrderedDict()

    def watch(self, subject: str) -> None:
        """Count what is cut of the calls of this task for `subject`."""
        _watched.set((self, subject))

    def on_partial(self, info: Any, response: ChatResponse) -> None:
        """An answer was cut: by an error, or because nobody waits for it (the client calls this)."""
        log, subject = _watched.get() or (None, "")
        if log is self:
            self.add(subject, "unfinished", response.usage, response.cost)

    def add(self, subject: str, kind: str, usage: Usage, cost: float | None) -> None:
        """Count a call. `kind` is ``chats``, ``embeddings`` or ``unfinished``."""
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
