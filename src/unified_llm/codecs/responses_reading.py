"""What whole and streamed answers of the Responses API share: output items, usage, why generation ended."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.fields import count_of
from unified_llm.codecs.openai_reading import arguments_text, as_dict, word
from unified_llm.codecs.responses_draft import DIALECT
from unified_llm.messages import Image, Native, Opaque, Part, Text, Thinking, ToolCall, new_id
from unified_llm.requests import ChatRequest
from unified_llm.responses import Adjustment, FinishReason, Usage

__all__ = [
    "ItemReader",
    "citations_of",
    "finish_of",
    "hit_the_limit",
    "message_text",
    "reasoning_text",
    "usage_of",
    "withheld",
]

_INCOMPLETE = {"max_output_tokens": FinishReason.LENGTH, "content_filter": FinishReason.CONTENT_FILTER}
_STATUS = {
    "completed": FinishReason.STOP,
    "cancelled": FinishReason.CANCELLED,
    "failed": FinishReason.ERROR,
}


class ItemReader:
    """Turns output items into parts. Each keeps its item whole, for the way back.

    `taken` are the tool call ids that the history has: a call that repeats one gets an id of its own.
    """

    __slots__ = ("_model", "_provider", "_taken")

    def __init__(self, provider: str, model: str | None, taken: set[str]) -> None:
        self._provider = provider
        self._model = model
        self._taken = taken

    def read(self, item: Mapping[str, Any], *, call_id: str | None = None, cut: bool = False) -> Part:
        """The part of a finished item. `call_id` was told before; `cut` says that generation stopped inside it."""
        native = Native(DIALECT, item, self._provider, self._model)
        match item.get("type"):
            case "message":
                return Text(message_text(item), tuple(citations_of(item)), native)
            case "reasoning":
                return Thinking(reasoning_text(item), native=native)
            case "function_call" | "custom_tool_call":
                return self._call(item, native, call_id, cut)
            case "image_generation_call":
                return _image(item, native) or Opaque(native)
        return Opaque(native)

    def unique_id(self, known: str | None) -> str:
        """The id of a call: the server's, unless it has none or an earlier call has it."""
        unique = known if known and known not in self._taken else new_id()
        self._taken.add(unique)
        return unique

    def _call(self, item: Mapping[str, Any], native: Native, call_id: str | None, cut: bool) -> ToolCall:
        arguments = arguments_text(item.get("arguments", item.get("input")))
        if cut and not arguments.strip():
            arguments = "{"  # must not look like a call that needs no arguments
        known = word(item.get("call_id")) or word(item.get("id"))
        return ToolCall(str(item.get("name") or ""), arguments, call_id or self.unique_id(known), native=native)


def message_text(item: Mapping[str, Any]) -> str:
    """The text of a message item, refusals included."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list | None):
        raise TypeError(f"content is {type(content).__name__}")
    return "".join(str(p.get("text") or p.get("refusal") or "") for p in _dicts(content))


def citations_of(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The annotations of a message item, in order."""
    return [a for p in _dicts(item.get("content")) for a in _dicts(p.get("annotations"))]


def reasoning_text(item: Mapping[str, Any]) -> str:
    """The readable part of a reasoning item: its text where the server gives it, else its summary, else nothing."""
    texts = [str(p.get("text") or "") for p in _dicts(item.get("content"))]
    if any(texts):
        return "".join(texts)
    return "\n\n".join(str(p.get("text") or "") for p in _dicts(item.get("summary")))


def _image(item: Mapping[str, Any], native: Native) -> Image | None:
    try:
        data = base64.b64decode(item.get("result") or "")
    except (binascii.Error, TypeError, ValueError):
        return None
    return Image(data=data, media_type=f"image/{item.get('output_format') or 'png'}", native=native) if data else None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def finish_of(
    response: Mapping[str, Any], items: Sequence[Mapping[str, Any]]
) -> tuple[FinishReason | None, str | None]:
    """Why generation ended, in our vocabulary and in the server's own word."""
    status: str | None = word(response.get("status"))
    if status == "incomplete":
        why = str(as_dict(response.get("incomplete_details")).get("reason") or status)
        return _INCOMPLETE.get(why, FinishReason.OTHER), why
    if status in (None, "completed"):
        if any(i.get("type") in ("function_call", "custom_tool_call") for i in items):
            return FinishReason.TOOL_CALLS, status
        if any(p.get("type") == "refusal" for i in items for p in _dicts(i.get("content"))):
            return FinishReason.REFUSAL, status
        return FinishReason.STOP, status
    return _STATUS.get(status, FinishReason.OTHER), status


def hit_the_limit(usage: Usage, request: ChatRequest, context: CodecContext) -> bool:
    """Whether the answer was cut at `max_tokens`, for servers that do not say so."""
    limit = request.config.max_tokens
    if limit is None or usage.output_tokens is None or context.profile.for_model(request.model).responses_status:
        return False
    return usage.output_tokens >= limit


def usage_of(response: Mapping[str, Any]) -> Usage:
    """The token figures of a response; unknown ones stay None. ``native`` also has the tier: it decides the price."""
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return Usage()
    given = as_dict(usage.get("input_tokens_details"))
    taken = as_dict(usage.get("output_tokens_details"))
    tier = response.get("service_tier")
    return Usage(
        count_of(usage.get("input_tokens")),
        count_of(usage.get("output_tokens")),
        count_of(given.get("cached_tokens")),
        count_of(given.get("cache_write_tokens")),
        count_of(taken.get("reasoning_tokens")),
        native=usage | {"service_tier": tier} if isinstance(tier, str) else usage,
    )


def withheld(response: Mapping[str, Any]) -> tuple[Adjustment, ...]:
    """Reasoning items that the server did not show to the model (``input_transformations``), each with its reason."""
    return tuple(
        Adjustment("lost", f"reasoning item {t.get('id')}", f"the server withheld it: {t.get('reason')}")
        for t in _dicts(response.get("input_transformations"))
    )
