"""A plain aiohttp session, as a second yardstick for async calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp

from benchmarks import payloads

REQUIRES = ("aiohttp",)
IMPORT = "import aiohttp"
HEADERS = {"authorization": "Bearer x"}
BODY = {"model": payloads.MODEL, "messages": payloads.CHAT_MESSAGES}


def chat_async(url: str) -> Callable[[], Awaitable[str]]:
    session = aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=0))

    async def call() -> str:
        async with session.post(f"{url}/v1/chat/completions", json=BODY) as reply:
            return str(json.loads(await reply.read())["choices"][0]["message"]["content"])

    return call


in_flight_64 = in_flight_256 = chat_async


def stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    session = aiohttp.ClientSession(headers=HEADERS)

    async def call() -> AsyncIterator[str]:
        async with session.post(f"{url}/v1/chat/completions", json={**BODY, "stream": True}) as reply:
            async for line in reply.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        if text := choice["delta"].get("content"):
                            yield text

    return call
