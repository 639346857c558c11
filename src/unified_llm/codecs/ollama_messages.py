"""Messages to the ``messages`` of Ollama's own dialect: text in one string, images beside it, arguments as objects."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, TypeAlias

from unified_llm.codecs.ollama_reading import DIALECT
from unified_llm.codecs.openai_draft import Draft
from unified_llm.codecs.openai_media import media_part
from unified_llm.codecs.openai_order import arrange
from unified_llm.codecs.results import kind_of, result_text, unasked
from unified_llm.codecs.stand_ins import check_image_type, last_user_turn, stand_in, url_refused
from unified_llm.errors import InvalidMessageError
from unified_llm.messages import (
    Audio,
    File,
    Image,
    Message,
    MessageRole,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

__all__ = ["OllamaDraft", "encode_messages"]

Wire: TypeAlias = dict[str, Any]


class OllamaDraft(Draft):
    """The scratch pad of one request in this dialect."""

    dialect = DIALECT
    __slots__ = ()


def encode_messages(messages: Sequence[Message], draft: Draft) -> list[Wire]:
    """The wire messages.

    Raises:
        InvalidMessageError: there are none, a tool result has no call before it, or media cannot be sent.
    """
    if not messages:
        raise InvalidMessageError("there are no messages", hint="pass at least one message")
    writer = _Writer(draft)
    now = last_user_turn(messages)
    for i, message in enumerate(messages):
        draft.past = i < now
        parts = message.parts
        part = parts[0] if len(parts) == 1 else None
        # Most messages of a long history are one text: this path decides its cost.
        if type(part) is Text and not part.citations and message.role in _ROLES and not message.name:
            writer.plain_text(_ROLES[message.role], part.text)
        else:
            writer.write(f"messages[{i}]", message)
    writer.flush_images()
    return arrange(writer.out, draft)


_ROLES = {MessageRole.SYSTEM: "system", MessageRole.USER: "user", MessageRole.ASSISTANT: "assistant"}


class _Writer:
    """Writes one message after the other; holds back the images of tool results until the results end."""

    __slots__ = ("_draft", "_images", "_names", "out")

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._names: dict[str, str] = {}  # id of a call to the name of its tool
        self._images: list[str] = []
        self.out: list[Wire] = []

    def plain_text(self, role: str, text: str) -> None:
        """Append a message that is one text."""
        if self._images:
            self.flush_images()
        self.out.append({"role": role, "content": text})

    def write(self, where: str, message: Message) -> None:
        """Append `message` in as many wire messages as it takes."""
        if message.name and message.role is not MessageRole.TOOL:
            self._draft.lose(f"{where}.name", "messages have no name in this dialect")
        if message.role is MessageRole.ASSISTANT:
            self.flush_images()
            self.out.append(self._assistant(message, where))
            return
        results = [p for p in message.parts if isinstance(p, ToolResult)]
        for result in results:
            self.out.append(self._tool_result(result, where))
        rest = [p for p in message.parts if not isinstance(p, ToolResult)]
        if rest or not results:
            self.flush_images()
            role = "system" if message.role is MessageRole.SYSTEM else "user"
            self.out.append(self._spoken(role, rest, where))

    def flush_images(self) -> None:
        """Append the user message with the images that tools returned."""
        if self._images:
            self.out.append({"role": "user", "content": "Returned by the tools:", "images": self._images})
            self._images = []

    # -- user and system ------------------------------------------------------------------------------------------

    def _spoken(self, role: str, parts: Sequence[Part], where: str) -> Wire:
        texts: list[str] = []
        images: list[str] = []
        for part in parts:
            if isinstance(part, Text):
                texts.append(part.text)
            elif isinstance(part, Image) and role == "user":
                self._picture(part, where, images, texts)
            elif isinstance(part, (Audio, File)) and role == "user":
                texts.append(media_part(part, where, self._draft)["text"])  # a document's text, or a placeholder
            else:
                self._draft.lose(f"{where}.{kind_of(part)}", f"a {role} message cannot hold it")
        wire: Wire = {"role": role, "content": "\n\n".join(filter(None, texts))}
        return wire | {"images": images} if images else wire

    def _picture(self, part: Image, where: str, images: list[str], texts: list[str]) -> None:
        """Add an image to `images`; in the history, a text stands for one that is not there as bytes."""
        try:
            images.append(_image(part, where, self._draft))
        except InvalidMessageError as exc:
            if not self._draft.past:
                raise
            self._draft.lose(f"{where}.image", exc.message)
            texts.append(stand_in(part))

    # -- tool results -----------------------------------------------------------------------------------------------

    def _tool_result(self, result: ToolResult, where: str) -> Wire:
        name = self._names.get(result.call_id)
        if name is None:
            raise unasked(result, where)
        text = result_text(result)
        if len(result.parts) != 1 or type(result.parts[0]) is not Text:
            text = self._with_media(text, result, where)
        call_id = self._draft.answered_call(result.call_id)
        return {"role": "tool", "content": text, "tool_name": name, "tool_call_id": call_id}

    def _with_media(self, text: str, result: ToolResult, where: str) -> str:
        """The text with the documents of a result; its images are held back."""
        media = [media_part(p, where, self._draft)["text"] for p in result.parts if isinstance(p, (Audio, File))]
        images: list[str] = []
        for part in result.parts:
            if isinstance(part, Image):
                self._picture(part, where, images, media)
        text = "\n\n".join(filter(None, [text, *media]))
        if not images:
            return text
        self._draft.rearrange(f"{where}.tool_result", "its images follow in a user message, where templates see them")
        self._images += images
        return text or "The result follows in the next message."

    # -- assistant --------------------------------------------------------------------------------------------------

    def _assistant(self, message: Message, where: str) -> Wire:
        texts: list[str] = []
        thoughts: list[Thinking] = []
        calls: list[Wire] = []
        for part in message.parts:
            if isinstance(part, Text):
                texts.append(part.text)
                if part.citations:
                    self._draft.lose(f"{where}.citations", "citations are only known to the provider that made them")
            elif isinstance(part, ToolCall):
                calls.append(self._call(message, part, where))
            elif isinstance(part, Thinking):
                thoughts.append(part)
            else:
                self._draft.lose(f"{where}.{kind_of(part)}", "an assistant message in this dialect cannot hold it")
        wire: Wire = {"role": "assistant", "content": "".join(texts)}
        thinking = self._thinking(message, thoughts, where) if thoughts else ""
        if thinking:
            wire["thinking"] = thinking
        if calls:
            wire["tool_calls"] = calls
        return wire

    def _thinking(self, message: Message, thoughts: Sequence[Thinking], where: str) -> str:
        plain = [t for t in thoughts if t.redacted is None and t.signature is None]
        own = [t for t in plain if self._draft.owns(message, t.native)]
        if len(own) < len(thoughts):
            self._draft.lose(f"{where}.thinking", "thinking of another provider is not sent")
        return "".join(t.text for t in own)

    def _call(self, message: Message, call: ToolCall, where: str) -> Wire:
        self._names[call.id] = call.name
        call_id = self._draft.open_call(call.id)
        if call.native is not None and self._draft.owns(message, call.native):
            return {**call.native.raw, "id": call_id}
        arguments: Any = call.arguments
        if call.parse_error is not None:
            self._draft.rearrange(f"{where}.tool_call", f"{call.parse_error}; they are sent wrapped in an object")
            arguments = {"invalid_arguments": call.arguments_json}
        return {"id": call_id, "function": {"name": call.name, "arguments": arguments}}


def _image(part: Image, where: str, draft: Draft) -> str:
    if part.data is not None:
        check_image_type(part.media_type, draft.profile.image_types, where, provider=draft.provider)
        return base64.b64encode(part.data).decode()
    if part.url is not None:
        raise url_refused(where, provider=draft.provider)
    raise InvalidMessageError(
        f"{where}: {draft.provider} has no image file ids", hint="pass the bytes: Image(data=...)"
    )
