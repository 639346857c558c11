"""Ollama's own chat dialect (``/api/chat``).

It carries what its OpenAI endpoint does not: the window (``num_ctx``), how long a model stays loaded, levels of
thinking, durations. https://docs.ollama.com/api/chat
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import has_error, request_id_of, unusable_body
from unified_llm.codecs.fields import text_of
from unified_llm.codecs.ollama_encode import encode_chat
from unified_llm.codecs.ollama_reading import (
    DIALECT,
    failure,
    finish_reason,
    read_calls,
    read_usage,
    streamed_failure,
)
from unified_llm.codecs.ollama_stream import OllamaStreamDecoder
from unified_llm.codecs.openai_reading import known_call_ids
from unified_llm.codecs.think_tags import split_think_tags
from unified_llm.errors import UnifiedLLMError
from unified_llm.messages import Message, Origin, Part, Text, Thinking
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse
from unified_llm.wire import WireCall, WireReply

__all__ = ["OllamaChatCodec"]


class OllamaChatCodec:
    """See `ChatCodec`. `defaults` are body fields of every call, such as ``keep_alive``, under the call's own."""

    dialect = DIALECT

    def __init__(self, secrets: Callable[[], Sequence[str]] = tuple, defaults: Mapping[str, Any] | None = None) -> None:
        self._secrets = secrets
        self._defaults = dict(defaults or {})

    def encode(self, request: ChatRequest, context: CodecContext) -> WireCall:
        """The call to send. Raises `InvalidRequestError`; what is not sent as asked is in its adjustments."""
        return encode_chat(request, context, self._defaults)

    def decode(self, reply: WireReply, request: ChatRequest, context: CodecContext) -> ChatResponse:
        """The response of a complete answer. Raises `ResponseError` or the error inside the body."""
        value = self._value(reply, context)
        message = value["message"]
        model = text_of(value.get("model"))
        calls = read_calls(
            message.get("tool_calls"), taken=known_call_ids(request), provider=context.provider, model=model
        )
        native = text_of(value.get("done_reason"))
        return ChatResponse(
            Message(
                "assistant",
                [*_spoken(message, context), *calls],
                origin=Origin(context.provider, DIALECT, request.model),
            ),
            model=model or request.model,
            provider=context.provider,
            finish_reason=finish_reason(native, calls=bool(calls)),
            native_finish_reason=native,
            usage=read_usage(value),
            request_id=request_id_of(reply.headers),
            response_format=request.response_format,
            raw=value,
            headers=reply.headers,
        )

    def decoder(self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext) -> OllamaStreamDecoder:
        """A fresh decoder for one streamed answer."""
        return OllamaStreamDecoder(headers, request, context, self._secrets())

    def error(self, status: int, headers: Mapping[str, str], body: bytes, context: CodecContext) -> UnifiedLLMError:
        """The exception (not raised) that an error status stands for."""
        return failure(status, headers, body, provider=context.provider, secrets=self._secrets())

    def _value(self, reply: WireReply, context: CodecContext) -> dict[str, Any]:
        """The decoded body, in which ``message`` is an object."""
        why = "something that is not JSON"
        try:
            value = _json.loads(reply.body)
        except ValueError as exc:
            raise self._unusable(reply, context, why) from exc
        if has_error(value):
            raise streamed_failure(value, reply.headers, provider=context.provider, secrets=self._secrets())
        if not isinstance(value, dict) or not isinstance(value.get("message"), dict):
            raise self._unusable(reply, context, "no message")
        return value

    def _unusable(self, reply: WireReply, context: CodecContext, why: str) -> UnifiedLLMError:
        return unusable_body(
            reply.status, reply.headers, reply.body, provider=context.provider, why=why, secrets=self._secrets()
        )


def _spoken(message: Mapping[str, Any], context: CodecContext) -> list[Part]:
    """Thinking and text. Models that the server does not know to think leave their tags in the text."""
    thinking, content = message.get("thinking"), message.get("content")
    parts: list[Part] = [Thinking(thinking)] if isinstance(thinking, str) and thinking else []
    if not isinstance(content, str) or not content:
        return parts
    if parts or not context.profile.think_tags:
        return [*parts, Text(content)]
    return [Thinking(text) if kind == "thinking" else Text(text) for kind, text in split_think_tags(content)]
