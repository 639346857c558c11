"""Requests that did not end: what arrived of them, and what it took. Servers bill it, so it must be counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from unified_llm.costs.estimates import completed
from unified_llm.errors import APITimeoutError, StreamInterruptedError
from unified_llm.flow.hooks import CallInfo
from unified_llm.responses import ChatResponse, FinishReason
from unified_llm.stream import PRELUDE, Accumulator, StreamEnd, StreamEvent

__all__ = ["partial_of"]


_STOPPED = (GeneratorExit, asyncio.CancelledError, KeyboardInterrupt)

_BEFORE_SENDING = ("(connect timeout)", "(pool timeout)")  # how drivers end the message of a request that never left


def partial_of(info: CallInfo, events: Sequence[StreamEvent], reason: BaseException) -> ChatResponse | None:
    """The answer so far of a request that `reason` stopped, with its usage, estimated where the server had not told it.

    Of one that had not begun to answer, the prompt was read, and is counted, by its estimate if need be: how many
    tokens had been generated, nobody told, so that they and the cost are None (vectors have none). None for a request
    that had ended, was refused, or never left: it is not billed.
    """
    if events and isinstance(events[-1], StreamEnd):
        return None
    finish = FinishReason.CANCELLED if isinstance(reason, _STOPPED) else FinishReason.ERROR
    told = Accumulator()
    for event in events:
        told.add(event)
    if all(event.type in PRELUDE for event in events):
        if told.usage.input_tokens is None and not _was_read(reason):
            return None
        given = info.prompt_tokens() if told.usage.input_tokens is None else told.usage.input_tokens
        taken = 0 if info.operation == "embed" else None  # a vector is not made of tokens
        usage = replace(told.usage, input_tokens=given, output_tokens=taken)
        return ChatResponse(provider=info.provider, model=info.model, finish_reason=finish, usage=usage)
    response = told.response(provider=info.provider, model=told.start.model or info.model, finish_reason=finish)
    response._d.usage = completed(told.usage, info, response, cut=told.finish.reason is None)
    return response


def _was_read(reason: BaseException) -> bool:
    """Whether the server had most likely read the prompt of a request that `reason` ended before it was answered.

    A connection that is reset without an answer says nothing of that; servers that are down do it.
    """
    if isinstance(reason, APITimeoutError):
        return reason.status in (None, 200) and not reason.message.endswith(_BEFORE_SENDING)
    return isinstance(reason, (*_STOPPED, StreamInterruptedError))
