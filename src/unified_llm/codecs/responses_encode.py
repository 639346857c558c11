"""A `ChatRequest` as a call of OpenAI's ``responses``.

The conversation stays ours: nothing is stored at the server (``store: false``), the whole history is sent, and
reasoning comes back encrypted so that it can be sent with it.
Source: developers.openai.com, "Migrate to the Responses API", "Reasoning models" (encrypted reasoning items).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.calls import chat_call
from unified_llm.codecs.openai_encode import overlay
from unified_llm.codecs.responses_draft import ResponsesDraft
from unified_llm.codecs.responses_input import encode_input
from unified_llm.codecs.responses_options import (
    ENCRYPTED,
    as_responses,
    put_call_options,
    put_call_tools,
    put_format,
)
from unified_llm.requests import ChatRequest
from unified_llm.wire import WireCall

__all__ = ["PATH", "Continuation", "encode_response", "response_body"]

PATH = "responses"


@dataclass(frozen=True, slots=True)
class Continuation:
    """For a call that the server stores: the response that holds ``messages[:begin]`` already, None for the first."""

    response_id: str | None
    begin: int


def encode_response(request: ChatRequest, context: CodecContext, continuation: Continuation | None = None) -> WireCall:
    """The call to send, with every adjustment recorded in it. Without a `continuation` nothing is stored.

    Raises:
        InvalidRequestError: something that cannot be sent, or with `on_unsupported="error"` not as asked.
    """
    draft = ResponsesDraft(request, context)
    draft.profile = as_responses(draft.profile)
    body = response_body(request, draft, continuation)
    return chat_call(PATH, body, request, draft.adjustments)


def response_body(
    request: ChatRequest, draft: ResponsesDraft, continuation: Continuation | None = None
) -> dict[str, Any]:
    """The JSON body of the call."""
    config = request.config
    draft.stored = draft.stored or continuation is not None
    begin = 0 if continuation is None else continuation.begin
    body: dict[str, Any] = {"model": request.model, "input": encode_input(request.messages, draft, begin=begin)}
    body["store"] = continuation is not None
    if continuation is not None and continuation.response_id is not None:
        body["previous_response_id"] = continuation.response_id
    if request.tools or request.tool_choice is not None:
        put_call_tools(body, request.tools, request.tool_choice, draft)
    put_call_options(body, config, draft)
    if draft.profile.encrypted_reasoning and not draft.stored:
        body.setdefault("include", []).append(ENCRYPTED)
    if request.response_format is not None:
        put_format(body, request.response_format, draft)
    if request.stream:
        body["stream"] = True
    _overlay(body, (config.provider_options or {}).get(draft.provider))
    _overlay(body, config.extra_body)
    return body


def _overlay(body: dict[str, Any], more: Mapping[str, Any] | None) -> None:
    """Put `more` over `body`; tools and includes add up, so that a built-in tool can be asked for beside functions."""
    added = {k: [*body[k], *v] for k, v in (more or {}).items() if k in ("tools", "include") and body.get(k)}
    overlay(body, {**(more or {}), **added})
