"""`LLMProvider`: one place that answers chats, the class third parties subclass."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

from unified_llm.errors import (
    InvalidRequestError,
    UnifiedLLMError,
    UnsupportedOptionError,
)
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import ChatResponse, Embeddings, ModelInfo
from unified_llm.stream import StreamEvent, events_of

__all__ = ["LLMProvider"]

_ELSEWHERE = {
    "embeddings": "embed with another provider: UnifiedLLM(..., embed_model='local:')",
    "token counting": "exact=False estimates it; after a call, response.usage has the real figures",
    "list of models": "name the model: model='...'",
}


class LLMProvider(ABC):
    """One place that answers chats. Subclass it and implement `chat`; override more where the provider can more.

    The defaults make every method work: the async ones run the sync one in a thread, `stream` gives the events of
    the finished answer, the others say that the provider cannot do it. Register a class with
    ``unified_llm.register_provider(name, cls)`` or the entry-point group ``unified_llm.providers``.
    """

    name: ClassVar[str] = ""

    @abstractmethod
    def chat(self, request: ChatRequest) -> ChatResponse:
        """Answer `request`. Raises `UnifiedLLMError`."""

    async def chat_async(self, request: ChatRequest) -> ChatResponse:
        """`chat`, without blocking the event loop."""
        return await asyncio.to_thread(self.chat, request)

    def stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        """Events of the answer, the last one a `StreamEnd`. Closing the iterator closes the upstream request."""
        yield from events_of(self.chat(request))

    async def stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """`stream`, without blocking the event loop."""
        for event in events_of(await self.chat_async(request)):
            yield event

    def embed(self, request: EmbedRequest) -> Embeddings:
        """Vectors of `request.texts`, in order."""
        raise self._cannot("embeddings")

    async def embed_async(self, request: EmbedRequest) -> Embeddings:
        """`embed`, without blocking the event loop."""
        return await asyncio.to_thread(self.embed, request)

    def list_models(self) -> list[ModelInfo]:
        """The models this provider offers now."""
        raise self._cannot("list of models")

    async def list_models_async(self) -> list[ModelInfo]:
        """`list_models`, without blocking the event loop."""
        return await asyncio.to_thread(self.list_models)

    def count_tokens(self, request: ChatRequest) -> int:
        """Tokens of the prompt, counted by the provider."""
        raise self._cannot("token counting")

    async def count_tokens_async(self, request: ChatRequest) -> int:
        """`count_tokens`, without blocking the event loop."""
        return await asyncio.to_thread(self.count_tokens, request)

    def default_model(self) -> str | None:
        """The model used when the caller names none, or None when one must be named. May ask the server."""
        return None

    async def default_model_async(self) -> str | None:
        """`default_model`, without blocking the event loop."""
        return await asyncio.to_thread(self.default_model)

    def no_default_model(self) -> UnifiedLLMError:
        """The error (not raised) of a call that names no model where there is no default."""
        name = self.name or type(self).__name__
        return InvalidRequestError(
            f"{name} needs a model name, and has no default",
            provider=name,
            hint="pass model='...' (see list_models() or `unified-llm models list`)",
        )

    def default_embedding_model(self) -> str | None:
        """The embedding model used when the caller names none, or None."""
        return None

    def close(self) -> None:  # noqa: B027  # optional to override: many providers hold nothing
        """Release connections. The provider stays usable."""

    async def aclose(self) -> None:
        """`close` for async use."""
        self.close()

    def _cannot(self, what: str) -> UnsupportedOptionError:
        return UnsupportedOptionError(
            f"{self.name or type(self).__name__} has no {what}",
            provider=self.name or None,
            hint=_ELSEWHERE.get(what, "use another provider for it"),
        )
