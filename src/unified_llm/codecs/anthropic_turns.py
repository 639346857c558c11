"""Messages to Claude's ``system`` field and alternating turns.

Rules: leading system messages become the top-level ``system``. A later one stays in its place as a ``system`` turn,
which must follow a user turn, on models that follow such turns; on others it becomes a ``<system>`` text of the user
turn. It never moves to the top, because that would change the whole prefix: prompt caches would miss and preserved
thinking would be refused. Turns of one role are merged; the results of all calls of a turn come first in the next.
Sources: platform.claude.com, "Mid-conversation system messages" (placement rules), "Handle tool calls".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from unified_llm.codecs.anthropic_models import ClaudeFamily
from unified_llm.codecs.anthropic_parts import DIALECT, Block, PartEncoder
from unified_llm.codecs.stand_ins import last_user_turn
from unified_llm.errors import InvalidMessageError
from unified_llm.messages import Message, MessageRole, Part, Text

__all__ = ["Turn", "encode_turns", "is_plain_text"]

_OWN_WORDS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
_OPENING = "(The assistant speaks first in this conversation.)"


@dataclass(slots=True)
class Turn:
    """One entry of the ``messages`` array."""

    role: str
    content: list[Block] = field(default_factory=list)

    def to_wire(self) -> Block:
        """As it is sent; a lone plain text is sent as a string, the shorthand the API documents."""
        return {"role": self.role, "content": self.content[0]["text"] if is_plain_text(self.content) else self.content}


def is_plain_text(blocks: Sequence[Block]) -> bool:
    """Whether `blocks` are one text without anything attached, which the API also takes as a string."""
    return len(blocks) == 1 and blocks[0].keys() == {"type", "text"}


def encode_turns(
    messages: Sequence[Message], encoder: PartEncoder, family: ClaudeFamily
) -> tuple[list[Block], list[Turn]]:
    """Blocks of the system prompt, and the turns.

    Raises:
        InvalidMessageError: nothing to send, calls without results, results without calls, an unfinished ending.
    """
    system, begin = _leading_system(messages, encoder)
    builder = _Builder(encoder, family)
    now = last_user_turn(messages)
    for position, message in enumerate(messages[begin:], start=begin):
        encoder.past = position < now
        builder.add(message, f"messages[{position}]")
    turns = builder.finish()
    if not turns:
        raise InvalidMessageError("there is nothing to send but a system prompt", hint="add a user message with text")
    _check_pairs(turns)
    if not _is_paused(messages[-1]):
        _check_ending(turns, encoder, family)
    return system, turns


def _leading_system(messages: Sequence[Message], encoder: PartEncoder) -> tuple[list[Block], int]:
    blocks: list[Block] = []
    for position, message in enumerate(messages):
        if message.role is not MessageRole.SYSTEM:
            return blocks, position
        blocks += _system_blocks(message, f"messages[{position}]", encoder)
    return blocks, len(messages)


def _system_blocks(message: Message, where: str, encoder: PartEncoder) -> list[Block]:
    """Text blocks; native ones as they are, which is how a prompt sets its own cache breakpoints."""
    blocks = []
    for i, part in enumerate(message.parts):
        place = f"{where}.parts[{i}]"
        if not isinstance(part, Text):
            encoder.notes.lost(place, "a system prompt holds text only", refusable=True)
        elif (block := encoder.user(part, place)) is not None:
            blocks.append(block)
    return blocks


class _Builder:
    """Appends messages to turns; system messages wait until their user turn is complete."""

    def __init__(self, encoder: PartEncoder, family: ClaudeFamily) -> None:
        self._encoder = encoder
        self._inline = family.inline_system
        self._turns: list[Turn] = []
        self._system: list[tuple[Block, str]] = []  # (block, where)
        self._overtaken = False

    def add(self, message: Message, where: str) -> None:
        if message.role is MessageRole.SYSTEM:
            self._add_system(message, where)
        elif message.role is MessageRole.ASSISTANT:
            blocks = _blocks(message, where, partial(self._encoder.assistant, origin=message.origin))
            if blocks:
                self._close_user_turn()
                self._append("assistant", blocks)
        else:
            blocks = _blocks(message, where, self._encoder.user)
            self._overtaken = self._overtaken or bool(blocks and self._system)
            self._append("user", blocks)
        if message.name and message.role is MessageRole.USER:
            self._encoder.notes.rearranged(f"{where}.name", "Claude has no names for speakers: not sent")

    def _append(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self._turns and self._turns[-1].role == role:
            self._turns[-1].content += blocks
        else:
            self._turns.append(Turn(role, blocks))

    def _add_system(self, message: Message, where: str) -> None:
        for block in _system_blocks(message, where, self._encoder):
            if self._inline:
                self._system.append((block, where))
            else:
                self._as_user_text(block, where)

    def _as_user_text(self, block: Block, where: str) -> None:
        self._encoder.notes.rearranged(
            where, "a system message inside the conversation is sent as <system> text of the user"
        )
        self._append("user", [{**block, "text": f"<system>\n{block['text']}\n</system>"}])

    def _close_user_turn(self) -> None:
        """Write the system messages that waited for the end of the user turn."""
        waiting, self._system = self._system, []
        if not waiting:
            return
        if not self._turns or self._turns[-1].role != "user":
            for block, where in waiting:  # right after an assistant turn: the API wants a user turn between
                self._as_user_text(block, where)
            return
        if self._overtaken:
            self._encoder.notes.rearranged(
                waiting[0][1], "the system message is sent after the user turn it was part of"
            )
        self._overtaken = False
        self._turns.append(Turn("system", [block for block, _ in waiting]))

    def finish(self) -> list[Turn]:
        self._close_user_turn()
        for position, turn in enumerate(self._turns):
            if turn.role == "user":
                self._results_first(turn, position)
        if self._turns and self._turns[0].role == "assistant":
            self._encoder.notes.rearranged(
                "messages", "a conversation starts with the user: a neutral first turn was added"
            )
            self._turns.insert(0, Turn("user", [{"type": "text", "text": _OPENING}]))
        return self._turns

    def _results_first(self, turn: Turn, position: int) -> None:
        ordered = sorted(turn.content, key=lambda block: block["type"] != "tool_result")
        if ordered != turn.content:
            self._encoder.notes.rearranged(f"turn {position}", "tool results are sent before the rest of the user turn")
            turn.content = ordered


def _blocks(message: Message, where: str, encode: Callable[[Part, str], Block | None]) -> list[Block]:
    found = (encode(part, f"{where}.parts[{i}]") for i, part in enumerate(message.parts))
    return [block for block in found if block is not None]


def _check_pairs(turns: list[Turn]) -> None:
    """Every call is answered in the next user turn, and every answer has its call in the turn before."""
    waiting: list[str] = []
    for turn in turns:
        if turn.role == "system":
            continue
        results = {b["tool_use_id"] for b in turn.content if b["type"] == "tool_result"}
        missing = [call for call in waiting if call not in results]
        if missing:
            raise _unanswered(missing)
        if stray := results.difference(waiting):
            raise InvalidMessageError(
                f"the result of the tool call {min(stray)!r} does not follow the turn with that call",
                hint="put every tool result right after the assistant message with its call",
            )
        waiting = [b["id"] for b in turn.content if b["type"] == "tool_use"]
    if waiting:
        raise _unanswered(waiting)


def _unanswered(calls: list[str]) -> InvalidMessageError:
    return InvalidMessageError(
        f"the tool call {calls[0]!r} has no result right after it",
        hint="append a tool message for every call of a turn before anything else (an error text is a result too)",
    )


def _is_paused(message: Message) -> bool:
    """Whether Claude stopped in the middle of this turn and wants it back as it is, whatever it ends with."""
    origin = message.origin
    return origin is not None and origin.paused and origin.dialect == DIALECT


def _check_ending(turns: list[Turn], encoder: PartEncoder, family: ClaudeFamily) -> None:
    last = turns[-1]
    if last.role != "assistant" or any(b["type"] not in _OWN_WORDS for b in last.content):
        return  # server tools, compaction: what a turn that was paused holds
    if not family.prefill:
        raise InvalidMessageError(
            "the conversation ends with an assistant message, which this model cannot continue",
            hint="add a user message; to steer the form of the answer use response_format",
        )
    block = last.content[-1]
    if block["type"] == "text" and block["text"] != block["text"].rstrip():
        encoder.notes.rearranged("messages", "white space at the end of the last assistant message is not sent")
        last.content[-1] = block | {"text": block["text"].rstrip()}
