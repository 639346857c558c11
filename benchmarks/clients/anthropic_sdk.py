"""The anthropic package, as its documentation shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anthropic

from benchmarks import payloads

REQUIRES = ("anthropic",)
IMPORT = "import anthropic"
ARGUMENTS: dict[str, Any] = {
    "model": payloads.CLAUDE_MODEL,
    "max_tokens": 1024,
    "messages": payloads.CHAT_MESSAGES,
}


def _text(message: Any) -> str:
    return str(message.content[0].text)


def claude_chat(url: str) -> Callable[[], str]:
    client = anthropic.Anthropic(base_url=url, api_key="x", max_retries=0)
    return lambda: _text(client.messages.create(**ARGUMENTS))


def claude_chat_async(url: str) -> Callable[[], Awaitable[str]]:
    client = anthropic.AsyncAnthropic(base_url=url, api_key="x", max_retries=0)

    async def call() -> str:
        return _text(await client.messages.create(**ARGUMENTS))

    return call


def claude_stream(url: str) -> Callable[[], Iterator[str]]:
    client = anthropic.Anthropic(base_url=url, api_key="x", max_retries=0)

    def call() -> Iterator[str]:
        for event in client.messages.create(**ARGUMENTS, stream=True):
            if event.type == "content_block_delta":
                yield event.delta.text

    return call


def claude_stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    client = anthropic.AsyncAnthropic(base_url=url, api_key="x", max_retries=0)

    async def call() -> AsyncIterator[str]:
        async for event in await client.messages.create(**ARGUMENTS, stream=True):
            if event.type == "content_block_delta":
                yield event.delta.text

    return call
