"""The Anthropic Messages dialect: Claude, and the servers that speak like it (llama.cpp, LM Studio, gateways)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unified_llm import _json
from unified_llm.codecs.anthropic_catalogue import AnthropicModels
from unified_llm.codecs.anthropic_decode import BlockReader, finish_details, transformations, usage_of
from unified_llm.codecs.anthropic_encode import encode_count, encode_messages
from unified_llm.codecs.anthropic_models import CURRENT_MODELS, family_of
from unified_llm.codecs.anthropic_options import FORMAT_TOOL, format_tool
from unified_llm.codecs.anthropic_parts import DIALECT
from unified_llm.codecs.anthropic_stream import AnthropicStreamDecoder, status_inside
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import error_from_body, error_from_reply, has_error, request_id_of, unusable_body
from unified_llm.codecs.fields import count_of, text_of
from unified_llm.errors import ModelNotFoundError, UnifiedLLMError
from unified_llm.messages import Message, Origin
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse, FinishReason
from unified_llm.wire import WireCall, WireReply

__all__ = ["AnthropicMessages", "AnthropicModels"]


class AnthropicMessages:
    """See `codecs.base.ChatCodec`. `secrets` are masked wherever an error body quotes them.

    With `replay_thinking` False no thinking goes back: for a history that was edited, where the signatures of
    preserved thinking no longer hold.
    """

    dialect = DIALECT

    def __init__(self, *, replay_thinking: bool = True, secrets: tuple[str, ...] = ()) -> None:
        self._replay_thinking = replay_thinking
        self._secrets = secrets

    def encode(self, request: ChatRequest, context: CodecContext) -> WireCall:
        """``POST /v1/messages``. `max_tokens`, which this API requires, is 16384 when unset (plus a thinking budget).

        ``provider_options["claude"]`` is merged into the body; its ``betas`` become the ``anthropic-beta`` header.

        Raises:
            InvalidMessageError: a part, or the order of the messages, cannot be sent.
            UnsupportedOptionError: under ``on_unsupported="error"``, for what would be dropped or changed.
        """
        return encode_messages(request, context, replay_thinking=self._replay_thinking)

    def encode_count(self, request: ChatRequest, context: CodecContext) -> WireCall:
        """``POST /v1/messages/count_tokens`` for the prompt of `request`."""
        return encode_count(request, context, replay_thinking=self._replay_thinking)

    def decode_count(self, reply: WireReply, context: CodecContext) -> int:
        """The figure in the answer. Raises `ResponseError` when there is none."""
        value = _decoded(reply.body)
        count = count_of(value.get("input_tokens")) if isinstance(value, dict) else None
        if count is None:
            raise self._unusable(reply, context, "a body without a token count")
        return count

    def decode(self, reply: WireReply, request: ChatRequest, context: CodecContext) -> ChatResponse:
        """See the protocol."""
        value = _decoded(reply.body)
        if has_error(value):
            raise self._error_inside(value, reply, context)
        if not isinstance(value, dict) or not isinstance(value.get("content"), list):
            raise self._unusable(reply, context, "a body that is no message")
        reader = _reader(request, context)
        parts = [reader.part(raw) for raw in value["content"] if isinstance(raw, dict)]
        stop = text_of(value.get("stop_reason"))
        finish = reader.finish(stop, text_of(value.get("stop_sequence")))
        paused = finish is FinishReason.PAUSE
        return ChatResponse(
            Message("assistant", parts, origin=Origin(context.provider, DIALECT, request.model, paused)),
            model=text_of(value.get("model")) or request.model,
            provider=context.provider,
            finish_reason=finish,
            native_finish_reason=stop,
            finish_details=finish_details(value),
            usage=usage_of(value.get("usage")),
            adjustments=transformations(value),
            request_id=request_id_of(reply.headers),
            response_id=text_of(value.get("id")),
            response_format=request.response_format,
            raw=reply.body,
            headers=reply.headers,
        )

    def decoder(
        self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext
    ) -> AnthropicStreamDecoder:
        """See the protocol."""
        return AnthropicStreamDecoder(
            headers, _reader(request, context), provider=context.provider, secrets=self._secrets
        )

    def error(self, status: int, headers: Mapping[str, str], body: bytes, context: CodecContext) -> UnifiedLLMError:
        """See the protocol. An unknown Claude model gets the names of current ones."""
        error = error_from_reply(status, headers, body, provider=context.provider, secrets=self._secrets)
        if isinstance(error, ModelNotFoundError) and "claude" in error.message:
            current = ", ".join(CURRENT_MODELS)
            error.hint = f"the model is retired or misspelt; current ones: {current} (list_models() has them all)"
        return error

    def _error_inside(self, value: Any, reply: WireReply, context: CodecContext) -> UnifiedLLMError:
        return error_from_body(
            value, provider=context.provider, status=status_inside(value), headers=reply.headers, secrets=self._secrets
        )

    def _unusable(self, reply: WireReply, context: CodecContext, why: str) -> UnifiedLLMError:
        return unusable_body(
            reply.status, reply.headers, reply.body, provider=context.provider, why=why, secrets=self._secrets
        )


def _reader(request: ChatRequest, context: CodecContext) -> BlockReader:
    by_tool = format_tool(request, family_of(request.model)) is not None
    return BlockReader(context.provider, request.model, FORMAT_TOOL if by_tool else None)


def _decoded(body: bytes) -> Any:
    try:
        return _json.loads(body)
    except ValueError:
        return None
