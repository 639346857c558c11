"""The LlamaIndex embeddings: batches, order, instructions, bounded concurrency, nothing secret."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator

import pytest
from llama_index.core import Document
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionPipeline

from llama_index.embeddings.unified_llm import UnifiedLLMEmbedding
from testkit.openai_double import OpenAIDouble

KEY = "sk-planted-0123456789"


@pytest.fixture
def openai() -> Iterator[OpenAIDouble]:
    with OpenAIDouble() as double:
        yield double
    assert double.violations == []


def over(double: OpenAIDouble, **options: object) -> UnifiedLLMEmbedding:
    return UnifiedLLMEmbedding("openai-compatible:text-test", base_url=double.url, api_key=KEY, **options)


async def test_sync_and_async_give_the_same_vectors_in_order(openai: OpenAIDouble) -> None:
    model = over(openai, embed_batch_size=2)
    texts = ["one", "two", "three", "four", "five"]
    vectors = model.get_text_embedding_batch(texts)
    assert len({tuple(v) for v in vectors}) == 5
    assert await model.aget_text_embedding_batch(texts) == vectors
    assert model.get_text_embedding("three") == vectors[2]
    assert len(openai.requests) == 3 + 3 + 1


def test_instructions_are_put_before_queries_and_texts(openai: OpenAIDouble) -> None:
    model = over(openai, query_instruction="query: ", text_instruction="passage: ")
    model.get_query_embedding("rain")
    model.get_text_embedding("rain")
    assert [r.body["input"] for r in openai.requests] == [["query: rain"], ["passage: rain"]]


async def test_many_batches_are_not_all_in_flight_at_once(openai: OpenAIDouble) -> None:
    model = over(openai, embed_batch_size=1, max_concurrency=3)
    vectors = await model.aget_text_embedding_batch([f"text {i}" for i in range(20)])
    assert len(vectors) == 20
    assert model._gates[asyncio.get_running_loop()]._value == 3


def test_a_pipeline_runs_and_its_cache_key_holds_no_secret(openai: OpenAIDouble) -> None:
    model = over(openai)
    nodes = IngestionPipeline(transformations=[model]).run(documents=[Document(text="rain")])
    assert nodes[0].embedding
    payload = model.to_payload() if hasattr(model, "to_payload") else None  # newer versions have it
    assert KEY not in f"{model!r} {model.to_dict()} {payload}"


def test_it_is_an_embedding_and_can_be_pickled_after_use() -> None:
    model = UnifiedLLMEmbedding("offline:")
    first = model.get_text_embedding("rain")
    again = pickle.loads(pickle.dumps(model))
    assert isinstance(again, BaseEmbedding)
    assert again.get_text_embedding("rain") == first
