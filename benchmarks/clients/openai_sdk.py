"""The openai package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import openai

from benchmarks import payloads

REQUIRES = ("openai",)
IMPORT = "import openai"
MESSAGES: Any = payloads.CHAT_MESSAGES


def _client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)


def _async_client(url: str, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0, **options)


def chat(url: str) -> Callable[[], str | None]:
    client = _client(url)

    def call() -> str | None:
        return client.chat.completions.create(model=payloads.MODEL, messages=MESSAGES).choices[0].message.content

    return call


def agent(url: str) -> Callable[[], str | None]:
    client = _client(url)
    messages: Any = payloads.agent_messages()
    tools: Any = payloads.tools()

    def call() -> str | None:
        answer = client.chat.completions.create(model=payloads.MODEL, messages=messages, tools=tools)
        return answer.choices[0].message.content

    return call


def chat_async(url: str, **options: Any) -> Callable[[], Awaitable[str | None]]:
    client = _async_client(url, **options)

    async def call() -> str | None:
        answer = await client.chat.completions.create(model=payloads.MODEL, messages=MESSAGES)
        return answer.choices[0].message.content

    return call


in_flight_64 = in_flight_256 = chat_async


def stream(url: str) -> Callable[[], Iterator[str]]:
    client = _client(url)

    def call() -> Iterator[str]:
        for chunk in client.chat.completions.create(model=payloads.MODEL, messages=MESSAGES, stream=True):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield text

    return call


def stream_async(url: str, **options: Any) -> Callable[[], AsyncIterator[str]]:
    client = _async_client(url, **options)

    async def call() -> AsyncIterator[str]:
        async for chunk in await client.chat.completions.create(model=payloads.MODEL, messages=MESSAGES, stream=True):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield text

    return call


def embeddings(url: str) -> Callable[[], list[list[float]]]:
    client = _client(url)
    return lambda: [r.embedding for r in client.embeddings.create(model=payloads.MODEL, input=payloads.TEXTS).data]
