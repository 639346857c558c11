"""A complete answer of ``chat/completions`` as a `ChatResponse`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import error_from_body, has_error, request_id_of, unusable_body
from unified_llm.codecs.openai_draft import DIALECT
from unified_llm.codecs.openai_reading import (
    arguments_text,
    as_list,
    call_extras,
    content_pieces,
    finish_reason,
    is_complete,
    known_call_ids,
    message_extra,
    read_audio,
    read_image,
    read_sources,
    read_usage,
    reasoning_text,
    told_cost,
    tool_call,
    word,
)
from unified_llm.codecs.think_tags import split_think_tags
from unified_llm.errors import ResponseError
from unified_llm.messages import Message, Origin, Part, Text, Thinking, ToolCall
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse, FinishReason, Usage
from unified_llm.wire import WireReply

__all__ = ["decode_body", "decode_chat"]


def decode_chat(
    reply: WireReply, request: ChatRequest, context: CodecContext, secrets: Sequence[str] = ()
) -> ChatResponse:
    """The response in `reply`.

    Raises:
        ResponseError: the body is not JSON, or has no choice.
        UnifiedLLMError: the body is an error in spite of its success status.
    """
    try:
        value = _json.loads(reply.body)
    except ValueError as exc:
        raise unusable_body(
            reply.status,
            reply.headers,
            reply.body,
            provider=context.provider,
            why="something that is not JSON",
            secrets=secrets,
        ) from exc
    return decode_body(value, reply, request, context, secrets)


def decode_body(
    value: Any, reply: WireReply, request: ChatRequest, context: CodecContext, secrets: Sequence[str] = ()
) -> ChatResponse:
    """The response in a decoded body."""
    if has_error(value) or (isinstance(value, list) and any(map(has_error, value))):  # a list: Google's form
        raise error_from_body(
            value, provider=context.provider, status=reply.status, headers=reply.headers, secrets=secrets
        )
    choice = _choice(value)
    message = choice.get("message") if choice else None
    if choice is None or not isinstance(message, dict):
        raise _no_answer(value, reply, context, secrets)
    if has_error(choice):
        raise error_from_body(choice, provider=context.provider, status=reply.status, headers=reply.headers)
    return _response(value, choice, message, reply, request, context)


def _choice(value: Any) -> dict[str, Any] | None:
    choices = value.get("choices") if isinstance(value, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _no_answer(value: Any, reply: WireReply, context: CodecContext, secrets: Sequence[str]) -> ResponseError:
    error = unusable_body(
        reply.status, reply.headers, reply.body, provider=context.provider, why="no choice", secrets=secrets
    )
    error.hint = "the server answered without an answer: see .body; a retry may help"
    error.body = value
    return error


def _response(
    value: Mapping[str, Any],
    choice: Mapping[str, Any],
    message: Mapping[str, Any],
    reply: WireReply,
    request: ChatRequest,
    context: CodecContext,
) -> ChatResponse:
    model = word(value.get("model"))
    native = str(choice["finish_reason"]) if choice.get("finish_reason") else None
    refused = bool(message.get("refusal"))
    raw_calls = _raw_calls(message)
    reason = finish_reason(native, choice, calls=bool(raw_calls), refused=refused)
    parts = _text_parts(message, context)
    if sources := read_sources(value):
        parts = _cited(parts, sources)
    if raw_calls:
        parts += _calls(raw_calls, reason, request, context, model)
    if len(message) > 2:
        parts += _more_parts(message, context, model)
    usage = read_usage(value)
    return ChatResponse(
        Message("assistant", tuple(parts), origin=Origin(context.provider, DIALECT, request.model)),
        model=model or request.model,
        provider=context.provider,
        finish_reason=reason,
        native_finish_reason=native,
        usage=usage or Usage(),
        cost=told_cost(usage),
        request_id=request_id_of(reply.headers),
        response_id=word(value.get("id")),
        response_format=request.response_format,
        raw=value,
        headers=reply.headers,
    )


def _cited(parts: list[Part], sources: tuple[dict[str, Any], ...]) -> list[Part]:
    """`parts` with the sources at the last text, unless it has citations of its own."""
    last = parts[-1] if parts else None
    return [*parts[:-1], Text(last.text, sources)] if isinstance(last, Text) and not last.citations else parts


def _text_parts(message: Mapping[str, Any], context: CodecContext) -> list[Part]:
    """Thinking and text, in the order in which they were said."""
    reasoning = reasoning_text(message)
    parts: list[Part] = [Thinking(reasoning)] if reasoning else []
    content = message.get("content")
    if isinstance(content, str):
        if context.profile.think_tags and not reasoning:
            parts += (Thinking(t) if kind == "thinking" else Text(t) for kind, t in split_think_tags(content))
        elif content:
            parts.append(Text(content))
    else:
        parts += (Thinking(t) if kind == "thinking" else Text(t) for kind, t in content_pieces(content))
    if message.get("refusal"):
        parts.append(Text(str(message["refusal"])))
    citations = message.get("annotations")
    if citations and isinstance(citations, list) and parts and isinstance(parts[-1], Text):
        parts[-1] = Text(parts[-1].text, tuple(c for c in citations if isinstance(c, dict)))
    return parts


def _raw_calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    if not calls and isinstance(message.get("function_call"), dict):
        return [{"function": message["function_call"]}]
    return [c for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []


def _calls(
    raw_calls: Sequence[Mapping[str, Any]],
    reason: FinishReason | None,
    request: ChatRequest,
    context: CodecContext,
    model: str | None,
) -> list[ToolCall]:
    taken = known_call_ids(request)
    calls = []
    for i, raw in enumerate(raw_calls):
        function = raw.get("function") or raw.get("custom") or {}
        calls.append(
            tool_call(
                word(function.get("name")) or "",
                arguments_text(function.get("arguments", function.get("input"))),
                word(raw.get("id")),
                taken=taken,
                extras=call_extras(raw),
                provider=context.provider,
                model=model,
                cut=i == len(raw_calls) - 1 and not is_complete(reason),
            )
        )
    return calls


def _more_parts(message: Mapping[str, Any], context: CodecContext, model: str | None) -> list[Part]:
    """Pictures, sound, and fields that must go back unchanged."""
    parts: list[Part] = [image for raw in as_list(message.get("images")) if (image := read_image(raw)) is not None]
    sound, transcript = read_audio(message.get("audio"))
    if transcript and not message.get("content"):
        parts.append(Text(transcript))
    if sound is not None:
        parts.append(sound)
    for name in ("reasoning_details", "extra_content"):
        if message.get(name):
            parts.append(message_extra(name, message[name], context.provider, model))
    return parts
