"""The successor of httpx, in the same plain use."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator

import httpx2

from benchmarks import payloads

REQUIRES = ("httpx2",)
IMPORT = "import httpx2"
HEADERS = {"authorization": "Bearer x"}
BODY = {"model": payloads.MODEL, "messages": payloads.CHAT_MESSAGES}


def chat(url: str) -> Callable[[], str]:
    client = httpx2.Client(headers=HEADERS)

    def call() -> str:
        reply = client.post(f"{url}/v1/chat/completions", json=BODY)
        return str(json.loads(reply.content)["choices"][0]["message"]["content"])

    return call


def chat_async(url: str) -> Callable[[], Awaitable[str]]:
    client = httpx2.AsyncClient(headers=HEADERS, timeout=600)

    async def call() -> str:
        reply = await client.post(f"{url}/v1/chat/completions", json=BODY)
        return str(json.loads(reply.content)["choices"][0]["message"]["content"])

    return call


in_flight_64 = in_flight_256 = chat_async


def stream(url: str) -> Callable[[], Iterator[str]]:
    client = httpx2.Client(headers=HEADERS)

    def call() -> Iterator[str]:
        with client.stream("POST", f"{url}/v1/chat/completions", json={**BODY, "stream": True}) as reply:
            for line in reply.iter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        if text := choice["delta"].get("content"):
                            yield text

    return call
