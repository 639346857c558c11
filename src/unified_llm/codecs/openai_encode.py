"""A `ChatRequest` as a call of ``chat/completions``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.calls import chat_call, more_headers
from unified_llm.codecs.openai_draft import Draft
from unified_llm.codecs.openai_messages import encode_messages
from unified_llm.codecs.openai_options import put_options
from unified_llm.codecs.openai_tools import put_response_format, put_tools
from unified_llm.requests import ChatRequest
from unified_llm.wire import WireCall

__all__ = ["PATH", "chat_body", "encode_chat", "more_headers", "overlay"]

PATH = "chat/completions"


def encode_chat(request: ChatRequest, context: CodecContext) -> WireCall:
    """The call to send, with every adjustment recorded in it.

    Raises:
        InvalidRequestError: something that cannot be sent, or with `on_unsupported="error"` not as asked.
    """
    draft = Draft(request, context)
    body = chat_body(request, draft)
    return chat_call(PATH, body, request, draft.adjustments)


def chat_body(request: ChatRequest, draft: Draft) -> dict[str, Any]:
    """The JSON body of the call."""
    config = request.config
    body: dict[str, Any] = {"model": request.model, "messages": encode_messages(request.messages, draft)}
    if request.tools or request.tool_choice is not None:
        put_tools(body, request.tools, request.tool_choice, draft)
    put_options(body, config, draft, has_tools="tools" in body)
    if request.response_format is not None:
        put_response_format(body, request.response_format, draft)
    if request.stream:
        body["stream"] = True
        if draft.profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    for name, value in draft.profile.defaults.items():
        body.setdefault(name, value)
    overlay(body, (config.provider_options or {}).get(draft.provider))
    overlay(body, config.extra_body)
    return body


def overlay(body: dict[str, Any], more: Mapping[str, Any] | None) -> None:
    """Put `more` over `body`, as it is; objects are merged one level deep, so that options add up."""
    for name, value in (more or {}).items():
        known = body.get(name)
        body[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, Mapping) else value
