"""Message parts to Claude content blocks. A block that came from here goes back byte for byte."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Any

from unified_llm.codecs.anthropic_models import base_id
from unified_llm.codecs.anthropic_notes import Notes
from unified_llm.codecs.stand_ins import check_file_id, check_image_type, stand_in
from unified_llm.errors import InvalidMessageError
from unified_llm.marks import CLAUDE, DOCUMENT_MARKS, marks_of
from unified_llm.messages import Audio, File, Image, Native, Opaque, Origin, Part, Text, Thinking, ToolCall, ToolResult

__all__ = ["DIALECT", "Block", "PartEncoder"]

DIALECT = CLAUDE
Block = dict[str, Any]

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CITED = frozenset(
    {"char_location", "page_location", "content_block_location", "web_search_result_location"}
    | {"search_result_location"}
)
_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_TEXT_TYPES = re.compile(
    r"text/|application/(json|xml|x?html|yaml|x-yaml|toml|javascript|x-ndjson|sql)\b|.*\+(json|xml)$"
)


class PartEncoder:
    """Encodes the parts of one request; remembers the tool-call ids it had to change."""

    __slots__ = ("_answers", "_ids", "_model", "_provider", "_replay_thinking", "notes", "past")

    def __init__(self, provider: str, model: str, notes: Notes, *, replay_thinking: bool = True) -> None:
        self._provider = provider
        self._model = base_id(model)
        self._replay_thinking = replay_thinking
        self._ids: set[str] = set()  # every tool_use id written so far
        self._answers: dict[str, str] = {}  # our call id -> the id its latest tool_use was written with
        self.notes = notes
        self.past = False  # whether the message being written is history: before the last user turn

    def user(self, part: Part, where: str) -> Block | None:
        """A block of a user turn, or None for what is not sent (recorded)."""
        block = self._of_user(part, where)
        return self._marked(part.native, block, where) if part.native is not None else block

    def _of_user(self, part: Part, where: str) -> Block | None:
        if (raw := self._native(getattr(part, "native", None))) is not None:
            return raw
        if isinstance(part, Text):
            return self._text(part, where)
        if isinstance(part, (Image, File)):
            return self._media(part, where)
        if isinstance(part, ToolResult):
            return self._tool_result(part, where)
        if isinstance(part, ToolCall):
            raise InvalidMessageError(
                f"{where} is a tool call in a user message", hint="tool calls belong to assistant messages"
            )
        self._leave_out(part, where)
        return None

    def assistant(self, part: Part, where: str, origin: Origin | None = None) -> Block | None:
        """A block of an assistant turn made at `origin`, or None for what is not sent (recorded)."""
        block = self._of_assistant(part, where, origin)
        return self._marked(part.native, block, where) if part.native is not None else block

    def _of_assistant(self, part: Part, where: str, origin: Origin | None) -> Block | None:
        if isinstance(part, Thinking):
            return self._thinking(part, where, origin)
        if isinstance(part, ToolCall):
            return self._tool_use(part, where)
        if (raw := self._native(getattr(part, "native", None))) is not None:
            return None if raw.get("type") == "text" and not raw.get("text", "").strip() else raw
        if isinstance(part, Text):
            return self._text(part, where, cited=True)
        if isinstance(part, ToolResult):
            raise InvalidMessageError(
                f"{where} is a tool result in an assistant message", hint="send it with the role 'tool'"
            )
        if isinstance(part, (Image, File)):
            self.notes.lost(where, "Claude takes images and documents from the user only")
            return None
        self._leave_out(part, where)
        return None

    # -- kinds ------------------------------------------------------------------------------------------------

    def _native(self, native: Native | None) -> Block | None:
        if native is None or native.dialect != DIALECT or native.provider not in (None, self._provider):
            return None
        if "type" not in native.raw:
            return None  # fields to add: see `_marked`
        return native.raw  # type: ignore[return-value]  # encoded, never edited

    def _marked(self, native: Native, block: Block | None, where: str) -> Block | None:
        """`block` with the fields that the caller wants in it: see `marks`."""
        for name, value in marks_of(native).items():
            if block is None or (name != "cache_control" and block["type"] != "document"):
                self.notes.lost(f"{where}.{name}", "nothing is sent there that can have it")
            elif name in DOCUMENT_MARKS:
                block = {**block, name: value}
        return block

    def _text(self, part: Text, where: str, *, cited: bool = False) -> Block | None:
        if not part.text.strip():
            if part.text:
                self.notes.lost(where, "Claude refuses text that is only white space")
            return None
        block: Block = {"type": "text", "text": part.text}
        if cited and part.citations and all(c.get("type") in _CITED for c in part.citations):
            block["citations"] = [dict(c) for c in part.citations]
        elif part.citations:
            self.notes.lost(f"{where}.citations", "Claude has citations of its own form, in the assistant's texts only")
        return block

    def _media(self, part: Image | File, where: str) -> Block:
        """An image or document; in the history, a text stands for one that Claude cannot take."""
        try:
            if part.data is None:
                check_file_id(part, where, provider=self._provider, maker="Anthropic")
            return _image(part, where) if isinstance(part, Image) else _document(part, where)
        except InvalidMessageError as exc:
            if not self.past or (part.path is not None and part.data is None):
                raise
            self.notes.lost(where, exc.message)
            return {"type": "text", "text": stand_in(part)}

    def _thinking(self, part: Thinking, where: str, origin: Origin | None) -> Block | None:
        reason = self._why_not_replayed(part, origin)
        if reason is not None:
            self.notes.lost(where, reason)
            return None
        if (raw := self._native(part.native)) is not None:
            return raw
        if part.redacted:
            return {"type": "redacted_thinking", "data": part.redacted}
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}

    def _why_not_replayed(self, part: Thinking, origin: Origin | None) -> str | None:
        """A block that was altered, is unsigned, or comes from elsewhere is a 400, so it stays behind."""
        native = part.native
        if native is not None and self._native(native) is None:
            return f"thinking made by {native.provider or native.dialect} means nothing to {self._provider}"
        if native is None and origin is not None and origin.dialect != DIALECT:
            return f"thinking made by {origin.provider} means nothing to {self._provider}"
        if not part.signature and not part.redacted:
            return "thinking without a signature cannot be sent back"
        if native is not None and native.model is not None and base_id(native.model) != self._model:
            return f"thinking is tied to the model that made it ({native.model})"
        if not self._replay_thinking:
            return "the conversation before it has changed since, which its signature does not allow"
        return None

    def _tool_use(self, part: ToolCall, where: str) -> Block:
        raw = self._native(part.native)
        if raw is not None and raw.get("id") not in self._ids:
            self._ids.add(raw["id"])
            self._answers[part.id] = raw["id"]
            return raw
        arguments = part.arguments
        if arguments is None:
            self.notes.rearranged(f"{where}.arguments", f"{part.parse_error}: sent as {{'arguments': text}}")
            arguments = {"arguments": part.arguments_json}
        return {"type": "tool_use", "id": self._new_id(part.id), "name": part.name, "input": arguments}

    def _new_id(self, call_id: str) -> str:
        """A valid id, unique in this request, the same in the next one (prompt caches and signatures depend on it)."""
        wire, turn = call_id, 0
        while not _CALL_ID.fullmatch(wire) or wire in self._ids:
            wire = "call_" + hashlib.sha256(f"{call_id}#{turn}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
            turn += 1
        self._ids.add(wire)
        self._answers[call_id] = wire
        return wire

    def _tool_result(self, part: ToolResult, where: str) -> Block:
        call_id = self._answers.get(part.call_id)
        if call_id is None:
            raise InvalidMessageError(
                f"{where} is the result of a tool call {part.call_id!r} that was not made before it",
                hint="append the assistant message with the tool call (response.message) before its results",
            )
        block: Block = {"type": "tool_result", "tool_use_id": call_id}
        content = self._result_content(part.parts, where)
        if content:
            block["content"] = content
        if part.is_error:
            block["is_error"] = True
        return block

    def _result_content(self, parts: Iterable[Part], where: str) -> str | list[Block]:
        blocks = []
        for i, part in enumerate(parts):
            if isinstance(part, (ToolCall, ToolResult, Thinking)):
                self.notes.lost(f"{where}.parts[{i}]", "a tool result holds text, images and documents")
            elif (block := self.user(part, f"{where}.parts[{i}]")) is not None:
                blocks.append(block)
        if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
            text: str = blocks[0]["text"]
            return text
        return blocks

    def _leave_out(self, part: Part, where: str) -> None:
        if isinstance(part, Audio):
            self.notes.lost(where, "Claude takes no audio: transcribe it first", refusable=True)
        elif isinstance(part, Thinking):
            self.notes.lost(where, "thinking belongs to assistant messages")
        elif isinstance(part, Opaque):
            maker = part.native.provider or part.native.dialect
            self.notes.lost(where, f"a {part.type or 'native'} block of {maker} means nothing to {self._provider}")


def _image(part: Image, where: str) -> Block:
    return {"type": "image", "source": _base64_image(part, where) if part.data is not None else _place(part, where)}


def _base64_image(part: Image, where: str) -> Block:
    if part.media_type is None:
        raise InvalidMessageError(f"{where}: an image without a type", hint="Image(data=..., media_type='image/png')")
    check_image_type(part.media_type, _IMAGE_TYPES, where, provider="Claude")
    return {"type": "base64", "media_type": part.media_type, "data": _base64(part.data)}


def _document(part: File, where: str) -> Block:
    if part.data is None:
        source = _place(part, where)
    elif part.media_type == "application/pdf" or part.data.startswith(b"%PDF"):
        source = {"type": "base64", "media_type": "application/pdf", "data": _base64(part.data)}
    else:
        source = {"type": "text", "media_type": "text/plain", "data": _plain_text(part, where)}
    return {"type": "document", "source": source} | ({"title": part.name} if part.name else {})


def _plain_text(part: File, where: str) -> str:
    try:
        text = (part.data or b"").decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is None or (part.media_type is not None and not _TEXT_TYPES.match(part.media_type) and "\0" in text):
        raise InvalidMessageError(
            f"{where}: Claude takes PDF and plain text documents, not {part.media_type or 'this binary format'}",
            hint="convert the file to PDF or text",
        )
    return text


def _place(part: Image | File, where: str) -> Block:
    if part.file_id:
        return {"type": "file", "file_id": part.file_id}
    if part.url:
        if not part.url.startswith("https://"):
            raise InvalidMessageError(
                f"{where}: Claude fetches https URLs only, not {part.url.partition(':')[0]}:",
                hint="pass the bytes (data=...) or a path instead",
            )
        return {"type": "url", "url": part.url}
    raise InvalidMessageError(
        f"{where} is a path that nobody has read", hint="go through UnifiedLLM, or call attachments.resolve first"
    )


def _base64(data: bytes | None) -> str:
    return base64.b64encode(data or b"").decode()
