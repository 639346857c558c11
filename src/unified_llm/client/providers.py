"""The choice of a provider, and what is known about it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from unified_llm.client.base import ClientBase
from unified_llm.detection import Detection
from unified_llm.providers.base import LLMProvider
from unified_llm.routing import AvailableProviders

if TYPE_CHECKING:
    from unified_llm.providers.claude import ClaudeProvider
    from unified_llm.providers.llamacpp_server import LlamaCppServerProvider
    from unified_llm.providers.lmstudio import LMStudioProvider
    from unified_llm.providers.lollms import LollmsProvider, LollmsWebUIProvider
    from unified_llm.providers.ollama import OllamaProvider

__all__ = ["ProviderChoice"]


class ProviderChoice(ClientBase):
    """The current provider and the others."""

    @overload
    def get_provider(self, name: None = ...) -> str: ...
    @overload
    def get_provider(self, name: Literal["claude"]) -> ClaudeProvider: ...
    @overload
    def get_provider(self, name: Literal["lmstudio"]) -> LMStudioProvider: ...
    @overload
    def get_provider(self, name: Literal["ollama"]) -> OllamaProvider: ...
    @overload
    def get_provider(self, name: Literal["llamacpp"]) -> LlamaCppServerProvider: ...
    @overload
    def get_provider(self, name: Literal["lollms"]) -> LollmsProvider: ...
    @overload
    def get_provider(self, name: Literal["lollms-webui"]) -> LollmsWebUIProvider: ...
    @overload
    def get_provider(self, name: str) -> LLMProvider: ...
    def get_provider(self, name: str | None = None) -> str | LLMProvider:
        """Name of the current provider; detects it if that has not been done yet (300 ms at most).

        With a name: that provider itself, for what only it can do, such as ``get_provider("ollama").pull("llama3.2")``.

        Raises:
            ConfigurationError: unknown name, missing key or package.
        """
        return self._router.current_name() if name is None else self._router.provider(name)

    @property
    def current_provider(self) -> str | None:
        """Name of the current provider; None as long as it has not been detected. Never asks anybody."""
        return self._router.current

    @property
    def current_model(self) -> str | None:
        """The model that calls go to which name none; None: the provider's own default. Never asks anybody."""
        return self._router.model

    @property
    def detection(self) -> Detection | None:
        """Why the current provider was chosen; None when it was given, or before it was needed."""
        return self._router.detection

    @overload
    async def get_provider_async(self, name: None = ...) -> str: ...
    @overload
    async def get_provider_async(self, name: Literal["claude"]) -> ClaudeProvider: ...
    @overload
    async def get_provider_async(self, name: Literal["lmstudio"]) -> LMStudioProvider: ...
    @overload
    async def get_provider_async(self, name: Literal["ollama"]) -> OllamaProvider: ...
    @overload
    async def get_provider_async(self, name: Literal["llamacpp"]) -> LlamaCppServerProvider: ...
    @overload
    async def get_provider_async(self, name: Literal["lollms"]) -> LollmsProvider: ...
    @overload
    async def get_provider_async(self, name: Literal["lollms-webui"]) -> LollmsWebUIProvider: ...
    @overload
    async def get_provider_async(self, name: str) -> LLMProvider: ...
    async def get_provider_async(self, name: str | None = None) -> str | LLMProvider:
        """`get_provider`, without blocking the event loop."""
        if name is None:
            return await asyncio.to_thread(self._router.current_name)
        return await self._router.provider_async(name)

    def set_provider(self, name: str, *, model: str | None = None, **options: Any) -> None:
        """Make `name` the current provider from now on. `options` are its constructor's keywords.

        Raises:
            ConfigurationError: unknown name, missing key or package; the current provider then stays.
        """
        self._router.set_provider(name, model, options)

    def configure_provider(self, name: str, options: Mapping[str, Any]) -> None:
        """Set the constructor keywords (api_key, base_url...) of a provider for later use."""
        self._router.configure(name, options)

    def set_api_key(self, provider: str, key: object) -> None:
        """Set the key of one provider; it is never used for another."""
        self._router.configure(provider, {"api_key": key})

    @property
    def available_providers(self) -> AvailableProviders:
        """Providers usable now without a network look-up (key and package present): a mapping that can be called."""
        return self._router.available()

    def list_providers(self) -> list[str]:
        """The names of `available_providers`."""
        return list(self.available_providers)
