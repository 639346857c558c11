"""`UnifiedLLMEmbedding`: LlamaIndex embeddings over the core client."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr

from llama_index.llms.unified_llm.shared import SharedClient

__all__ = ["UnifiedLLMEmbedding"]


class UnifiedLLMEmbedding(BaseEmbedding, SharedClient):
    """Vectors of any provider: ``UnifiedLLMEmbedding("local:")``, ``"openai:text-embedding-3-small"``.

    Making one needs no key, package or network. `query_instruction` and `text_instruction` are put before queries
    and texts, for models that were trained with such prefixes.
    """

    model_name: str = Field(default="", description="Model id or provider:model; empty detects what is available.")
    dimensions: int | None = Field(default=None, description="Length of the vectors, where the model can shorten them.")
    query_instruction: str = Field(default="", description="Put before each query.")
    text_instruction: str = Field(default="", description="Put before each text.")
    max_concurrency: int = Field(default=8, gt=0, description="Most requests in flight per event loop.")
    embed_batch_size: int = Field(default=100, gt=0, le=2048, description="Most texts per request.")

    _gates: Any = PrivateAttr(default=None)

    def __init__(self, model_name: str = "", **kwargs: Any) -> None:
        super().__init__(model_name=model_name, **kwargs)

    @classmethod
    def class_name(cls) -> str:
        """Name LlamaIndex stores with serialised components."""
        return "UnifiedLLMEmbedding"

    def _models(self) -> dict[str, Any]:
        name = self.model_name or None
        return {"model": name, "embed_model": name}

    def __getstate__(self) -> dict[Any, Any]:
        gates, self._gates = self._gates, None
        try:
            return super().__getstate__()
        finally:
            self._gates = gates

    def _gate(self) -> asyncio.Semaphore:
        """LlamaIndex starts every batch at once: this keeps 2,000 texts from being 20 simultaneous requests."""
        if self._gates is None:
            self._gates = WeakKeyDictionary()
        loop = asyncio.get_running_loop()
        return self._gates.setdefault(loop, asyncio.Semaphore(self.max_concurrency))  # type: ignore[no-any-return]

    def _embed(self, texts: list[str]) -> list[list[float]]:
        return self.client.embed(texts, self.model_name or None, dimensions=self.dimensions).tolist()

    async def _aembed(self, texts: list[str]) -> list[list[float]]:
        async with self._gate():
            vectors = await self.client.embed_async(texts, self.model_name or None, dimensions=self.dimensions)
        return vectors.tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embed([self.query_instruction + query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self._aembed([self.query_instruction + query]))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embed([self.text_instruction + t for t in texts])

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await self._aembed([self.text_instruction + t for t in texts])
