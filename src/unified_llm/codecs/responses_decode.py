"""A complete answer of the Responses API as a `ChatResponse`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import error_from_body, has_error, request_id_of, unusable_body
from unified_llm.codecs.openai_reading import known_call_ids, word
from unified_llm.codecs.responses_draft import DIALECT
from unified_llm.codecs.responses_reading import ItemReader, finish_of, hit_the_limit, usage_of, withheld
from unified_llm.errors import UnifiedLLMError
from unified_llm.messages import Message, Origin
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse, FinishReason
from unified_llm.wire import WireReply

__all__ = ["decode_response", "failure", "output_items"]


def decode_response(
    reply: WireReply, request: ChatRequest, context: CodecContext, secrets: Sequence[str] = ()
) -> ChatResponse:
    """The response in `reply`.

    Raises:
        ResponseError: the body is not JSON, or no response object.
        UnifiedLLMError: the response failed; `.partial` holds what was said before, if anything.
    """
    try:
        value = _json.loads(reply.body)
    except ValueError as exc:
        raise _unusable(reply, context, "something that is not JSON", secrets) from exc
    if not isinstance(value, dict) or (not has_error(value) and not isinstance(value.get("output"), list)):
        raise _unusable(reply, context, "no output", secrets)
    if has_error(value) or value.get("status") == "failed":
        error = failure(value, reply.headers, context, secrets)
        if output_items(value):
            error.with_context(
                partial=_response(value, reply, request, context).with_details(finish_reason=FinishReason.ERROR)
            )
        raise error
    return _response(value, reply, request, context)


def failure(
    value: Mapping[str, Any], headers: Mapping[str, str], context: CodecContext, secrets: Sequence[str]
) -> UnifiedLLMError:
    """The exception (not raised) of a failed response, an error event, or an error body with a success status."""
    told = value if has_error(value) else {"error": {"message": "the response failed without a reason"}}
    return error_from_body(told, provider=context.provider, status=200, headers=headers, secrets=secrets)


def output_items(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The output items of a response object."""
    output = value.get("output")
    return [i for i in output if isinstance(i, dict)] if isinstance(output, list) else []


def _unusable(reply: WireReply, context: CodecContext, why: str, secrets: Sequence[str]) -> UnifiedLLMError:
    return unusable_body(reply.status, reply.headers, reply.body, provider=context.provider, why=why, secrets=secrets)


def _response(value: Mapping[str, Any], reply: WireReply, request: ChatRequest, context: CodecContext) -> ChatResponse:
    items = output_items(value)
    model = word(value.get("model"))
    usage = usage_of(value)
    reason, native = finish_of(value, items)
    if reason is FinishReason.STOP and hit_the_limit(usage, request, context):
        reason = FinishReason.LENGTH
    cut = reason is not FinishReason.TOOL_CALLS
    reader = ItemReader(context.provider, model, known_call_ids(request))
    parts = [reader.read(item, cut=cut and i == len(items) - 1) for i, item in enumerate(items)]
    return ChatResponse(
        Message("assistant", parts, origin=Origin(context.provider, DIALECT, request.model)),
        model=model or request.model,
        provider=context.provider,
        finish_reason=reason,
        native_finish_reason=native,
        usage=usage,
        adjustments=withheld(value),
        request_id=request_id_of(reply.headers),
        response_id=word(value.get("id")),
        response_format=request.response_format,
        raw=value,
        headers=reply.headers,
    )
