"""The OpenAI chat dialect (``/v1/chat/completions``), as every server speaks it that calls itself compatible.

What differs between servers is in `unified_llm.profiles`; the codec itself knows no server by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import error_from_reply
from unified_llm.codecs.openai_decode import decode_chat
from unified_llm.codecs.openai_draft import DIALECT
from unified_llm.codecs.openai_encode import encode_chat
from unified_llm.codecs.openai_stream import OpenAIStreamDecoder
from unified_llm.errors import UnifiedLLMError
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse
from unified_llm.wire import WireCall, WireReply

__all__ = ["OpenAIChatCodec"]


class OpenAIChatCodec:
    """See `ChatCodec`. `secrets` gives the texts to mask in errors; it is called only when there is one."""

    dialect = DIALECT

    def __init__(self, secrets: Callable[[], Sequence[str]] = tuple) -> None:
        self._secrets = secrets

    def encode(self, request: ChatRequest, context: CodecContext) -> WireCall:
        """The call to send. Raises `InvalidRequestError`; what is not sent as asked is in its adjustments."""
        return encode_chat(request, context)

    def decode(self, reply: WireReply, request: ChatRequest, context: CodecContext) -> ChatResponse:
        """The response of a complete answer. Raises `ResponseError` or the error inside the body."""
        return decode_chat(reply, request, context, self._secrets())

    def decoder(self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext) -> OpenAIStreamDecoder:
        """A fresh decoder for one streamed answer."""
        return OpenAIStreamDecoder(headers, request, context, self._secrets())

    def error(self, status: int, headers: Mapping[str, str], body: bytes, context: CodecContext) -> UnifiedLLMError:
        """The exception (not raised) that an error status stands for."""
        return error_from_reply(status, headers, body, provider=context.provider, secrets=self._secrets())
