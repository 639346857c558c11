"""Messages to the ``input`` items of the Responses API. An item that came from here goes back byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from unified_llm import _json
from unified_llm.codecs.responses_draft import ResponsesDraft
from unified_llm.codecs.responses_media import content_part
from unified_llm.codecs.results import kind_of, result_text, unasked
from unified_llm.codecs.stand_ins import last_user_turn
from unified_llm.errors import InvalidMessageError
from unified_llm.messages import (
    Audio,
    File,
    Image,
    Message,
    MessageRole,
    Native,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

__all__ = ["encode_input"]

Item: TypeAlias = dict[str, Any]
_SYSTEM = ("system", "developer")


def encode_input(messages: Sequence[Message], draft: ResponsesDraft, *, begin: int = 0) -> list[Item]:
    """The input items of ``messages[begin:]``, in their order; what is before it is at the server already.

    Raises:
        InvalidMessageError: there are none, a tool result has no call before it, or media cannot be sent.
    """
    if not messages:
        raise InvalidMessageError("there are no messages", hint="pass at least one message")
    writer = _Writer(draft)
    now = last_user_turn(messages)
    noted = len(draft.adjustments)
    for i, message in enumerate(messages):
        if i == begin and begin:  # the calls before it were written, so that results find theirs
            writer.out.clear()
            del draft.adjustments[noted:]
        draft.past = i < now
        writer.write(f"messages[{i}]", message)
    return _one_system(writer.out, draft) if draft.profile.one_system else writer.out


class _Writer:
    __slots__ = ("_draft", "out")

    def __init__(self, draft: ResponsesDraft) -> None:
        self._draft = draft
        self.out: list[Item] = []

    def write(self, where: str, message: Message) -> None:
        """Append `message` in as many items as it takes."""
        if message.role is MessageRole.ASSISTANT:
            self._assistant(where, message)
            return
        rest: list[Part] = []
        for part in message.parts:  # results first: nothing may come between calls and their results
            if isinstance(part, ToolResult):
                self.out.append(self._result(part, where))
            elif isinstance(part, Opaque) and self._draft.owns(message, part.native):
                self.out.append(dict(part.native.raw))  # such as computer_call_output
            else:
                rest.append(part)
        if message.name and message.role is MessageRole.USER:
            self._draft.lose(f"{where}.name", "this dialect has no names for speakers")
        if message.role is MessageRole.SYSTEM:
            text = "\n\n".join(self._texts(rest, where, "a system message holds text only"))
            self.out.append({"type": "message", "role": self._draft.profile.system_role, "content": text})
        elif rest or not message.parts:
            self.out.append({"type": "message", "role": "user", "content": self._content(rest, where)})

    def _content(self, parts: Sequence[Part], where: str) -> str | list[Item]:
        if all(isinstance(p, Text) and p.native is None for p in parts):
            return "".join(self._texts(parts, where, ""))
        content = [w for p in parts if (w := content_part(p, where, self._draft)) is not None]
        return content or ""

    def _texts(self, parts: Sequence[Part], where: str, reason: str) -> list[str]:
        for part in parts:
            if not isinstance(part, Text):
                self._draft.lose(f"{where}.{kind_of(part)}", reason)
            elif part.citations:
                self._draft.lose(f"{where}.citations", "citations go back only as the item they came in")
        return [p.text for p in parts if isinstance(p, Text)]

    # -- tool results -----------------------------------------------------------------------------------------------

    def _result(self, result: ToolResult, where: str) -> Item:
        draft = self._draft
        call_id = draft.answered_call(result.call_id)
        if call_id is None:
            raise unasked(result, where)
        text = result_text(result)
        output: str | list[Item] = text
        if any(isinstance(p, (Image, Audio, File)) for p in result.parts):
            begin = [Text(text)] if text else []
            media = [p for p in result.parts if not isinstance(p, Text)]
            output = [w for p in (*begin, *media) if (w := content_part(p, where, draft)) is not None]
        kind = "custom_tool_call_output" if call_id in draft.custom else "function_call_output"
        return {"type": kind, "call_id": call_id, "output": output}

    # -- assistant --------------------------------------------------------------------------------------------------

    def _assistant(self, where: str, message: Message) -> None:
        begin = len(self.out)
        texts: list[str] = []
        for part in message.parts:
            native: Native | None = getattr(part, "native", None)
            own = native is not None and self._draft.owns(message, native)
            if isinstance(part, Text) and not own:
                texts += self._texts([part], where, "")
                continue
            self._say(texts)
            if native is not None and own:
                self._replay(part, dict(native.raw), where)
            elif isinstance(part, ToolCall):
                self.out.append(self._call(part, where))
            else:
                self._draft.lose(f"{where}.{kind_of(part)}", _why_lost(part))
        self._say(texts)
        self._drop_loose_reasoning(begin, where)

    def _say(self, texts: list[str]) -> None:
        """Append what was said so far as one message; the API takes plain text for an earlier answer."""
        text = "".join(texts)
        texts.clear()
        if text:
            self.out.append({"type": "message", "role": "assistant", "content": text})

    def _replay(self, part: Part, raw: Item, where: str) -> None:
        """Append the item that `part` came in, as it came."""
        if raw.get("type") == "reasoning" and self._is_unreadable(raw):
            self._draft.lose(f"{where}.thinking", "the server kept no copy of it, and it has no encrypted content")
            return
        if raw.get("type") == "reasoning" and self._is_foreign(part, raw):
            self._draft.lose(f"{where}.thinking", "another model's reasoning, and this one takes none")
            return
        if isinstance(part, ToolCall):
            wire = self._draft.open_call(part.id)
            if raw.get("type") == "custom_tool_call":
                self._draft.custom.add(wire)
            if raw.get("call_id") != wire:
                self._draft.rearrange(f"{where}.tool_call", "its id was missing or taken: another one is sent")
                raw["call_id"] = wire
        self.out.append(raw)

    def _is_foreign(self, part: Part, raw: Item) -> bool:
        """Whether reasoning that only its maker can read goes to a model without reasoning, which answers 400."""
        native: Native | None = getattr(part, "native", None)
        maker = native.model if native is not None else None
        known = bool(raw.get("encrypted_content")) and not self._draft.profile.encrypted_reasoning
        return known and maker is not None and maker != self._draft.model

    def _is_unreadable(self, raw: Item) -> bool:
        """Whether a reasoning item would be looked up by its id, in vain. Source: "Encrypted reasoning items"."""
        return self._draft.profile.encrypted_reasoning and not self._draft.stored and not raw.get("encrypted_content")

    def _drop_loose_reasoning(self, begin: int, where: str) -> None:
        """Take reasoning off the end of the turn: "was provided without its required following item" is a 400."""
        if not self._draft.profile.encrypted_reasoning:
            return
        while len(self.out) > begin and self.out[-1].get("type") == "reasoning":
            self.out.pop()
            self._draft.lose(f"{where}.thinking", "nothing was said after it: the answer was cut there")

    def _call(self, call: ToolCall, where: str) -> Item:
        arguments = call.arguments_json
        if call.parse_error is not None:
            self._draft.rearrange(f"{where}.tool_call", f"{call.parse_error}; they are sent wrapped in an object")
            arguments = _json.dumps_str({"invalid_arguments": arguments})
        elif not arguments.startswith("{"):  # "", "null", or encoded twice
            arguments = _json.dumps_str(call.arguments)
        call_id = self._draft.open_call(call.id)
        return {"type": "function_call", "call_id": call_id, "name": call.name, "arguments": arguments}


def _why_lost(part: Part) -> str:
    if isinstance(part, Thinking):
        return "thinking goes back only as the reasoning item it came in"
    return "an assistant message in this dialect cannot hold it"


def _one_system(items: list[Item], draft: ResponsesDraft) -> list[Item]:
    """System messages joined into the first item: chat templates of local models raise on a second one."""
    places = [i for i, item in enumerate(items) if item.get("role") in _SYSTEM]
    if not places or places == [0]:
        return items
    draft.rearrange("messages", "the server takes one system message, the first: they were joined there")
    text = "\n\n".join(items[i]["content"] for i in places)
    return [{**items[places[0]], "content": text}, *(i for i in items if i.get("role") not in _SYSTEM)]
