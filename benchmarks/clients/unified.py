"""This library, through its public façade."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

from benchmarks import payloads
from unified_llm import TextDelta, UnifiedLLM

REQUIRES = ("unified_llm",)
IMPORT = "from unified_llm import UnifiedLLM"


def _llm(url: str, **options: Any) -> UnifiedLLM:
    return UnifiedLLM(provider="openai-compatible", base_url=f"{url}/v1", model=payloads.MODEL, api_key="x", **options)


def _claude(url: str) -> UnifiedLLM:
    return UnifiedLLM(provider="claude", base_url=url, model=payloads.CLAUDE_MODEL, api_key="x")


def chat(url: str) -> Callable[[], str]:
    llm = _llm(url)
    return lambda: llm.chat(payloads.CHAT_MESSAGES)


def agent(url: str) -> Callable[[], str]:
    llm = _llm(url)
    messages, tools = payloads.agent_messages(), payloads.tools()
    return lambda: llm.chat(messages, tools=tools)


def chat_async(url: str, **options: Any) -> Callable[[], Awaitable[str]]:
    llm = _llm(url, **options)

    async def call() -> str:
        return await llm.chat_async(payloads.CHAT_MESSAGES)

    return call


in_flight_64 = in_flight_256 = chat_async


def stream(url: str) -> Callable[[], Iterator[str]]:
    llm = _llm(url)
    return lambda: (e.text for e in llm.stream(payloads.CHAT_MESSAGES) if type(e) is TextDelta)


def stream_async(url: str, **options: Any) -> Callable[[], AsyncIterator[str]]:
    llm = _llm(url, **options)
    return lambda: (e.text async for e in llm.stream_async(payloads.CHAT_MESSAGES) if type(e) is TextDelta)


def embeddings(url: str) -> Callable[[], Sequence[Sequence[float]]]:
    llm = _llm(url)
    return lambda: llm.embed(payloads.TEXTS, payloads.MODEL)


def claude_chat(url: str) -> Callable[[], str]:
    llm = _claude(url)
    return lambda: llm.chat(payloads.CHAT_MESSAGES)


def claude_chat_async(url: str) -> Callable[[], Awaitable[str]]:
    llm = _claude(url)

    async def call() -> str:
        return await llm.chat_async(payloads.CHAT_MESSAGES)

    return call


def claude_stream(url: str) -> Callable[[], Iterator[str]]:
    llm = _claude(url)
    return lambda: (e.text for e in llm.stream(payloads.CHAT_MESSAGES) if type(e) is TextDelta)


def claude_stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    llm = _claude(url)
    return lambda: (e.text async for e in llm.stream_async(payloads.CHAT_MESSAGES) if type(e) is TextDelta)
