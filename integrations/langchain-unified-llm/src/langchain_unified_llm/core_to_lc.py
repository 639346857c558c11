"""The core's answers as LangChain messages: pure, no I/O. Streams are in `stream_chunks` and `stream_protocol`.

v0, the default: `content` is the text, reasoning is in ``additional_kwargs["reasoning_content"]``, the convention that
LangChain lifts into `content_blocks`. v1: `content` is the list of standard blocks, in the order of the parts.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from langchain_core.messages import AIMessage, InvalidToolCall
from langchain_core.messages import ToolCall as LCToolCall
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.content import KNOWN_BLOCK_TYPES

from langchain_unified_llm.connections import vendor_of
from langchain_unified_llm.keeping import KEPT, keep
from langchain_unified_llm.translators import MADE_BY
from unified_llm.messages import Message, Opaque, Part, Text, Thinking, ToolCall
from unified_llm.responses import ChatResponse, FinishReason, Usage

__all__ = [
    "REFUSAL",
    "additional_kwargs",
    "annotation",
    "block",
    "blocks",
    "message",
    "reasoning",
    "refused",
    "response_metadata",
    "split_calls",
    "usage_metadata",
]


def message(response: ChatResponse, *, v1: bool = False) -> AIMessage:
    """The whole answer as one `AIMessage`."""
    metadata = response_metadata(response)
    content: Any = response.text
    if v1:
        metadata["output_version"] = "v1"
        content = blocks(response)
    fields: dict[str, Any] = {}  # only what there is: each field that is passed gets validated
    if response.message.tool_calls:
        fields["tool_calls"], fields["invalid_tool_calls"] = split_calls(response.message)
    if extra := additional_kwargs(response, v1=v1):
        fields["additional_kwargs"] = extra
    made = AIMessage(content=content, response_metadata=metadata, id=response.response_id, **fields)
    made.usage_metadata = usage_metadata(response.usage)  # made here: to have it validated takes longer than the rest
    return made


def split_calls(answer: Message) -> tuple[list[LCToolCall], list[InvalidToolCall]]:
    """The calls that can be run, and those whose arguments are no JSON object."""
    calls: list[LCToolCall] = []
    broken: list[InvalidToolCall] = []
    for call in answer.tool_calls:
        if call.arguments is not None:
            calls.append({"name": call.name, "args": call.arguments, "id": call.id, "type": "tool_call"})
        else:
            broken.append(invalid_call(call))
    return calls, broken


def invalid_call(call: ToolCall) -> InvalidToolCall:
    """A call that must not be run, with its arguments as they came."""
    return {
        "type": "invalid_tool_call",
        "id": call.id,
        "name": call.name,
        "args": call.arguments_json,
        "error": call.parse_error,
    }


def usage_metadata(usage: Usage) -> UsageMetadata | None:
    """LangChain's usage, or None when the server did not say both figures: it has no way to say "unknown"."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    result = UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
    )
    read: InputTokenDetails = {}
    if usage.cache_read_tokens is not None:
        read["cache_read"] = usage.cache_read_tokens
    if usage.cache_write_tokens is not None:
        read["cache_creation"] = usage.cache_write_tokens
    if read:
        result["input_token_details"] = read
    if usage.reasoning_tokens is not None:
        result["output_token_details"] = OutputTokenDetails(reasoning=usage.reasoning_tokens)
    return result


def response_metadata(response: ChatResponse) -> dict[str, Any]:
    """What is known of the answer besides its content; JSON-safe, unknown keys are absent.

    Of the keys that other code reads: `model_name` is the served model, `model_provider` the vendor, `finish_reason`
    the core's word (stop, length, tool_calls, content_filter, refusal...). What was not done as asked is in
    `adjustments`, what failed before this answer in `attempts`.
    """
    said = {
        "model_name": response.model,
        "finish_reason": response.finish_reason,
        "native_finish_reason": response.native_finish_reason,
        "request_id": response.request_id,
        "cost": response.cost,
        "latency": response.latency,
        "time_to_first_token": response.time_to_first_token,
    }
    metadata: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    metadata["integration"] = MADE_BY
    if response.finish_reason is not None:
        metadata["finish_reason"] = str(response.finish_reason)
    if response.provider is not None:
        metadata["model_provider"] = vendor_of(response.provider)
    if response.adjustments:
        metadata["adjustments"] = [{"kind": a.kind, "what": a.what, "reason": a.reason} for a in response.adjustments]
    if response.attempts:
        metadata["attempts"] = [asdict(attempt) for attempt in response.attempts]
    if response.finish_details:
        metadata["finish_details"] = dict(response.finish_details)
    if response.cached:
        metadata["cached"] = True
    return metadata


def additional_kwargs(response: ChatResponse, *, v1: bool, streamed: bool = False) -> dict[str, Any]:
    """Readable reasoning (v0; a stream has sent it piece by piece already), and what `AIMessage` has no field for."""
    extra: dict[str, Any] = {}
    if not v1 and not streamed and (reasoning := response.reasoning):
        extra["reasoning_content"] = reasoning
    if (kept := keep(response.message)) is not None:
        extra[KEPT] = kept
    return extra


def blocks(response: ChatResponse) -> list[dict[str, Any]]:
    """The standard v1 blocks of an answer, in order; a refusal is one of them."""
    found = [block(part) for part in response.message.parts]
    return [*found, dict(REFUSAL)] if refused(response) else found


REFUSAL = {"type": "refusal", "refusal": ""}  # what the model said about it is in the text blocks


def refused(response: ChatResponse) -> bool:
    """Whether a refusal has to be said by a block of its own, which langchain-core has had since 1.7.5."""
    return response.finish_reason == FinishReason.REFUSAL and "refusal" in KNOWN_BLOCK_TYPES


def block(part: Part) -> dict[str, Any]:
    """A part as a standard v1 content block."""
    if isinstance(part, Text):
        text: dict[str, Any] = {"type": "text", "text": part.text}
        if part.citations:
            text["annotations"] = [annotation(dict(c)) for c in part.citations]
        return text
    if isinstance(part, Thinking):
        return reasoning(part)
    if isinstance(part, ToolCall):
        if part.arguments is None:
            return dict(invalid_call(part))
        return {"type": "tool_call", "id": part.id, "name": part.name, "args": part.arguments}
    raw = dict(part.native.raw) if isinstance(part, Opaque) else {"type": type(part).__name__.lower()}
    return {"type": "non_standard", "value": raw}


def reasoning(part: Thinking) -> dict[str, Any]:
    """A reasoning block; what only its maker can read goes to ``extras``."""
    extras = {k: v for k, v in (("signature", part.signature), ("redacted", part.redacted)) if v is not None}
    return {"type": "reasoning", "reasoning": part.text} | ({"extras": extras} if extras else {})


def annotation(citation: dict[str, Any]) -> dict[str, Any]:
    """A citation in the provider's words."""
    return {"type": "non_standard_annotation", "value": citation}
