"""LangChain's OpenAI integration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from langchain_core.messages import convert_to_messages
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from benchmarks import payloads

REQUIRES = ("langchain_openai",)
IMPORT = "import langchain_openai"


def _model(url: str) -> Any:
    return ChatOpenAI(**_options(url))


def _options(url: str) -> dict[str, Any]:
    return {"model": payloads.MODEL, "base_url": f"{url}/v1", "api_key": "x", "max_retries": 0}


def chat(url: str) -> Callable[[], str]:
    model, messages = _model(url), convert_to_messages(payloads.CHAT_MESSAGES)
    return lambda: str(model.invoke(messages).content)


def agent(url: str) -> Callable[[], str]:
    model, messages = _model(url).bind_tools(payloads.tools()), convert_to_messages(payloads.agent_messages())
    return lambda: str(model.invoke(messages).content)


def chat_async(url: str) -> Callable[[], Awaitable[str]]:
    model, messages = _model(url), convert_to_messages(payloads.CHAT_MESSAGES)

    async def call() -> str:
        return str((await model.ainvoke(messages)).content)

    return call


in_flight_64 = in_flight_256 = chat_async


def stream(url: str) -> Callable[[], Iterator[str]]:
    model, messages = _model(url), convert_to_messages(payloads.CHAT_MESSAGES)
    return lambda: (str(chunk.content) for chunk in model.stream(messages))


def stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    model, messages = _model(url), convert_to_messages(payloads.CHAT_MESSAGES)

    async def call() -> AsyncIterator[str]:
        async for chunk in model.astream(messages):
            yield str(chunk.content)

    return call


def embeddings(url: str) -> Callable[[], list[list[float]]]:
    whole = {"chunk_size": payloads.VECTORS, "check_embedding_ctx_length": False}
    model = OpenAIEmbeddings(**_options(url) | whole)
    return lambda: model.embed_documents(payloads.TEXTS)
