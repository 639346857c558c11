"""From the core's responses and stream events to LlamaIndex's. Pure."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

import unified_llm as core
from llama_index.llms.unified_llm.to_core import NATIVE_KEY
from unified_llm.stream import StreamEvent

__all__ = ["StreamAssembler", "from_core_response"]


def from_core_response(response: core.ChatResponse, *, delta: str | None = None) -> ChatResponse:
    """A LlamaIndex response; `raw` is a small dictionary with the usage, as token counters read it."""
    return ChatResponse(
        message=_message(response.message),
        raw=_raw(response),
        delta=delta,
        additional_kwargs=_counts(response.usage),
    )


def _message(message: core.Message) -> ChatMessage:
    blocks: list[ContentBlock] = []
    for part in message.parts:
        block = _block(part)
        last = blocks[-1] if blocks else None
        if isinstance(block, TextBlock) and isinstance(last, TextBlock):
            # `ChatMessage.content` joins text blocks with a line break that nobody wrote: keep one block.
            blocks[-1] = TextBlock(text=last.text + block.text)
        elif block is not None:
            blocks.append(block)
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=_legacy_calls(message.tool_calls))


def _block(part: core.Part) -> ContentBlock | None:
    if isinstance(part, core.Text):
        return TextBlock(text=part.text)
    if isinstance(part, core.ToolCall):
        return _call_block(part)
    if isinstance(part, core.Thinking):
        return ThinkingBlock(content=part.text or None, additional_information=_thinking_information(part))
    if isinstance(part, core.Opaque):
        return ThinkingBlock(content=None, additional_information={NATIVE_KEY: _native(part.native), "opaque": True})
    return None  # a model answers with nothing else


def _call_block(call: core.ToolCall) -> ToolCallBlock:
    """Arguments that are no JSON object stay text: nobody may run them."""
    kwargs = call.arguments if call.arguments is not None else call.arguments_json
    return ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=kwargs)


def _thinking_information(part: core.Thinking) -> dict[str, Any]:
    information: dict[str, Any] = {}
    if part.signature is not None:
        information["signature"] = part.signature
    if part.redacted is not None:
        information["redacted_data"] = part.redacted
    if part.native is not None:
        information[NATIVE_KEY] = _native(part.native)
    return information


def _native(native: core.Native) -> dict[str, Any]:
    return {f.name: getattr(native, f.name) for f in fields(native)}


def _legacy_calls(calls: tuple[core.ToolCall, ...]) -> dict[str, Any]:
    """LlamaIndex's streamed structured output looks for the calls here, and yields empty objects without them."""
    if not calls:
        return {}
    shape = [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments_json}} for c in calls
    ]
    return {"tool_calls": shape}


def _raw(response: core.ChatResponse) -> dict[str, Any]:
    known = {
        "id": response.response_id,
        "model": response.model,
        "provider": response.provider,
        "stop_reason": response.finish_reason and response.finish_reason.value,
        "usage": _usage(response.usage),
        "adjustments": [f"{a.what} {a.kind}: {a.reason}" for a in response.adjustments] or None,
    }
    return {k: v for k, v in known.items() if v is not None}


def _usage(usage: core.Usage) -> dict[str, Any] | None:
    """OpenAI's names, which LlamaIndex's token counter and OpenInference read."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    named: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cache_read_tokens is not None:
        named["prompt_tokens_details"] = {"cached_tokens": usage.cache_read_tokens}
    if usage.reasoning_tokens is not None:
        named["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return {k: v for k, v in named.items() if v is not None}


def _counts(usage: core.Usage) -> dict[str, Any]:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {k: v for k, v in (_usage(usage) or {}).items() if k in names}


class StreamAssembler:
    """Feeds on core events; gives one LlamaIndex response for each that changes what a reader sees.

    Each response holds the whole message so far, the part in progress included. The last one carries the usage.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, ContentBlock] = {}
        self._texts: dict[int, str] = {}
        self._names: dict[int, tuple[str, str]] = {}

    def add(self, event: StreamEvent) -> ChatResponse | None:
        """Take one event; the response to yield, or None."""
        if isinstance(event, core.TextDelta):
            text = self._texts[event.index] = self._texts.get(event.index, "") + event.text
            self._blocks[event.index] = TextBlock(text=text)
            return self._snapshot(event.text)
        if isinstance(event, core.ThinkingDelta):
            text = self._texts[event.index] = self._texts.get(event.index, "") + event.text
            self._blocks[event.index] = ThinkingBlock(content=text)
            return self._snapshot("", thinking_delta=event.text)
        if isinstance(event, core.ToolCallStart):
            self._names[event.index] = (event.id, event.name)
            return self._call(event.index, "")
        if isinstance(event, core.ToolCallDelta):
            return self._call(event.index, event.arguments)
        if isinstance(event, core.StreamEnd):
            return from_core_response(event.response, delta="")
        if isinstance(event, core.PartEnd):
            self._finish(event)
        return None

    def _call(self, index: int, piece: str) -> ChatResponse:
        text = self._texts[index] = self._texts.get(index, "") + piece
        call_id, name = self._names.get(index, ("", ""))
        self._blocks[index] = ToolCallBlock(tool_call_id=call_id, tool_name=name, tool_kwargs=text)
        return self._snapshot("")

    def _finish(self, event: core.PartEnd) -> None:
        block = _block(event.part)
        if block is not None:
            self._blocks[event.index] = block

    def _snapshot(self, delta: str, **extra: Any) -> ChatResponse:
        blocks = [self._blocks[i] for i in sorted(self._blocks)]
        calls = [
            {
                "id": b.tool_call_id,
                "type": "function",
                "function": {"name": b.tool_name, "arguments": self._texts.get(i, "")},
            }
            for i, b in sorted(self._blocks.items())
            if isinstance(b, ToolCallBlock)
        ]
        message = ChatMessage(
            role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs={"tool_calls": calls} if calls else {}
        )
        return ChatResponse(message=message, delta=delta, raw={}, additional_kwargs=extra)
