"""Rearranges wire messages for servers whose chat templates are particular about roles."""

from __future__ import annotations

from typing import Any, TypeAlias

from unified_llm.codecs.openai_draft import Draft

__all__ = ["add_instruction", "arrange"]

Wire: TypeAlias = dict[str, Any]
_SYSTEM = ("system", "developer")


def arrange(messages: list[Wire], draft: Draft) -> list[Wire]:
    """`messages` as the profile demands them; each rearrangement is recorded once."""
    profile = draft.profile
    if profile.one_system:
        messages = _one_system(messages, draft)
    if not profile.user_after_tool:
        messages = _bridge(messages, draft)
    if profile.alternate_roles:
        messages = _merged(messages, draft)
    return messages


def add_instruction(messages: list[Wire], text: str, role: str) -> None:
    """Append `text` to the first message when that is a system message, else put a system message first."""
    if messages and messages[0]["role"] in _SYSTEM:
        messages[0] = {**messages[0], "content": f"{messages[0]['content']}\n\n{text}"}
    else:
        messages.insert(0, {"role": role, "content": text})


def _one_system(messages: list[Wire], draft: Draft) -> list[Wire]:
    places = [i for i, m in enumerate(messages) if m["role"] in _SYSTEM]
    if not places or places == [0]:
        return messages
    draft.rearrange("messages", "the server takes one system message, the first: they were joined there")
    text = "\n\n".join(messages[i]["content"] for i in places)
    return [{**messages[places[0]], "content": text}, *(m for m in messages if m["role"] not in _SYSTEM)]


def _bridge(messages: list[Wire], draft: Draft) -> list[Wire]:
    result: list[Wire] = []
    for message in messages:
        if message["role"] == "user" and result and result[-1]["role"] == "tool":
            draft.rearrange(
                "messages", "the server takes no user message right after a tool result: an OK was put between"
            )
            result.append({"role": "assistant", "content": "OK."})
        result.append(message)
    return result


def _merged(messages: list[Wire], draft: Draft) -> list[Wire]:
    result: list[Wire] = []
    for message in messages:
        last = result[-1] if result else None
        if last is not None and last["role"] == message["role"] and last["role"] != "tool":
            draft.rearrange("messages", f"roles must alternate: two {message['role']} messages were joined")
            result[-1] = _joined(last, message)
        else:
            result.append(message)
    return result


def _joined(first: Wire, second: Wire) -> Wire:
    one, two = first.get("content"), second.get("content")
    if isinstance(one, list) or isinstance(two, list):
        content: Any = [*_as_list(one), *_as_list(two)]
    else:
        content = "\n\n".join(filter(None, (one, two)))
    joined = {**first, **second, "content": content}
    calls = [*(first.get("tool_calls") or ()), *(second.get("tool_calls") or ())]
    return {**joined, "tool_calls": calls} if calls else joined


def _as_list(content: Any) -> list[Wire]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []
