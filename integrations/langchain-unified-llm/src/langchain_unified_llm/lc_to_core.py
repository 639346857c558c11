"""LangChain messages to the core's: pure, no I/O.

Content may be text, LangChain's standard blocks (v0 and v1), or blocks in the OpenAI or Anthropic shape. Assistant
messages of other integrations are read through `content_blocks`, never through their raw content, except for blocks
that only mean something to their vendor: those are kept whole and replayed to that vendor alone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_unified_llm.keeping import KEPT, restore
from unified_llm import _json
from unified_llm.errors import InvalidMessageError
from unified_llm.marks import marked
from unified_llm.message_formats import KNOWN_TYPES, parts_from_block, split_data_url
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

__all__ = ["to_core"]


Vendor: TypeAlias = Callable[[], "str | None"]
Reader: TypeAlias = Callable[[BaseMessage, Vendor], Message]


def to_core(messages: Iterable[BaseMessage], vendor: Vendor = lambda: None) -> list[Message]:
    """The messages in the core's form, one for one.

    `vendor` tells who is asked (it is only called when that matters): what a caller wrote in that vendor's own form,
    such as a block with ``cache_control``, is sent to it as it is. Others get the portable part of it.

    Raises:
        InvalidMessageError: a message or block that cannot be sent; the text says which.
    """
    return [_short(m) or _message(m, i, vendor) for i, m in enumerate(messages)]


def _short(message: BaseMessage) -> Message | None:
    """The message if it is one short text and nothing else, as most are; else None."""
    made = _SHORT_MESSAGES.get(type(message))
    fields = message.__dict__
    if made is None or fields["name"] is not None:
        return None
    content = fields["content"]
    if type(content) is not str or not 0 < len(content) < _SHORT:
        return None
    if type(message) is AIMessage and not _says_only_its_text(fields):
        return None
    return made(content)


def _short_messages(role: MessageRole) -> Callable[[str], Message]:
    """Messages of that role. Kept, because a history is converted again with every turn; messages are frozen."""
    return lru_cache(maxsize=1024)(lambda text: Message(role, Text(text)))


def _message(message: BaseMessage, position: int, vendor: Vendor) -> Message:
    reader = _READERS.get(message.type)
    if reader is None:
        raise InvalidMessageError(
            f"messages[{position}] is a {type(message).__name__}",
            hint="send system, human, AI and tool messages",
        )
    try:
        return reader(message, vendor)
    except InvalidMessageError as exc:
        if not exc.message.startswith("messages["):
            exc.message = f"messages[{position}]: {exc.message}"
        raise


def _says_only_its_text(fields: Mapping[str, Any]) -> bool:
    return not (fields["additional_kwargs"] or fields["tool_calls"] or fields["invalid_tool_calls"])


def _plain(role: MessageRole) -> Reader:
    def read(message: BaseMessage, vendor: Vendor) -> Message:
        content = message.content
        return Message(role, content if type(content) is str else _parts(content, vendor), name=message.name)

    return read


def _chat(message: BaseMessage, vendor: Vendor) -> Message:
    role = message.role if isinstance(message, ChatMessage) else MessageRole.USER
    return Message(role, _parts(message.content, vendor), name=message.name)


def _tool(message: BaseMessage, vendor: Vendor) -> Message:
    if isinstance(message, ToolMessage):
        content, name = message.content, message.name
        parts = content if type(content) is str else _parts(content, vendor)
        failed = message.status == "error"
        return Message(MessageRole.TOOL, ToolResult(message.tool_call_id, parts, is_error=failed, name=name))
    # FunctionMessage, the ancestor of ToolMessage, knows the function's name only.
    return Message(MessageRole.TOOL, ToolResult(message.name or "", _parts(message.content, vendor), name=message.name))


def _ai(message: BaseMessage, vendor: Vendor) -> Message:
    if not isinstance(message, AIMessage):
        return Message(MessageRole.ASSISTANT, _parts(message.content, vendor), name=message.name)
    kept = message.additional_kwargs.get(KEPT)
    if kept:
        return restore(message, kept)
    content = message.content
    if type(content) is str and "reasoning_content" not in message.additional_kwargs:
        parts: list[Part] = [Text(content)] if content else []
        calls: Sequence[Mapping[str, Any]] = message.tool_calls
    else:
        parts, calls = _assistant_parts(message)
    parts += [ToolCall(c["name"], c["args"], c["id"]) for c in calls]
    parts += [ToolCall(c["name"] or "", c["args"] or "", c["id"]) for c in message.invalid_tool_calls]
    return Message(MessageRole.ASSISTANT, parts, name=message.name)


def _assistant_parts(message: AIMessage) -> tuple[list[Part], list[Mapping[str, Any]]]:
    """Parts of an assistant message's standard blocks, and the tool calls that no block stands for."""
    missing: dict[str | None, Mapping[str, Any]] = {c["id"]: c for c in message.tool_calls}
    maker = _Maker(message)
    parts: list[Part] = []
    for block in message.content_blocks:
        if block["type"] == "tool_call":
            call = missing.pop(block.get("id"), None)
            if call is not None:
                parts.append(ToolCall(call["name"], call["args"], call["id"]))
        elif block["type"] not in ("tool_call_chunk", "invalid_tool_call"):
            parts += maker.parts(dict(block))
    return parts, list(missing.values())


class _Maker:
    """Reads the standard blocks of one assistant message, and says who made it: vendor and model.

    A dialect is named after its vendor, so a block of the vendor's own form is replayed where that form is understood.
    """

    def __init__(self, message: AIMessage) -> None:
        self.vendor: str | None = message.response_metadata.get("model_provider")
        self.model: str | None = message.response_metadata.get("model_name")
        standard = message.response_metadata.get("output_version") == "v1"
        self._raw = {} if standard or isinstance(message.content, str) else _by_id(message.content)

    def parts(self, block: dict[str, Any]) -> list[Part]:
        """What one block stands for; nothing for an empty text."""
        match block["type"]:
            case "text":
                text = block.get("text") or ""
                return [Text(text, tuple(block.get("annotations") or ()))] if text else []
            case "reasoning":
                return [self._reasoning(block)]
            case "refusal":
                return [Text(block["refusal"])] if block.get("refusal") else []
            case "non_standard":
                return [self._own(block.get("value") or {})]
            case kind if kind in _MEDIA:
                return [_media(block)]
        return [self._opaque(block)]

    def _native(self, raw: Mapping[str, Any]) -> Native:
        return Native(self.vendor or "langchain", raw, model=self.model)

    def _reasoning(self, block: Mapping[str, Any]) -> Thinking:
        text = block.get("reasoning") or ""
        signature = (block.get("extras") or {}).get("signature")
        if signature:
            raw = {"type": "thinking", "thinking": text, "signature": signature}
            return Thinking(text, signature, native=self._native(raw))
        return Thinking(text, native=self._native({}) if self.vendor else None)

    def _own(self, raw: Mapping[str, Any]) -> Part:
        native = self._native(_without_stream_marks(raw))
        if raw.get("type") == "redacted_thinking":
            return Thinking("", redacted=raw.get("data"), native=native)
        return Opaque(native)

    def _opaque(self, block: Mapping[str, Any]) -> Opaque:
        """A server tool's call or result: the vendor's block when the message still has it."""
        key = (block.get("tool_call_id") or block.get("id"), "tool_call_id" in block)
        raw = self._raw.get(key)
        # LangChain's form is one that no server takes: as such it is recorded as lost.
        return Opaque(self._native(raw) if raw is not None else Native("langchain", block, model=self.model))


def _by_id(content: Sequence[Any]) -> dict[tuple[Any, bool], dict[str, Any]]:
    """The vendor's blocks by the id of the call they make or (True) answer."""
    found: dict[tuple[Any, bool], dict[str, Any]] = {}
    for block in content:
        if isinstance(block, Mapping) and (answered := block.get("tool_use_id")):
            found[answered, True] = _without_stream_marks(block)
        elif isinstance(block, Mapping) and block.get("id"):
            found[block["id"], False] = _without_stream_marks(block)
    return found


def _without_stream_marks(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block as its vendor sent it, without what merging chunks adds: ``index``, and arguments still in pieces."""
    clean = {k: v for k, v in block.items() if k not in ("index", "partial_json")}
    pieces = block.get("partial_json")
    if pieces and not clean.get("input"):
        try:
            clean["input"] = _json.loads(pieces)
        except ValueError:
            clean["input"] = {}
    return clean


# -- content -----------------------------------------------------------------------------------------------------


def _parts(content: Any, vendor: Vendor) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [part for block in content for part in _block(block, vendor)]


def _block(block: Any, vendor: Vendor) -> list[Part]:
    if not isinstance(block, Mapping):
        return parts_from_block(block)
    kind = block.get("type")
    if kind == "text" or (kind is None and isinstance(block.get("text"), str)):
        return [_text(block, vendor)] if block.get("text") else []
    if kind == "text-plain":
        return [marked(_plain_text(block), _extras(block))]
    if kind in _MEDIA and "source" not in block and "file" not in block:
        return [marked(_media(block), _extras(block))]
    if kind == "media" and "mime_type" in block:
        return [_google_media(block)]
    if kind == "non_standard" and isinstance(block.get("value"), Mapping):
        return _block(block["value"], vendor)
    try:
        parts = parts_from_block(block)
    except InvalidMessageError:
        if kind in KNOWN_TYPES or (maker := vendor()) is None:
            raise
        return [Opaque(Native(maker, dict(block)))]  # a block type that only its vendor knows
    if "source" in block and len(block) > 2 and (maker := vendor()) is not None:
        # title, context, citations, cache_control: understood by the vendor whose form this is
        return [replace(part, native=Native(maker, dict(block))) for part in parts]
    return parts


def _text(block: Mapping[str, Any], vendor: Vendor) -> Text:
    own = {k: v for k, v in {**(block.get("extras") or {}), **block}.items() if k not in _TEXT_FIELDS}
    if not own or (maker := vendor()) is None:
        return Text(block["text"])
    return Text(block["text"], native=Native(maker, {"type": "text", "text": block["text"], **own}))


_TEXT_FIELDS = frozenset({"type", "text", "id", "index", "annotations", "extras"})


_MEDIA: dict[str, type[Image | Audio | File]] = {
    "image": Image,
    "audio": Audio,
    "file": File,
    "video": File,  # the core has no kind of its own for it; a provider that takes video looks at the media type
}


def _media(block: Mapping[str, Any]) -> Part:
    """A v1 (``url``, ``base64``, ``file_id``) or v0 (``source_type``) data block."""
    make = _MEDIA[block["type"]]
    place = _place(block)
    if make is File:
        extras = _extras(block)
        place["name"] = extras.get("filename") or extras.get("title")
    return make(**place)


def _google_media(block: Mapping[str, Any]) -> Part:
    """``{"type": "media", "mime_type", "data" | "file_uri"}``, the form of LangChain's Google integrations."""
    kind = str(block["mime_type"]).partition("/")[0]
    place = {"base64": block.get("data"), "url": block.get("file_uri")}
    return _media({"type": kind if kind in _MEDIA else "file", "mime_type": block["mime_type"], **place})


def _extras(block: Mapping[str, Any]) -> dict[str, Any]:
    """What a block says beside its data: v0's ``metadata`` (which LangChain moves to v1's ``extras``), and the rest."""
    extras = block.get("extras")
    inner = extras.get("metadata") if isinstance(extras, Mapping) else None
    told = (inner, block.get("metadata"), extras, block)
    return {k: v for more in told if isinstance(more, Mapping) for k, v in more.items()}


def _place(block: Mapping[str, Any]) -> dict[str, Any]:
    media_type = block.get("mime_type")
    encoded = block.get("base64") or (block.get("data") if block.get("source_type") == "base64" else None)
    if encoded:
        return {"data": _decode(encoded), "media_type": media_type}
    if block.get("source_type") == "text" and isinstance(block.get("text"), str):
        return {"data": block["text"].encode(), "media_type": media_type or "text/plain"}
    url = block.get("url")
    if isinstance(url, str) and url:
        if url.startswith("data:"):
            data, stated = split_data_url(url)
            return {"data": data, "media_type": media_type or stated}
        return {"url": url, "media_type": media_type}
    file_id = block.get("file_id") or block.get("id")
    if file_id:
        return {"file_id": file_id, "media_type": media_type}
    raise InvalidMessageError(
        f"a {block['type']} block has no data", hint="give it base64 and mime_type, url, or file_id"
    )


def _decode(encoded: object) -> bytes:
    if isinstance(encoded, bytes):
        return encoded
    try:
        return base64.b64decode(str(encoded), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidMessageError(
            f"the data of a block is not valid base64: {exc}", hint="encode the bytes with base64.b64encode"
        ) from exc


def _plain_text(block: Mapping[str, Any]) -> Part:
    if isinstance(block.get("text"), str):
        return File(data=block["text"].encode(), media_type="text/plain", name=block.get("title"))
    return File(**_place(block), name=block.get("title"))


_SHORT = 2000  # characters
_SHORT_MESSAGES: dict[type[BaseMessage], Callable[[str], Message]] = {
    SystemMessage: _short_messages(MessageRole.SYSTEM),
    HumanMessage: _short_messages(MessageRole.USER),
    AIMessage: _short_messages(MessageRole.ASSISTANT),
}
_system, _user = _plain(MessageRole.SYSTEM), _plain(MessageRole.USER)

_READERS: dict[str, Reader] = {
    "system": _system,
    "SystemMessageChunk": _system,
    "human": _user,
    "HumanMessageChunk": _user,
    "ai": _ai,
    "AIMessageChunk": _ai,
    "tool": _tool,
    "ToolMessageChunk": _tool,
    "function": _tool,
    "FunctionMessageChunk": _tool,
    "chat": _chat,
    "ChatMessageChunk": _chat,
}
