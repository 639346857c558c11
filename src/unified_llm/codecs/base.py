"""What a codec is: pure translation between our values and one wire dialect. No I/O, no clock, no logger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from unified_llm.errors import UnifiedLLMError
from unified_llm.profiles import Profile
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import ChatResponse, Embeddings, ModelInfo
from unified_llm.stream import StreamEvent
from unified_llm.wire import WireCall, WireReply

__all__ = ["ChatCodec", "CodecContext", "EmbedCodec", "ModelsCodec", "StreamDecoder"]


@dataclass(frozen=True, slots=True)
class CodecContext:
    """Who is being talked to: the provider's name (for `Origin`, native replay and errors) and its profile (data)."""

    provider: str
    profile: Profile


class StreamDecoder(Protocol):
    """Turns the bytes of one streamed answer into events, whatever the cuts of the network are.

    A decoder of a dialect without an end mark has an attribute ``ends_with_body`` that is true: then a connection that
    broke is always an answer that was cut.
    """

    def feed(self, chunk: bytes) -> Iterable[StreamEvent]:
        """Events completed by `chunk`; iterate it once, at once.

        An error inside the stream is raised, while iterating where events came before it, so that none is lost.
        """
        ...

    def close(self) -> Iterable[StreamEvent]:
        """The last events, `Finish` included (never `StreamEnd`: the caller adds it).

        Raises:
            StreamInterruptedError: the stream stopped before its end.
        """
        ...


class ChatCodec(Protocol):
    """One chat dialect."""

    dialect: str

    def encode(self, request: ChatRequest, context: CodecContext) -> WireCall:
        """The call to send. Raises `InvalidRequestError` for what cannot be sent; what cannot be kept is recorded."""
        ...

    def decode(self, reply: WireReply, request: ChatRequest, context: CodecContext) -> ChatResponse:
        """The response of a complete answer. Raises `ResponseError` when the body is unusable, or its error."""
        ...

    def decoder(self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext) -> StreamDecoder:
        """A fresh decoder for one streamed answer."""
        ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes, context: CodecContext) -> UnifiedLLMError:
        """The exception (not raised) that an error status stands for."""
        ...


class EmbedCodec(Protocol):
    """One embeddings dialect. `encode` may split a request into several calls (batch limits)."""

    def encode(self, request: EmbedRequest, context: CodecContext) -> list[WireCall]: ...
    def decode(self, replies: list[WireReply], request: EmbedRequest, context: CodecContext) -> Embeddings: ...


class ModelsCodec(Protocol):
    """One models-list dialect. `next_call` follows pagination, or returns None."""

    def encode(self, context: CodecContext) -> WireCall: ...
    def decode(self, reply: WireReply, context: CodecContext) -> list[ModelInfo]: ...
    def next_call(self, reply: WireReply, context: CodecContext) -> WireCall | None: ...
