"""From LlamaIndex's messages to the core's. Pure; media is passed on, not downloaded."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from unified_llm import (
    Audio,
    File,
    Image,
    InvalidMessageError,
    Message,
    Native,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

__all__ = ["to_core_messages"]

_ROLES = {
    MessageRole.DEVELOPER: "system",
    MessageRole.FUNCTION: "tool",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
}
NATIVE_KEY = "unified_llm"
"""Key of `ThinkingBlock.additional_information` under which a provider's own block travels, for its way back."""


def to_core_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """Translate a history; the messages given are not modified.

    Raises:
        InvalidMessageError: a block of a kind that no provider can take (video).
    """
    return [_message(m) for m in messages]


def _message(message: ChatMessage) -> Message:
    role = _ROLES.get(message.role, message.role.value)
    parts = [part for block in message.blocks for part in _parts(block)]
    if role == "tool":
        call_id = message.additional_kwargs.get("tool_call_id") or message.additional_kwargs.get("name") or ""
        return Message("tool", ToolResult(str(call_id), parts, name=message.additional_kwargs.get("name")))
    if not any(isinstance(p, ToolCall) for p in parts):
        # Other integrations keep the calls of an assistant only here.
        parts += [_call(c) for c in message.additional_kwargs.get("tool_calls") or ()]
    return Message(role, parts)


def _call(call: Any) -> ToolCall:
    """A call as a dictionary in the OpenAI shape, or as that SDK's object."""
    if hasattr(call, "model_dump"):
        call = call.model_dump()
    function = call.get("function", call)
    return ToolCall(function["name"], function.get("arguments") or function.get("input") or "", call.get("id"))


def _parts(block: Any) -> list[Part]:
    for kind, read in _READERS:
        if isinstance(block, kind):
            return read(block)
    raise InvalidMessageError(
        f"a {type(block).__name__} cannot be sent to a language model here",
        hint="use text, image, audio or document blocks",
    )


def _thinking(block: ThinkingBlock) -> list[Part]:
    information = block.additional_information
    native = information.get(NATIVE_KEY)
    kept = Native(**native) if isinstance(native, dict) else None
    if information.get("opaque") and kept is not None:
        return [Opaque(kept)]
    return [
        Thinking(
            block.content or "",
            signature=information.get("signature"),
            redacted=information.get("redacted_data"),
            native=kept,
        )
    ]


def _media(data: Any, path: Any, url: Any, media_type: str | None) -> dict[str, Any]:
    """Keyword arguments of a core media part. LlamaIndex keeps bytes base64-encoded."""
    if data is not None:
        raw = data if isinstance(data, bytes) else data.read()
        return {"data": _unbase64(raw), "media_type": media_type}
    if path is not None:
        return {"path": str(path), "media_type": media_type}
    return {"url": str(url), "media_type": media_type}


def _unbase64(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except ValueError:
        return data  # given as raw bytes by a block that was built without validation


def _text(block: TextBlock) -> list[Part]:
    return [Text(block.text)] if block.text else []


def _image(block: ImageBlock) -> list[Part]:
    return [Image(**_media(block.image, block.path, block.url, block.image_mimetype), detail=block.detail)]


def _audio(block: AudioBlock) -> list[Part]:
    media_type = f"audio/{block.format}" if block.format else None
    return [Audio(**_media(block.audio, block.path, block.url, media_type))]


def _document(block: DocumentBlock) -> list[Part]:
    return [File(**_media(block.data, block.path, block.url, block.document_mimetype), name=block.title)]


def _tool_call(block: ToolCallBlock) -> list[Part]:
    return [ToolCall(block.tool_name, block.tool_kwargs, block.tool_call_id)]


def _citable(block: CitableBlock) -> list[Part]:
    content = [part for inner in block.content for part in _parts(inner)]
    return [Text(f"[{block.title}]({block.source})\n"), *content]


def _citation(block: CitationBlock) -> list[Part]:
    return _parts(block.cited_content)


_READERS: tuple[tuple[type, Callable[[Any], list[Part]]], ...] = (
    (TextBlock, _text),
    (ToolCallBlock, _tool_call),
    (ThinkingBlock, _thinking),
    (ImageBlock, _image),
    (AudioBlock, _audio),
    (DocumentBlock, _document),
    (CitableBlock, _citable),
    (CitationBlock, _citation),
    # A cache point asks for nothing that changes the answer; the core places its own (prompt_caching=True).
    (CachePoint, lambda _: []),
)
