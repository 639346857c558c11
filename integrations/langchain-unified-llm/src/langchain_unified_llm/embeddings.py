"""`UnifiedLLMEmbeddings`: LangChain's embeddings over the core client."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings
from pydantic import ConfigDict, Field
from typing_extensions import override

from langchain_unified_llm.connections import with_provider
from langchain_unified_llm.errors import translate
from langchain_unified_llm.settings import ConnectedModel
from unified_llm.errors import UnifiedLLMError

__all__ = ["UnifiedLLMEmbeddings"]


class UnifiedLLMEmbeddings(ConnectedModel, Embeddings):
    """Embeddings of any provider that unified-llm reaches.

    Example:
        ```python
        from langchain_unified_llm import UnifiedLLMEmbeddings

        embeddings = UnifiedLLMEmbeddings(model="lmstudio:nomic-embed-text-v1.5")  # or "local", "offline"
        embeddings.embed_documents(["one text", "another"])
        ```

    Servers get the texts themselves, never tokens; the core splits long lists as the server demands, in order.
    """

    model_config = ConfigDict(defer_build=False)

    dimensions: int | None = Field(default=None, gt=0)
    """Length of the vectors, where the model can shorten them."""

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text, in order; an empty list asks nobody.

        Raises:
            UnifiedLLMError: also LangChain's class for it.
        """
        if not texts:
            return []
        try:
            return self.core_client().embed(list(texts), self._reference(), dimensions=self.dimensions).tolist()
        except UnifiedLLMError as exc:
            raise translate(exc) from exc

    @override
    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents`, without blocking the event loop."""
        if not texts:
            return []
        try:
            client = self.core_client()
            return (await client.embed_async(list(texts), self._reference(), dimensions=self.dimensions)).tolist()
        except UnifiedLLMError as exc:
            raise translate(exc) from exc

    @override
    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]

    @override
    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query`, without blocking the event loop."""
        return (await self.aembed_documents([text]))[0]

    def _reference(self) -> str | None:
        """The model, unless only the provider was named: that one then chooses its own embedding model."""
        return with_provider(self.model, self.provider, self.base_url)
