"""LiteLLM's function interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import litellm

from benchmarks import payloads

REQUIRES = ("litellm",)
IMPORT = "import litellm"
MODEL = f"openai/{payloads.MODEL}"


def _options(url: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "api_base": f"{url}/v1", "api_key": "x", "num_retries": 0, **more}


def chat(url: str) -> Callable[[], str]:
    options = _options(url, messages=payloads.CHAT_MESSAGES)
    return lambda: litellm.completion(**options).choices[0].message.content


def agent(url: str) -> Callable[[], str]:
    options = _options(url, messages=payloads.agent_messages(), tools=payloads.tools())
    return lambda: litellm.completion(**options).choices[0].message.content


def chat_async(url: str) -> Callable[[], Awaitable[str]]:
    options = _options(url, messages=payloads.CHAT_MESSAGES)

    async def call() -> str:
        return str((await litellm.acompletion(**options)).choices[0].message.content)

    return call


in_flight_64 = in_flight_256 = chat_async


def stream(url: str) -> Callable[[], Iterator[str]]:
    options = _options(url, messages=payloads.CHAT_MESSAGES, stream=True)
    return lambda: (c.choices[0].delta.content or "" for c in litellm.completion(**options) if c.choices)


def stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    options = _options(url, messages=payloads.CHAT_MESSAGES, stream=True)

    async def call() -> AsyncIterator[str]:
        async for chunk in await litellm.acompletion(**options):
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    return call


def embeddings(url: str) -> Callable[[], list[list[float]]]:
    options = _options(url, input=payloads.TEXTS, encoding_format="float")
    return lambda: [row["embedding"] for row in litellm.embedding(**options).data]
