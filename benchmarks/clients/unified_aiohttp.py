"""This library, async calls over its aiohttp transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from benchmarks.clients import unified

REQUIRES = ("unified_llm", "aiohttp")
IMPORT = "import unified_llm, unified_llm.drivers.aiohttp"


def chat_async(url: str) -> Callable[[], Awaitable[str]]:
    return unified.chat_async(url, transport="aiohttp")


in_flight_64 = in_flight_256 = chat_async


def stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    return unified.stream_async(url, transport="aiohttp")
