"""Embeddings: texts, never tokens; in order, in batches, sync and async; and a retrieval chain that works offline."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.exceptions import ModelAPIError, ModelInvalidRequestError, ModelRateLimitError
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError

from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings, UnifiedLLMRerank
from testkit.openai_double import Fail, OpenAIDouble
from unified_llm import UnifiedLLM
from unified_llm.errors import UnifiedLLMError

TEXTS = [f"text number {i}" for i in range(300)]


async def test_vectors_come_in_the_order_of_the_texts_and_the_same_sync_and_async() -> None:
    with OpenAIDouble("lmstudio") as double:
        embeddings = UnifiedLLMEmbeddings(model="lmstudio:double-embed-1", base_url=double.url)
        vectors = embeddings.embed_documents(TEXTS)
        assert vectors == await embeddings.aembed_documents(TEXTS)
        assert vectors[7] == embeddings.embed_query(TEXTS[7]) == await embeddings.aembed_query(TEXTS[7])
    assert len(vectors) == 300
    assert all(type(number) is float for number in vectors[0])
    inputs = [request.body["input"] for request in double.requests]
    assert all(isinstance(text, str) for batch in inputs for text in ([batch] if isinstance(batch, str) else batch))


async def test_no_texts_ask_nobody() -> None:
    with OpenAIDouble() as double:
        embeddings = UnifiedLLMEmbeddings(model="openai-compatible:m", base_url=double.url)
        assert embeddings.embed_documents([]) == await embeddings.aembed_documents([]) == []
        assert double.requests == []


def test_dimensions_are_asked_for_and_a_server_that_ignores_them_is_not_believed() -> None:
    with OpenAIDouble("openai", api_key="k") as double:
        embeddings = UnifiedLLMEmbeddings(model="openai:double-embed-1", base_url=double.url, api_key="k", dimensions=8)
        embeddings.embed_query("x")
    assert double.requests[-1].body["dimensions"] == 8


async def test_errors_are_langchains_too() -> None:
    with OpenAIDouble().script(Fail(429), Fail(429)) as double:
        client = UnifiedLLM("openai-compatible", base_url=double.url, max_retries=0)
        embeddings = UnifiedLLMEmbeddings(client=client, model="openai-compatible:m")
        with pytest.raises(ModelRateLimitError):
            embeddings.embed_query("x")
        with pytest.raises(ModelRateLimitError):
            await embeddings.aembed_query("x")
    with pytest.raises(ModelInvalidRequestError) as caught:
        UnifiedLLMEmbeddings(model="offline").embed_documents(["ok", "  "])
    assert isinstance(caught.value, UnifiedLLMError)


async def test_one_text_where_a_list_belongs_is_an_error_and_not_a_vector_for_each_letter() -> None:
    embeddings = UnifiedLLMEmbeddings(model="offline")
    text: Any = "abc"
    with pytest.raises(ModelInvalidRequestError, match="embed_query"):
        embeddings.embed_documents(text)
    with pytest.raises(ModelInvalidRequestError, match="embed_query"):
        await embeddings.aembed_documents(text)


async def test_retries_and_limits_are_those_of_the_fields() -> None:
    with OpenAIDouble().script(*[Fail(500)] * 4) as double:
        client = UnifiedLLM("openai-compatible", base_url=double.url)
        embeddings = UnifiedLLMEmbeddings(client=client, model="openai-compatible:m", max_retries=0)
        with pytest.raises(ModelAPIError):
            embeddings.embed_query("x")
        with pytest.raises(ModelAPIError):
            await embeddings.aembed_query("x")
        assert len(double.requests) == 2
        with pytest.raises(ModelAPIError):
            UnifiedLLMEmbeddings(client=client, model="openai-compatible:m", max_retries=1).embed_query("x")
        assert len(double.requests) == 4
    with pytest.raises(ValidationError):
        UnifiedLLMEmbeddings(deadline=0)


def test_a_label_groups_the_calls() -> None:
    client = UnifiedLLM("offline")
    UnifiedLLMEmbeddings(client=client, label="index").embed_query("x")
    assert client.usage.total(label="index").calls == 1


def test_an_unknown_parameter_is_not_sent_to_a_field_that_is_not_there() -> None:
    options: dict[str, Any] = {"model": "offline", "chunk_size": 3}
    with pytest.warns(UserWarning, match="'chunk_size' is not sent$"):
        UnifiedLLMEmbeddings(**options)


def test_a_client_may_be_shared_with_the_chat_model() -> None:
    with UnifiedLLM("offline") as client:
        assert UnifiedLLMEmbeddings(client=client).embed_query("x")
        assert ChatUnifiedLLM(client=client).invoke("x").text


async def test_a_retrieval_chain_finds_what_was_asked() -> None:
    store = InMemoryVectorStore(UnifiedLLMEmbeddings(model="offline"))
    facts = ["Cats sleep sixteen hours a day.", "Trains run on rails.", "Bread is baked in an oven."]
    await store.aadd_documents([Document(fact) for fact in facts])
    prompt = ChatPromptTemplate.from_template("Context: {context}\nQuestion: {question}")
    retriever = store.as_retriever(search_kwargs={"k": 1})
    chain = (
        {"context": retriever | (lambda found: found[0].page_content), "question": RunnablePassthrough()}
        | prompt
        | ChatUnifiedLLM(model="offline")
        | StrOutputParser()
    )
    assert "Trains run on rails." in await chain.ainvoke("Where do trains run?")
    assert "sixteen hours" in chain.invoke("How long do cats sleep?")


async def test_a_retrieval_chain_keeps_the_best_of_what_was_found() -> None:
    store = InMemoryVectorStore(UnifiedLLMEmbeddings(model="offline"))
    facts = ["Cats sleep sixteen hours a day.", "Trains run on rails.", "Bread is baked in an oven."]
    await store.aadd_documents([Document(fact) for fact in facts])
    retriever, rerank = store.as_retriever(search_kwargs={"k": 3}), UnifiedLLMRerank(model="offline", top_n=1)

    def best(question: str) -> str:
        (found,) = rerank.compress_documents(retriever.invoke(question), question)
        return found.page_content

    prompt = ChatPromptTemplate.from_template("Context: {context}\nQuestion: {question}")
    chain = {"context": best, "question": RunnablePassthrough()} | prompt | ChatUnifiedLLM(model="offline")
    assert "Trains run on rails." in chain.invoke("Where do trains run?").text
    assert "Trains run on rails." in (await chain.ainvoke("Where do trains run?")).text
