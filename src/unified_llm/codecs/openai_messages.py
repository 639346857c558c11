"""Messages to the ``messages`` of the OpenAI chat dialect."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from unified_llm import _json
from unified_llm.codecs.openai_draft import Draft
from unified_llm.codecs.openai_media import media_part
from unified_llm.codecs.openai_order import arrange
from unified_llm.codecs.openai_toolless import told_in_words
from unified_llm.codecs.results import kind_of, result_text, unasked
from unified_llm.codecs.stand_ins import last_user_turn
from unified_llm.errors import InvalidMessageError
from unified_llm.messages import (
    Audio,
    File,
    Image,
    Message,
    MessageRole,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

__all__ = ["encode_messages"]

Wire: TypeAlias = dict[str, Any]

# Message-level fields that a server wants back unchanged; an `Opaque` of that type carries each.
MESSAGE_EXTRAS = ("reasoning_details", "extra_content")


def encode_messages(messages: Sequence[Message], draft: Draft) -> list[Wire]:
    """The wire messages, arranged as the profile demands. Roles not known to the dialect do not exist here.

    Raises:
        InvalidMessageError: there are none, a tool result has no call before it, or media cannot be sent.
    """
    if not messages:
        raise InvalidMessageError("there are no messages", hint="pass at least one message")
    roles = _role_names(draft.profile.system_role)
    names = draft.profile.message_name
    writer = _Writer(draft)
    out = writer.out
    now = last_user_turn(messages)
    if not draft.profile.tools:
        messages = told_in_words(messages, draft)
    for i, message in enumerate(messages):
        parts = message.parts
        part = parts[0] if len(parts) == 1 else None
        kind = type(part)
        # Most messages of a long history are one text, one tool call or one tool result: these paths decide its cost.
        if kind is Text and message.role is not MessageRole.TOOL and not part.citations:  # type: ignore[union-attr]
            if writer.media:
                writer.flush_media()
            out.append({"role": roles[message.role], "content": part.text})  # type: ignore[union-attr]
        elif kind is ToolResult and writer.plain_result(part):  # type: ignore[arg-type]
            continue
        elif kind is ToolCall and message.role is MessageRole.ASSISTANT and writer.plain_call(part):  # type: ignore[arg-type]
            pass
        else:
            draft.past = i < now
            writer.write(f"messages[{i}]", message, roles[message.role])
        if names and message.name and message.role is not MessageRole.TOOL:
            out[-1]["name"] = message.name
    writer.flush_media()
    return arrange(out, draft)


@lru_cache(maxsize=4)
def _role_names(system: str) -> dict[MessageRole, str]:
    return {
        MessageRole.SYSTEM: system,
        MessageRole.USER: "user",
        MessageRole.ASSISTANT: "assistant",
        MessageRole.TOOL: "tool",
    }


class _Writer:
    """Writes the messages that are not one text; holds back the images of tool results until the results end."""

    __slots__ = ("_calls", "_draft", "_no_text", "_plain_calls", "media", "out")

    def __init__(self, draft: Draft) -> None:
        profile = draft.profile
        self._draft = draft
        self._no_text = None if profile.empty_content == "null" else ""
        self._plain_calls = profile.foreign_call_extra is None and not profile.reasoning_required
        self._calls: set[str] = set()
        self.out: list[Wire] = []
        self.media: list[Wire] = []

    def plain_result(self, result: ToolResult) -> bool:
        """Append a result that is one text and no error; False when it is more than that."""
        parts = result.parts
        if len(parts) != 1 or result.is_error or type(parts[0]) is not Text or result.call_id not in self._calls:
            return False
        call_id = self._draft.call_id(result.call_id)
        self.out.append({"role": "tool", "tool_call_id": call_id, "content": parts[0].text})
        return True

    def plain_call(self, call: ToolCall) -> bool:
        """Append an assistant message that is one call and nothing else; False when the profile asks for more."""
        arguments = call.arguments_json
        if not self._plain_calls or call.native is not None or arguments[:1] != "{" or call.parse_error is not None:
            return False
        self.flush_media()
        self._calls.add(call.id)
        function = {"name": call.name, "arguments": arguments}
        wire = {"id": self._draft.call_id(call.id), "type": "function", "function": function}
        self.out.append({"role": "assistant", "content": self._no_text, "tool_calls": [wire]})
        return True

    def write(self, where: str, message: Message, role: str) -> None:
        """Append `message` in as many wire messages as it takes."""
        if message.role is MessageRole.ASSISTANT:
            self.flush_media()
            self.out.append(self._assistant(message, where))
            return
        results = [p for p in message.parts if type(p) is ToolResult]
        for result in results:
            self.out.append(self._tool_result(result, where))
        rest = [p for p in message.parts if type(p) is not ToolResult]
        if rest or not results:
            self.flush_media()
            if message.role is MessageRole.SYSTEM:
                self.out.append({"role": role, "content": self._system_text(rest, where)})
            else:
                self.out.append({"role": "user", "content": self._content(rest, where)})

    def flush_media(self) -> None:
        """Append the user message with the images that tools returned."""
        if self.media:
            self.out.append({"role": "user", "content": self.media})
            self.media = []

    # -- user and system ------------------------------------------------------------------------------------------

    def _content(self, parts: Sequence[Part], where: str) -> str | list[Wire]:
        content = [w for p in parts if (w := self._content_part(p, where)) is not None]
        if len(content) == 1 and content[0]["type"] == "text":
            text: str = content[0]["text"]
            return text
        return content or ""

    def _content_part(self, part: Part, where: str) -> Wire | None:
        if isinstance(part, Text):
            if part.citations:
                self._draft.lose(f"{where}.citations", "citations are only known to the provider that made them")
            return {"type": "text", "text": part.text} if part.text else None
        if isinstance(part, (Image, Audio, File)):
            return media_part(part, where, self._draft)
        self._draft.lose(f"{where}.{kind_of(part)}", "a user message cannot hold it")
        return None

    def _system_text(self, parts: Sequence[Part], where: str) -> str:
        for part in parts:
            if not isinstance(part, Text):
                self._draft.lose(f"{where}.{kind_of(part)}", "a system message holds text only")
        return "\n\n".join(p.text for p in parts if isinstance(p, Text))

    # -- tool results -----------------------------------------------------------------------------------------------

    def _tool_result(self, result: ToolResult, where: str) -> Wire:
        draft = self._draft
        if result.call_id not in self._calls:
            raise unasked(result, where)
        text = result_text(result)
        media = [p for p in result.parts if isinstance(p, (Image, Audio, File))]
        content: str | list[Wire] = text
        if media:
            wires = [media_part(p, where, draft) for p in media]
            if draft.profile.tool_result_images:
                content = [*([{"type": "text", "text": text}] if text else []), *wires]
            else:
                draft.rearrange(
                    f"{where}.tool_result", "its images follow in a user message: tool results hold text only"
                )
                self.media += [{"type": "text", "text": f"Returned by the tool call {result.call_id}:"}, *wires]
                content = text or "The result follows in the next message."
        return {"role": "tool", "tool_call_id": draft.call_id(result.call_id), "content": content}

    # -- assistant --------------------------------------------------------------------------------------------------

    def _assistant(self, message: Message, where: str) -> Wire:
        texts: list[str] = []
        calls: list[Wire] = []
        thoughts: list[Thinking] = []
        extras: Wire = {}
        for part in message.parts:
            kind = type(part)
            if kind is Text:
                texts.append(self._assistant_text(message, part, where))  # type: ignore[arg-type]  # told by `kind`
            elif kind is ToolCall:
                calls.append(self._call(message, part, where))  # type: ignore[arg-type]
            elif kind is Thinking:
                thoughts.append(part)  # type: ignore[arg-type]
            else:
                self._assistant_extra(message, part, where, extras)
        text = "".join(texts)
        wire: Wire = {"role": "assistant", "content": text}
        if calls:
            wire["tool_calls"] = calls
            if not text and self._draft.profile.empty_content == "null":
                wire["content"] = None
        if thoughts or (calls and self._draft.profile.reasoning_required):
            self._reasoning(message, thoughts, wire, where)
        wire.update(extras)
        return wire

    def _assistant_text(self, message: Message, part: Text, where: str) -> str:
        if part.citations and (message.origin is None or not self._draft.owns(message, part.native)):
            self._draft.lose(f"{where}.citations", "citations are only known to the provider that made them")
        return part.text

    def _call(self, message: Message, call: ToolCall, where: str) -> Wire:
        draft = self._draft
        self._calls.add(call.id)
        arguments = call.arguments_json
        if call.parse_error is not None:
            draft.rearrange(f"{where}.tool_call", f"{call.parse_error}; they are sent wrapped in an object")
            arguments = _json.dumps_str({"invalid_arguments": arguments})
        elif not arguments.startswith("{"):  # "", "null", or encoded twice: many servers fail on these
            arguments = _json.dumps_str(call.arguments)
        function = {"name": call.name, "arguments": arguments}
        wire: Wire = {"id": draft.call_id(call.id), "type": "function", "function": function}
        if call.native is not None and draft.owns(message, call.native):
            wire = {k: v for k, v in call.native.raw.items() if k != "index"} | wire
        elif draft.profile.foreign_call_extra is not None:
            wire.update(draft.profile.foreign_call_extra)
        return wire

    def _assistant_extra(self, message: Message, part: Part, where: str, extras: Wire) -> None:
        if isinstance(part, Opaque) and part.type in MESSAGE_EXTRAS and self._draft.owns(message, part.native):
            extras[part.type] = part.native.raw[part.type]
        elif isinstance(part, Audio) and part.file_id and self._draft.owns(message, part.native):
            extras["audio"] = {"id": part.file_id}
        else:
            self._draft.lose(f"{where}.{kind_of(part)}", "an assistant message in this dialect cannot hold it")

    def _reasoning(self, message: Message, thoughts: Sequence[Thinking], wire: Wire, where: str) -> None:
        profile = self._draft.profile
        own = [t for t in thoughts if t.redacted is None and self._is_own(message, t)]
        if len(own) < len(thoughts):
            self._draft.lose(f"{where}.thinking", "thinking of another provider is not sent")
        text = "".join(t.text for t in own)
        match profile.reasoning_back:
            case "field" if text or profile.reasoning_required:
                wire[profile.reasoning_field] = text
            case "content" if text:
                thinking = {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
                answer = [{"type": "text", "text": wire["content"]}] if wire["content"] else []
                wire["content"] = [thinking, *answer]
            case "never" | "details" if text and message.origin is None:
                self._draft.lose(f"{where}.thinking", f"{self._draft.provider} takes no thinking back")

    def _is_own(self, message: Message, thought: Thinking) -> bool:
        if thought.native is None and message.origin is None:
            return thought.signature is None  # written by the caller, as plain text
        return self._draft.owns(message, thought.native)
