"""any-llm's client interface (its functions make a client for each call)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from any_llm import AnyLLM

from benchmarks import payloads

REQUIRES = ("any_llm",)
IMPORT = "import any_llm"


def _client(url: str) -> Any:
    return AnyLLM.create("openai", api_key="x", api_base=f"{url}/v1")


def chat(url: str) -> Callable[[], str]:
    client = _client(url)
    return lambda: client.completion(model=payloads.MODEL, messages=payloads.CHAT_MESSAGES).choices[0].message.content


def agent(url: str) -> Callable[[], str]:
    client = _client(url)
    arguments = {"model": payloads.MODEL, "messages": payloads.agent_messages(), "tools": payloads.tools()}
    return lambda: client.completion(**arguments).choices[0].message.content


def chat_async(url: str) -> Callable[[], Awaitable[str]]:
    client = _client(url)

    async def call() -> str:
        answer = await client.acompletion(model=payloads.MODEL, messages=payloads.CHAT_MESSAGES)
        return str(answer.choices[0].message.content)

    return call


in_flight_64 = in_flight_256 = chat_async


def stream(url: str) -> Callable[[], Iterator[str]]:
    client = _client(url)

    def call() -> Iterator[str]:
        for chunk in client.completion(model=payloads.MODEL, messages=payloads.CHAT_MESSAGES, stream=True):
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    return call


def stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    client = _client(url)

    async def call() -> AsyncIterator[str]:
        arguments = {"model": payloads.MODEL, "messages": payloads.CHAT_MESSAGES}
        async for chunk in await client.acompletion(**arguments, stream=True):
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    return call
