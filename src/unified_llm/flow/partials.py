"""Streams that did not end: what arrived of them, and what it took. Servers bill it, so it must be counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from unified_llm.costs.estimates import completed
from unified_llm.flow.hooks import CallInfo
from unified_llm.responses import ChatResponse, FinishReason
from unified_llm.stream import Accumulator, StreamEnd, StreamEvent

__all__ = ["partial_of"]


def partial_of(info: CallInfo, events: Sequence[StreamEvent], reason: BaseException) -> ChatResponse | None:
    """The answer so far of a stream that `reason` stopped, with its usage, estimated where the server had not told it.

    None when it had ended, or had not begun: whether a server bills what it never answered, nobody can tell.
    """
    if not events or isinstance(events[-1], StreamEnd) or all(event.type == "progress" for event in events):
        return None
    told = Accumulator()
    for event in events:
        told.add(event)
    left = isinstance(reason, (GeneratorExit, asyncio.CancelledError, KeyboardInterrupt))
    response = told.response(
        provider=info.provider,
        model=told.start.model or info.model,
        finish_reason=FinishReason.CANCELLED if left else FinishReason.ERROR,
    )
    response._d.usage = completed(told.usage, info, response, cut=told.finish.reason is None)
    return response
