"""Answers from the response cache, looked up before anything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from unified_llm.cache import ResponseCache
from unified_llm.client.base import ClientBase
from unified_llm.errors import UnifiedLLMError
from unified_llm.policy import Target
from unified_llm.providers.base import LLMProvider, WireProvider
from unified_llm.providers.caching import CacheMiss, KeptOnly, begun, begun_async
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse
from unified_llm.stream import StreamEvent

__all__ = ["KeptAnswers"]


class KeptAnswers(ClientBase):
    """Looks answers up."""

    # What the cache has is given without a turn, a place or a breaker. Whatever is wrong with a target, the plan meets
    # it again, and knows what to do then: here it means that there is nothing.

    def _kept(self, target: Target, request: ChatRequest, expires: float | None) -> ChatResponse | None:
        if self._cache is None or request.config.cache is False:
            return None
        try:
            provider, model = self._resolve(target, expires)
            return provider.chat(_kept_only(provider, request, model, self._cache))
        except (CacheMiss, UnifiedLLMError):
            return None

    async def _kept_async(self, target: Target, request: ChatRequest, expires: float | None) -> ChatResponse | None:
        if self._cache is None or request.config.cache is False:
            return None
        try:
            provider, model = await self._resolve_async(target, expires)
            return await provider.chat_async(_kept_only(provider, request, model, self._cache))
        except (CacheMiss, UnifiedLLMError):
            return None

    def _kept_events(self, target: Target, request: ChatRequest, expires: float | None) -> Iterator[StreamEvent] | None:
        if self._cache is None or request.config.cache is False:
            return None
        try:
            provider, model = self._resolve(target, expires)
            return begun(provider.stream(_kept_only(provider, request, model, self._cache)))
        except (CacheMiss, UnifiedLLMError):
            return None

    async def _kept_events_async(
        self, target: Target, request: ChatRequest, expires: float | None
    ) -> AsyncIterator[StreamEvent] | None:
        if self._cache is None or request.config.cache is False:
            return None
        try:
            provider, model = await self._resolve_async(target, expires)
            return await begun_async(provider.stream_async(_kept_only(provider, request, model, self._cache)))
        except (CacheMiss, UnifiedLLMError):
            return None


def _kept_only(provider: LLMProvider, request: ChatRequest, model: str, cache: ResponseCache) -> ChatRequest:
    """The request that is answered from the cache or not at all. Raises `CacheMiss` for providers without one."""
    if not isinstance(provider, WireProvider):
        raise CacheMiss
    return request.for_model(model, cache=KeptOnly(cache))
