"""LangChain's Anthropic integration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import convert_to_messages

from benchmarks import payloads

REQUIRES = ("langchain_anthropic",)
IMPORT = "import langchain_anthropic"
MESSAGES = convert_to_messages(payloads.CHAT_MESSAGES)


def _model(url: str) -> Any:
    options: dict[str, Any] = {"model": payloads.CLAUDE_MODEL, "base_url": url, "api_key": "x", "max_retries": 0}
    return ChatAnthropic(**options | {"max_tokens": 1024})


def claude_chat(url: str) -> Callable[[], str]:
    model = _model(url)
    return lambda: str(model.invoke(MESSAGES).content)


def claude_chat_async(url: str) -> Callable[[], Awaitable[str]]:
    model = _model(url)

    async def call() -> str:
        return str((await model.ainvoke(MESSAGES)).content)

    return call


def claude_stream(url: str) -> Callable[[], Iterator[str]]:
    model = _model(url)
    return lambda: (str(chunk.text) for chunk in model.stream(MESSAGES))


def claude_stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    model = _model(url)

    async def call() -> AsyncIterator[str]:
        async for chunk in model.astream(MESSAGES):
            yield str(chunk.text)

    return call
