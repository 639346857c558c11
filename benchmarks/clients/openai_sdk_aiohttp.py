"""The openai package on its aiohttp client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import openai

from benchmarks.clients import openai_sdk

REQUIRES = ("openai", "httpx_aiohttp")
IMPORT = "import openai; openai.DefaultAioHttpClient()"


def chat_async(url: str) -> Callable[[], Awaitable[str | None]]:
    return openai_sdk.chat_async(url, http_client=openai.DefaultAioHttpClient())


in_flight_64 = in_flight_256 = chat_async


def stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    return openai_sdk.stream_async(url, http_client=openai.DefaultAioHttpClient())
