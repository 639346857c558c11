"""What LM Studio does besides chats and embeddings, as methods of its provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from unified_llm.providers.lmstudio_calls import LMStudioCalls, Namespace, load_call
from unified_llm.providers.lmstudio_choice import WebsocketChoice
from unified_llm.providers.lmstudio_http_calls import LMStudioHTTPCalls
from unified_llm.requests import ChatRequest
from unified_llm.responses import ModelInfo

__all__ = ["LMStudioExtras"]


class LMStudioExtras:
    """Loading, unloading, tokens, context length.

    Where the websockets cannot be used, models are loaded and unloaded over HTTP; the rest, which HTTP does not have,
    raises `UnsupportedOptionError`.
    """

    _calls: LMStudioCalls
    _choice: WebsocketChoice
    _http_calls: LMStudioHTTPCalls

    def load_model(
        self,
        model: str,
        *,
        kind: Namespace = "llm",
        ttl: float | None = None,
        context_length: int | None = None,
        config: Mapping[str, Any] | None = None,
        on_progress: Callable[[float], None] | None = None,
        timeout: float | None = None,
    ) -> ModelInfo:
        """Load `model` unless it is in memory already, and tell about the loaded one: its `id` is that of the instance.

        Args:
            model: id as listed; kind: "llm" or "embedding".
            ttl: seconds of idleness after which LM Studio unloads it (3600 when not given).
            context_length: tokens; config: more of the server's own load keys, such as
                ``{"llm.load.llama.flashAttention": True}``.
            on_progress: called with fractions from 0 to 1; never over HTTP, which does not tell.
            timeout: seconds without progress.

        Raises:
            ModelNotFoundError: no such model is on disk.
            UnsupportedOptionError: `ttl` or `config` over HTTP, which does not have them.
        """
        if not self._choice.usable():
            options: Any = {"ttl": ttl, "context_length": context_length, "config": config, "timeout": timeout}
            return self._http_calls.load(model, **options)
        call = load_call(model, namespace=kind, ttl=ttl, context_length=context_length, config=config, timeout=timeout)
        return self._calls.load(call, on_progress)

    async def load_model_async(
        self,
        model: str,
        *,
        kind: Namespace = "llm",
        ttl: float | None = None,
        context_length: int | None = None,
        config: Mapping[str, Any] | None = None,
        on_progress: Callable[[float], None] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # between messages, not in total
    ) -> ModelInfo:
        """`load_model`, without blocking the event loop."""
        if not await self._choice.usable_async():
            options: Any = {"ttl": ttl, "context_length": context_length, "config": config, "timeout": timeout}
            return await self._http_calls.load_async(model, **options)
        call = load_call(model, namespace=kind, ttl=ttl, context_length=context_length, config=config, timeout=timeout)
        return await self._calls.load_async(call, on_progress)

    def unload_model(self, model: str, *, kind: Namespace = "llm") -> None:
        """Free the memory of what was loaded: by the id of an instance, or of a model (all of its instances).

        Raises:
            ModelNotFoundError: it is not loaded.
        """
        if self._choice.usable():
            self._calls.unload(model, kind)
        else:
            self._http_calls.unload(model)

    async def unload_model_async(self, model: str, *, kind: Namespace = "llm") -> None:
        """`unload_model`, without blocking the event loop."""
        if await self._choice.usable_async():
            await self._calls.unload_async(model, kind)
        else:
            await self._http_calls.unload_async(model)

    def loaded_models(self) -> list[ModelInfo]:
        """What is in memory, each under the id of its instance, which chats and `unload_model` take."""
        return self._calls.loaded() if self._choice.usable() else self._http_calls.loaded()

    async def loaded_models_async(self) -> list[ModelInfo]:
        """`loaded_models`, without blocking the event loop."""
        usable = await self._choice.usable_async()
        return await (self._calls.loaded_async() if usable else self._http_calls.loaded_async())

    def tokenize(self, text: str, model: str) -> list[int]:
        """The token ids of `text`; the model is loaded for it."""
        self._choice.need("tokenisation")
        return self._calls.tokenize(text, model)

    async def tokenize_async(self, text: str, model: str) -> list[int]:
        """`tokenize`, without blocking the event loop."""
        await self._choice.need_async("tokenisation")
        return await self._calls.tokenize_async(text, model)

    def count_tokens(self, request: ChatRequest) -> int:
        """Tokens of the prompt with the model's template applied; the model is loaded for it. Texts and tools only."""
        self._choice.need("token counting")
        return self._calls.count(request)

    async def count_tokens_async(self, request: ChatRequest) -> int:
        """`count_tokens`, without blocking the event loop."""
        await self._choice.need_async("token counting")
        return await self._calls.count_async(request)

    def context_length(self, model: str) -> int | None:
        """Tokens the model holds as it is loaded; it is loaded for it. None when LM Studio does not say."""
        self._choice.need("context length of a loaded model")
        return self._calls.context_length(model)

    async def context_length_async(self, model: str) -> int | None:
        """`context_length`, without blocking the event loop."""
        await self._choice.need_async("context length of a loaded model")
        return await self._calls.context_length_async(model)
