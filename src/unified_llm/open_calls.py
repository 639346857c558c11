"""Tool calls of a history that have no result: servers refuse them, so each is told that it was not run.

Two kinds happen without anybody's mistake: a call that was cut off, whose arguments nobody can run, and one that was
left when the conversation went on (a run that was stopped between a call and its result). A call at the end of a
history is neither: its result was forgotten, which the codecs say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from unified_llm.messages import Message, MessageRole, ToolCall, ToolResult
from unified_llm.responses import Adjustment

__all__ = ["answered"]

_GONE_ON = "the conversation went on without its result"


def answered(
    messages: Sequence[Message], unanswered: Collection[str], notes: list[Adjustment], *, broken_only: bool = False
) -> tuple[Message, ...]:
    """`messages` in which the calls with the ids `unanswered` have a result that says why they were not run.

    What was added is recorded in `notes`. With `broken_only`, calls that could have been run are left as they are.
    """
    result: list[Message] = []
    waiting: list[ToolResult] = []  # to be put after the results that there are
    for position, message in enumerate(messages):
        if waiting and message.role is not MessageRole.TOOL:
            result.append(Message(MessageRole.TOOL, tool_result=waiting))
            waiting = []
        if message.role is MessageRole.ASSISTANT:
            message = _named(message, unanswered, position, notes)
            left = not broken_only and any(m.role is not MessageRole.TOOL for m in messages[position + 1 :])
            for call, why in _not_run(message, unanswered, left=left):
                reason = f"the call of {call.name} is sent with an error for a result: {why}"
                notes.append(Adjustment("changed", f"messages[{position}].tool_call", reason))
                waiting.append(ToolResult(call.id, f"This call was not run: {why}.", is_error=True, name=call.name))
        result.append(message)
    if waiting:
        result.append(Message(MessageRole.TOOL, tool_result=waiting))
    return tuple(result)


def _named(message: Message, unanswered: Collection[str], position: int, notes: list[Adjustment]) -> Message:
    """`message` without the calls that were cut off before their names."""
    parts = [p for p in message.parts if not isinstance(p, ToolCall) or p.name or p.id not in unanswered]
    if len(parts) == len(message.parts):
        return message
    notes.append(Adjustment("lost", f"messages[{position}].tool_call", "a call was cut off before it said of what"))
    return Message(message.role, parts, name=message.name, origin=message.origin, id=message.id)


def _not_run(message: Message, unanswered: Collection[str], *, left: bool) -> Iterator[tuple[ToolCall, str]]:
    """The calls of `message` that were not run, each with the reason."""
    for call in message.tool_calls:
        if call.id in unanswered and (why := call.parse_error or (_GONE_ON if left else None)) is not None:
            yield call, why
