"""`UnifiedLLMEmbeddings`: LangChain's embeddings over the core client."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.embeddings import Embeddings
from pydantic import ConfigDict, Field
from typing_extensions import override

from langchain_unified_llm.connections import with_provider
from langchain_unified_llm.errors import translated
from langchain_unified_llm.settings import ConnectedModel
from unified_llm.errors import InvalidRequestError

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

    max_retries: int | None = Field(default=None, ge=0)
    """Attempts after the first on failures that may pass; None is the core's default."""

    deadline: float | None = Field(default=None, gt=0)
    """Most seconds for all texts of a call, retries included."""

    label: str | None = None
    """Groups calls in the core's usage totals and budgets."""

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text, in order; an empty list asks nobody.

        Raises:
            UnifiedLLMError: also LangChain's class for it.
        """
        if not texts:
            return []
        with translated():
            return self.core_client().embed(_checked(texts), self._reference(), **self._options()).tolist()

    @override
    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents`, without blocking the event loop."""
        if not texts:
            return []
        with translated():
            client = self.core_client()
            return (await client.embed_async(_checked(texts), self._reference(), **self._options())).tolist()

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

    def _options(self) -> dict[str, Any]:
        names = ("dimensions", "max_retries", "deadline", "label")
        return {name: getattr(self, name) for name in names}


def _checked(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, str):
        raise InvalidRequestError("texts is one str, not a list of them", hint="use embed_query, or pass [text]")
    return list(texts)
