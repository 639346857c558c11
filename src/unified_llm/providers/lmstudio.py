"""LM Studio, over its HTTP API: chats and embeddings in the OpenAI dialect, models from its own lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from unified_llm import _json
from unified_llm.codecs.openai_models import read_models
from unified_llm.drivers.http import HTTPDriver
from unified_llm.errors import UnifiedLLMError
from unified_llm.profiles import Profile
from unified_llm.providers.openai import OpenAICompatibleProvider
from unified_llm.responses import ModelInfo
from unified_llm.wire import WireCall, WireReply

__all__ = ["LMStudioProvider"]

# Newest first. Both tell what is loaded, how large the context is, and what a model can; /v1/models tells ids alone.
# https://lmstudio.ai/docs/developer/rest
_LISTS = ("api/v1/models", "api/v0/models")


class LMStudioProvider(OpenAICompatibleProvider):
    """A running LM Studio (0.3.6 or later for the full model list).

    Args:
        api_key: an API token, when the server demands one; else LMSTUDIO_API_KEY, LMSTUDIO_API_TOKEN, LM_API_TOKEN.
        base_url: ``http://127.0.0.1:1234/v1`` by default, with or without the path; else LMSTUDIO_BASE_URL.

    The other arguments are those of `OpenAICompatibleProvider`. Without a model name the first loaded chat model
    answers, else the first one on disk, which LM Studio then loads.
    """

    serves_many_names: ClassVar[bool] = False

    def __init__(
        self,
        *,
        api_key: object = None,
        base_url: str | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        transport: Literal["httpx", "aiohttp"] = "httpx",
        profile: Profile | str | None = None,
        default_model: str | None = None,
        default_embedding_model: str | None = None,
        **driver_options: Any,
    ) -> None:
        super().__init__(
            name="lmstudio",
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            headers=headers,
            transport=transport,
            profile=profile,
            default_model=default_model,
            default_embedding_model=default_embedding_model,
            **driver_options,
        )
        own = {"authorization": f"Bearer {self._key.get_secret_value()}"} if self._key else {}
        self._native = HTTPDriver(
            _without_v1(self.base_url),
            headers=own | dict(headers or {}),
            timeout=timeout,
            transport=transport,
            **driver_options,
        )

    def list_models(self) -> list[ModelInfo]:
        """The models on disk with what LM Studio knows of them; on old versions, their ids."""
        try:
            for call in self._list_calls():
                models = self._read(self._native.send(call))
                if models is not None:
                    return models
        except UnifiedLLMError as exc:
            exc.with_context(provider=self.name)
            raise
        return super().list_models()

    async def list_models_async(self) -> list[ModelInfo]:
        """`list_models`, without blocking the event loop."""
        try:
            for call in self._list_calls():
                models = self._read(await self._native.send_async(call))
                if models is not None:
                    return models
        except UnifiedLLMError as exc:
            exc.with_context(provider=self.name)
            raise
        return await super().list_models_async()

    def _list_calls(self) -> Iterator[WireCall]:
        return (WireCall(path, method="GET") for path in _LISTS)

    def _read(self, reply: WireReply) -> list[ModelInfo] | None:
        """The models in a native list, or None when this version has no such list.

        Old versions answer unknown paths with 404, or with 200 and an error; a refused token is an error here.
        """
        if reply.status in (401, 403):
            self._check(reply)
        if reply.status != 200:
            return None
        try:
            return read_models(_json.loads(reply.body), self.name)
        except ValueError:
            return None

    def _choose(self, models: Sequence[ModelInfo]) -> str:
        """LM Studio loads models when they are asked for, so one that is not loaded will do."""
        chats = sorted((m for m in models if m.kind in (None, "chat")), key=lambda m: m.loaded is not True)
        return chats[0].id if chats else super()._choose(models)

    def close(self) -> None:
        """See `LLMProvider.close`."""
        super().close()
        self._native.close()

    async def aclose(self) -> None:
        """See `LLMProvider.aclose`."""
        await super().aclose()
        await self._native.aclose()


def _without_v1(base_url: str) -> str:
    """The address of the native API: LM Studio behind a proxy may sit under a path of its own."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/v1')}"
