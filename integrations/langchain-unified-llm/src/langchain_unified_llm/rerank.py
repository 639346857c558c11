"""`UnifiedLLMRerank`: retrieved documents put in the order in which they answer a query."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import sqrt
from operator import mul
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field
from typing_extensions import override

from langchain_unified_llm.connections import model_of, with_provider
from langchain_unified_llm.errors import translated
from langchain_unified_llm.settings import ConnectedModel
from unified_llm.errors import InvalidRequestError

__all__ = ["UnifiedLLMRerank"]


class UnifiedLLMRerank(ConnectedModel, BaseDocumentCompressor):
    """Keeps the documents that answer a query best, the best first. For any provider that unified-llm reaches.

    A provider that can rerank is asked to, with its reranking model. For every other one the documents are compared
    with the query by their embeddings (`model` is an embedding model then): the score is their cosine similarity.

    Example:
        ```python
        from langchain_core.documents import Document
        from langchain_unified_llm import UnifiedLLMRerank

        rerank = UnifiedLLMRerank(model="llamacpp:bge-reranker-v2-m3", top_n=3)  # or "lmstudio:nomic-embed-text-v1.5"
        rerank.compress_documents([Document("Cats purr."), Document("Trains run on rails.")], "What do cats do?")
        ```

    Scores are in ``metadata["relevance_score"]`` of the documents returned, which are copies. The higher the better;
    their range is that of the model, so compare them within one answer only.
    """

    model_config = ConfigDict(defer_build=False)

    top_n: int | None = Field(default=3, gt=0)
    """Most documents to return; None for all of them."""

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The `top_n` documents that answer `query` best, the best first; no documents ask nobody.

        Raises:
            UnifiedLLMError: also LangChain's class for it. `UnsupportedOptionError`: the backend can neither rerank
                nor embed, or its server runs no such model.
        """
        if not documents:
            return []
        texts = _texts(documents)
        reference = with_provider(self.model, self.provider, self.base_url)
        with translated():
            client = self.core_client()
            provider = client.get_provider(self.provider_name(reference) or client.get_provider())
            rerank: Callable[..., list[Any]] | None = getattr(provider, "rerank", None)
            if rerank is not None:
                found = rerank(query, texts, top_n=self.top_n, model=model_of(reference))
                return _scored(documents, ((one.index, one.score) for one in found), self.top_n)
            first, *others = client.embed([query, *texts], reference).tolist()
        return _scored(documents, enumerate(_similarities(first, others)), self.top_n)

    @override
    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """`compress_documents`, without blocking the event loop."""
        if not documents:
            return []
        texts = _texts(documents)
        reference = with_provider(self.model, self.provider, self.base_url)
        with translated():
            client = self.core_client()
            name = self.provider_name(reference) or await client.get_provider_async()
            provider = await client.get_provider_async(name)
            rerank: Callable[..., Awaitable[list[Any]]] | None = getattr(provider, "rerank_async", None)
            if rerank is not None:
                found = await rerank(query, texts, top_n=self.top_n, model=model_of(reference))
                return _scored(documents, ((one.index, one.score) for one in found), self.top_n)
            first, *others = (await client.embed_async([query, *texts], reference)).tolist()
        return _scored(documents, enumerate(_similarities(first, others)), self.top_n)


def _texts(documents: Sequence[Document]) -> list[str]:
    with translated():
        for position, document in enumerate(documents):
            if not isinstance(document, Document):
                raise InvalidRequestError(
                    f"documents[{position}] is {type(document).__name__}", hint="wrap texts: Document('...')"
                )
    return [document.page_content for document in documents]


def _scored(documents: Sequence[Document], scores: Iterable[tuple[int, float]], top_n: int | None) -> list[Document]:
    """Copies of the documents with the best scores; equal ones stay in their order."""
    best = sorted(scores, key=lambda pair: -pair[1])[:top_n]
    return [
        documents[index].model_copy(update={"metadata": {**documents[index].metadata, "relevance_score": score}})
        for index, score in best
    ]


def _similarities(query: list[float], others: list[list[float]]) -> list[float]:
    """Cosine similarity of `query` with each of `others`, 0.0 where a vector has no direction."""
    length = _length(query)
    return [_dot(query, other) / (length * _length(other) or 1.0) for other in others]


def _dot(a: list[float], b: list[float]) -> float:
    return float(sum(map(mul, a, b)))


def _length(vector: list[float]) -> float:
    return sqrt(_dot(vector, vector))
