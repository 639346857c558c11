"""What the client says about models and prompts: lists and token counts."""

from __future__ import annotations

from typing import Any

from unified_llm.client.base import ClientBase, Messages, Tools
from unified_llm.errors import UnsupportedOptionError
from unified_llm.preparation import approximate_tokens
from unified_llm.requests import ModelConfig
from unified_llm.responses import ModelInfo

__all__ = ["ModelCalls"]


class ModelCalls(ClientBase):
    """Models and tokens."""

    def list_models(self, provider: str | None = None) -> list[ModelInfo]:
        """The models of the current provider, or of the one named. Their ids are accepted as they are."""
        return self._router.provider(provider).list_models()

    async def list_models_async(self, provider: str | None = None) -> list[ModelInfo]:
        """`list_models`, without blocking the event loop."""
        return await (await self._router.provider_async(provider)).list_models_async()

    def supported_models(self) -> list[str]:
        """The ids of `list_models`."""
        return [m.id for m in self.list_models()]

    async def supported_models_async(self) -> list[str]:
        """The ids of `list_models_async`."""
        return [m.id for m in await self.list_models_async()]

    def count_tokens(
        self,
        messages: Messages,
        config: ModelConfig | None = None,
        tools: Tools = None,
        *,
        exact: bool = True,
        **options: Any,
    ) -> int:
        """Tokens of the prompt, counted by the provider; or estimated when it cannot and `exact` is False.

        Raises:
            UnsupportedOptionError: the provider cannot count, and `exact` is True.
        """
        request, settings = self._prepare(messages, config, tools, options)
        provider, model = self._router.resolve(self._router.targets(settings.model_name)[0])
        request = request.for_model(model)
        try:
            return provider.count_tokens(request)
        except UnsupportedOptionError:
            if exact:
                raise
            return approximate_tokens(request)

    async def count_tokens_async(
        self,
        messages: Messages,
        config: ModelConfig | None = None,
        tools: Tools = None,
        *,
        exact: bool = True,
        **options: Any,
    ) -> int:
        """`count_tokens`, without blocking the event loop."""
        request, settings = await self._prepare_async(messages, config, tools, options)
        provider, model = await self._router.resolve_async((await self._router.targets_async(settings.model_name))[0])
        request = request.for_model(model)
        try:
            return await provider.count_tokens_async(request)
        except UnsupportedOptionError:
            if exact:
                raise
            return approximate_tokens(request)
