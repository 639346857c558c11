"""What a LangChain message cannot hold of an answer, kept inside it, so that its maker gets it back unchanged.

Signatures of thinking, server-tool blocks, citations and the provider's own form of a call have no field in
`AIMessage`. The core's lossless dump of the message travels in ``additional_kwargs["unified_llm"]``, JSON-safe, as a
list, because LangChain joins the lists of messages it merges. What is visible in the message always wins over it:
middleware and people edit histories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from langchain_core.messages import AIMessage

from unified_llm.messages import Message, MessageRole, Opaque, Part, Text, Thinking, ToolCall

__all__ = ["KEPT", "keep", "restore"]

KEPT = "unified_llm"


def keep(message: Message) -> list[dict[str, Any]] | None:
    """The dump to store, or None when text, tool calls and their order say it all."""
    return None if _is_plain(message.parts) else [message.dump()]


def _is_plain(parts: Sequence[Part]) -> bool:
    if len(parts) == 1 and type(parts[0]) is Text:
        return not parts[0].citations and _says_only_its_text(parts[0])
    calls_begun = False
    for part in parts:
        if type(part) is ToolCall and part.native is None and part.arguments is not None:
            calls_begun = True
        elif type(part) is not Text or calls_begun or part.citations or part.native is not None:
            return False
    return True


def _says_only_its_text(part: Text) -> bool:
    """Whether the provider's own form has nothing more, such as the id or the phase of a message."""
    raw = part.native.raw if part.native else {}
    return not any(value for key, value in raw.items() if key not in ("type", "text"))


def restore(message: AIMessage, kept: Any) -> Message:
    """The message as its maker sent it, with the edits that were made to it since."""
    dumps = kept if isinstance(kept, list) else [kept]
    before = [Message.from_dict(dump) for dump in dumps]
    parts = tuple(part for one in before for part in one.parts)
    if message.response_metadata.get("output_version") == "v1" and isinstance(message.content, list):
        parts = _with_own_blocks(_with_reasoning(parts, message.content), message.content)
    parts = _with_calls(_with_text(parts, str(message.text)), message)
    return Message(
        MessageRole.ASSISTANT,
        parts,
        name=message.name,
        origin=before[0].origin if len({one.origin for one in before}) == 1 else None,
    )


def _with_text(parts: tuple[Part, ...], visible: str) -> tuple[Part, ...]:
    """`parts` if their text is the visible one; else the visible text in the place of the first one."""
    if "".join(p.text for p in parts if isinstance(p, Text)) == visible:
        return parts
    changed: list[Part] = []
    for part in parts:
        if not isinstance(part, Text):
            changed.append(part)
        elif visible:
            changed.append(Text(visible))
            visible = ""
    if visible:
        place = next((i for i, p in enumerate(changed) if not isinstance(p, Thinking)), len(changed))
        changed.insert(place, Text(visible))
    return tuple(changed)


def _with_reasoning(parts: tuple[Part, ...], content: Sequence[Any]) -> tuple[Part, ...]:
    """`parts` with the visible reasoning: what was removed is left out, what was edited is nobody's signed thinking."""
    visible = [_marks(b.get("reasoning"), b.get("extras") or {}) for b in content if _is(b, "reasoning")]
    result: list[Part] = []
    for part in parts:
        marks = isinstance(part, Thinking) and _marks(
            part.text, {"signature": part.signature, "redacted": part.redacted}
        )
        if not marks or not any(marks):  # no reasoning, or such as only its maker's own form says
            result.append(part)
        elif marks in visible:
            visible.remove(marks)
            result.append(part)
    return (*(Thinking(text) for text, *_ in visible if text), *result)


def _marks(text: object, extras: Mapping[str, Any]) -> tuple[str, Any, Any]:
    return str(text or ""), extras.get("signature"), extras.get("redacted")


def _with_own_blocks(parts: tuple[Part, ...], content: Sequence[Any]) -> tuple[Part, ...]:
    """`parts` without the blocks of a provider's own that are not in the content any more."""
    visible = [block.get("value") for block in content if _is(block, "non_standard")]
    if len(visible) >= sum(isinstance(part, Opaque) for part in parts):
        return parts
    return tuple(p for p in parts if not isinstance(p, Opaque) or dict(p.native.raw) in visible)


def _is(block: object, kind: str) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(block, Mapping) and block.get("type") == kind


def _with_calls(parts: tuple[Part, ...], message: AIMessage) -> tuple[Part, ...]:
    """`parts` with the visible tool calls: edited ones changed, removed ones left out, new ones added."""
    visible: dict[str | None, ToolCall] = {}
    for call in message.tool_calls:
        visible[call["id"]] = ToolCall(call["name"], call["args"], call["id"])
    broken = {call["id"]: call["args"] or "" for call in message.invalid_tool_calls}
    result: list[Part] = []
    for part in parts:
        if not isinstance(part, ToolCall):
            result.append(part)
        elif (seen := visible.pop(part.id, None)) is not None:
            result.append(part if _same_call(part, seen) else seen)
        elif part.id in broken:
            # Chunks end it so that nobody completes it (`stream_chunks.unrepairable`): the model did not write that.
            shown = broken.pop(part.id)
            result.append(part if shown.startswith(part.arguments_json) else ToolCall(part.name, shown, part.id))
    added = [
        ToolCall(c["name"] or "", c["args"] or "", c["id"]) for c in message.invalid_tool_calls if c["id"] in broken
    ]
    return (*result, *visible.values(), *added)


def _same_call(kept: ToolCall, seen: ToolCall) -> bool:
    return kept.name == seen.name and kept.arguments == seen.arguments
