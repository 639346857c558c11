"""Reranking: a real reranking model where the backend has one, embeddings everywhere else, sync and async."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from math import sqrt
from typing import Any

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.exceptions import ModelAuthenticationError, ModelInvalidRequestError, ModelRateLimitError
from pydantic import ValidationError

from langchain_unified_llm import UnifiedLLMEmbeddings, UnifiedLLMRerank
from testkit.llama import LlamaServer, start_llama_server
from testkit.openai_double import Fail, OpenAIDouble
from testkit.tiny_gguf import TinyModel, write_tiny_gguf
from unified_llm import UnifiedLLM
from unified_llm.errors import AuthenticationError, InvalidRequestError, UnsupportedOptionError

KEY = "llama-key-123456"
DOCUMENTS = [
    Document("Trains run on rails.", metadata={"source": "a"}, id="1"),
    Document("Cats sleep sixteen hours a day.", metadata={"source": "b"}, id="2"),
    Document("Bread is baked in an oven.", metadata={"source": "c"}, id="3"),
]
TEXTS = [document.page_content for document in DOCUMENTS]
QUERY = "How many hours do cats sleep?"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """A llama.cpp server with a reranking model, which asks for a key."""
    path = write_tiny_gguf(tmp_path_factory.mktemp("models") / "tiny-rerank.gguf", TinyModel(kind="rerank"))
    with start_llama_server(path, kind="rerank", api_key=KEY, context=512, parallel=1) as server:
        yield server


def scores(documents: Any) -> list[float]:
    return [document.metadata["relevance_score"] for document in documents]


# -- a backend that can rerank ----------------------------------------------------------------------------------------


async def test_a_server_that_can_rerank_is_asked_to(engine: LlamaServer) -> None:
    rerank = UnifiedLLMRerank(model="llamacpp:tiny-rerank", base_url=engine.url, api_key=KEY, top_n=None)
    assert isinstance(rerank, BaseDocumentCompressor)
    ranked = rerank.compress_documents(DOCUMENTS, QUERY)
    provider: Any = rerank.core_client().get_provider("llamacpp")
    theirs = provider.rerank(QUERY, TEXTS)
    assert [(d.page_content, d.metadata["relevance_score"]) for d in ranked] == [(r.document, r.score) for r in theirs]
    assert await rerank.acompress_documents(DOCUMENTS, QUERY) == ranked
    best = rerank.model_copy(update={"top_n": 1})
    assert best.compress_documents(DOCUMENTS, QUERY) == ranked[:1]
    assert await best.acompress_documents(DOCUMENTS, QUERY) == ranked[:1]
    await rerank.aclose()


async def test_a_refused_key_is_langchains_error_too_and_is_not_shown(engine: LlamaServer) -> None:
    rerank = UnifiedLLMRerank(model="llamacpp:", base_url=engine.url, api_key="wrong-key-654321")
    with pytest.raises(ModelAuthenticationError) as caught:
        rerank.compress_documents(DOCUMENTS, QUERY)
    assert isinstance(caught.value, AuthenticationError)
    assert "wrong-key" not in f"{caught.value!r}{caught.value}{rerank!r}"
    with pytest.raises(ModelAuthenticationError):
        await rerank.acompress_documents(DOCUMENTS, QUERY)
    await rerank.aclose()


async def test_a_server_without_a_reranking_model_says_how_to_get_one(llama_server: LlamaServer) -> None:
    rerank = UnifiedLLMRerank(model="llamacpp:", base_url=llama_server.url)
    with pytest.raises(UnsupportedOptionError, match="reranking") as caught:
        rerank.compress_documents(DOCUMENTS, QUERY)
    assert isinstance(caught.value, ModelInvalidRequestError)
    with pytest.raises(UnsupportedOptionError, match="reranking"):
        await rerank.acompress_documents(DOCUMENTS, QUERY)
    await rerank.aclose()


# -- every other backend ----------------------------------------------------------------------------------------------


async def test_elsewhere_documents_are_compared_by_their_embeddings() -> None:
    rerank = UnifiedLLMRerank(model="offline", top_n=2)
    ranked = rerank.compress_documents(DOCUMENTS, QUERY)
    assert ranked[0].page_content == "Cats sleep sixteen hours a day."
    assert len(ranked) == 2
    assert scores(ranked) == sorted(scores(ranked), reverse=True)
    assert await rerank.acompress_documents(DOCUMENTS, QUERY) == ranked
    embeddings = UnifiedLLMEmbeddings(model="offline")
    one, two = embeddings.embed_query(QUERY), embeddings.embed_query(ranked[0].page_content)
    cosine = sum(a * b for a, b in zip(one, two, strict=True)) / sqrt(sum(a * a for a in one) * sum(b * b for b in two))
    assert scores(ranked)[0] == pytest.approx(cosine)


def test_what_was_retrieved_keeps_its_id_and_metadata_and_is_not_changed() -> None:
    before = pickle.dumps(DOCUMENTS)
    best = UnifiedLLMRerank(model="offline", top_n=1).compress_documents(DOCUMENTS, QUERY)[0]
    assert (best.id, best.metadata["source"]) == ("2", "b")
    assert pickle.dumps(DOCUMENTS) == before


def test_documents_that_are_equally_good_stay_in_their_order() -> None:
    same = [Document("Cats sleep.", id=str(i)) for i in range(5)]
    ranked = UnifiedLLMRerank(model="offline", top_n=None).compress_documents(same, QUERY)
    assert [document.id for document in ranked] == ["0", "1", "2", "3", "4"]


async def test_the_embedding_model_that_was_named_is_asked_with_texts() -> None:
    with OpenAIDouble("lmstudio") as double:
        rerank = UnifiedLLMRerank(model="lmstudio:double-embed-1", base_url=double.url)
        assert len(rerank.compress_documents(DOCUMENTS, QUERY)) == 3
        assert len(await rerank.acompress_documents(DOCUMENTS, QUERY)) == 3
        await rerank.aclose()
    bodies = [request.body for request in double.requests if request.path == "/embeddings"]
    assert [(body["model"], body["input"]) for body in bodies] == [("double-embed-1", [QUERY, *TEXTS])] * 2


async def test_no_documents_ask_nobody() -> None:
    rerank = UnifiedLLMRerank(model="openai-compatible:m", base_url="http://127.0.0.1:9")
    assert rerank.compress_documents([], QUERY) == await rerank.acompress_documents([], QUERY) == []


async def test_failures_are_langchains_errors_too() -> None:
    with OpenAIDouble().script(Fail(429), Fail(429)) as double:
        client = UnifiedLLM("openai-compatible", base_url=double.url, max_retries=0)
        rerank = UnifiedLLMRerank(client=client, model="openai-compatible:m")
        with pytest.raises(ModelRateLimitError):
            rerank.compress_documents(DOCUMENTS, QUERY)
        with pytest.raises(ModelRateLimitError):
            await rerank.acompress_documents(DOCUMENTS, QUERY)
        await client.aclose()
    offline = UnifiedLLMRerank(model="offline")
    for query, documents in (("  ", DOCUMENTS), (QUERY, [Document("ok"), Document(" ")])):
        with pytest.raises(InvalidRequestError) as caught:
            offline.compress_documents(documents, query)
        assert isinstance(caught.value, ModelInvalidRequestError)


def test_a_backend_without_embeddings_says_so(claude_double: Any) -> None:
    rerank = UnifiedLLMRerank(model="claude:claude-haiku-5-5", api_key=claude_double.key, base_url=claude_double.url)
    with pytest.raises(UnsupportedOptionError) as caught:
        rerank.compress_documents(DOCUMENTS, QUERY)
    assert caught.value.hint


async def test_the_backend_may_be_found_at_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_LLM_PROVIDER", "offline")
    assert UnifiedLLMRerank().compress_documents(DOCUMENTS, QUERY)[0].id == "2"
    assert (await UnifiedLLMRerank().acompress_documents(DOCUMENTS, QUERY))[0].id == "2"


async def test_texts_in_the_place_of_documents_are_refused() -> None:
    texts: Any = ["Cats purr."]
    with pytest.raises(InvalidRequestError, match="is str"):
        UnifiedLLMRerank(model="offline").compress_documents(texts, "cats")
    with pytest.raises(InvalidRequestError, match="is str"):
        await UnifiedLLMRerank(model="offline").acompress_documents(texts, "cats")


def test_a_number_of_documents_that_is_none_is_refused_at_construction() -> None:
    with pytest.raises(ValidationError, match="top_n"):
        UnifiedLLMRerank(model="offline", top_n=0)


def test_constructing_asks_nobody_and_shows_no_key(no_network: None) -> None:
    rerank = UnifiedLLMRerank(model="llamacpp:m", api_key="planted-key-1")
    assert "planted-key-1" not in f"{rerank!r}{rerank.model_dump_json()}"
    assert pickle.loads(pickle.dumps(rerank)) == rerank
