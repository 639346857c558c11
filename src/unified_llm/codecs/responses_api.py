"""OpenAI's Responses API (``/v1/responses``): chats that carry reasoning items and built-in tools.

It is a second dialect of the same servers; `providers.openai_dialect` decides which one a request takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import error_from_reply
from unified_llm.codecs.responses_decode import decode_response
from unified_llm.codecs.responses_draft import DIALECT
from unified_llm.codecs.responses_encode import Continuation, encode_response
from unified_llm.codecs.responses_stream import ResponsesStreamDecoder
from unified_llm.errors import UnifiedLLMError
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse
from unified_llm.wire import WireCall, WireReply

__all__ = ["ResponsesCodec"]


class ResponsesCodec:
    """See `ChatCodec`. `secrets` gives the texts to mask in errors; it is called only when there is one.

    With a `continuation` the server stores what is said, and goes on from what it has.
    """

    dialect = DIALECT

    def __init__(
        self, secrets: Callable[[], Sequence[str]] = tuple, *, continuation: Continuation | None = None
    ) -> None:
        self._secrets = secrets
        self._continuation = continuation

    def encode(self, request: ChatRequest, context: CodecContext) -> WireCall:
        """The call to send. Raises `InvalidRequestError`; what is not sent as asked is in its adjustments."""
        return encode_response(request, context, self._continuation)

    def decode(self, reply: WireReply, request: ChatRequest, context: CodecContext) -> ChatResponse:
        """The response of a complete answer. Raises `ResponseError` or the error inside the body."""
        return decode_response(reply, request, context, self._secrets())

    def decoder(
        self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext
    ) -> ResponsesStreamDecoder:
        """A fresh decoder for one streamed answer."""
        return ResponsesStreamDecoder(headers, request, context, self._secrets())

    def error(self, status: int, headers: Mapping[str, str], body: bytes, context: CodecContext) -> UnifiedLLMError:
        """The exception (not raised) that an error status stands for."""
        return error_from_reply(status, headers, body, provider=context.provider, secrets=self._secrets())
