"""The yardstick: what a plain POST with httpx and `json.loads` costs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx

from benchmarks import payloads

REQUIRES = ("httpx",)
IMPORT = "import httpx, pydantic"
HEADERS = {"authorization": "Bearer x"}
CLAUDE_HEADERS = {"x-api-key": "x", "anthropic-version": "2023-06-01"}


def _body(**fields: Any) -> dict[str, Any]:
    return {"model": payloads.MODEL, **fields}


def _claude_body(**fields: Any) -> dict[str, Any]:
    return {"model": payloads.CLAUDE_MODEL, "max_tokens": 1024, "messages": payloads.CHAT_MESSAGES, **fields}


def chat(url: str) -> Callable[[], str]:
    client = httpx.Client(headers=HEADERS)

    def call() -> str:
        reply = client.post(f"{url}/v1/chat/completions", json=_body(messages=payloads.CHAT_MESSAGES))
        return str(json.loads(reply.content)["choices"][0]["message"]["content"])

    return call


def agent(url: str) -> Callable[[], str]:
    client = httpx.Client(headers=HEADERS)
    messages, tools = payloads.agent_messages(), payloads.tools()

    def call() -> str:
        reply = client.post(f"{url}/v1/chat/completions", json=_body(messages=messages, tools=tools))
        return str(json.loads(reply.content)["choices"][0]["message"]["content"])

    return call


def chat_async(url: str, **options: Any) -> Callable[[], Awaitable[str]]:
    client = httpx.AsyncClient(headers=HEADERS, timeout=600, **options)

    async def call() -> str:
        reply = await client.post(f"{url}/v1/chat/completions", json=_body(messages=payloads.CHAT_MESSAGES))
        return str(json.loads(reply.content)["choices"][0]["message"]["content"])

    return call


in_flight_64 = in_flight_256 = chat_async


def stream(url: str) -> Callable[[], Iterator[str]]:
    client = httpx.Client(headers=HEADERS)
    body = _body(messages=payloads.CHAT_MESSAGES, stream=True)

    def call() -> Iterator[str]:
        with client.stream("POST", f"{url}/v1/chat/completions", json=body) as reply:
            for line in reply.iter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        if text := choice["delta"].get("content"):
                            yield text

    return call


def stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    client = httpx.AsyncClient(headers=HEADERS)
    body = _body(messages=payloads.CHAT_MESSAGES, stream=True)

    async def call() -> AsyncIterator[str]:
        async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as reply:
            async for line in reply.aiter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        if text := choice["delta"].get("content"):
                            yield text

    return call


def embeddings(url: str) -> Callable[[], list[list[float]]]:
    client = httpx.Client(headers=HEADERS, timeout=600)

    def call() -> list[list[float]]:
        reply = client.post(f"{url}/v1/embeddings", json=_body(input=payloads.TEXTS))
        return [row["embedding"] for row in json.loads(reply.content)["data"]]

    return call


def claude_chat(url: str) -> Callable[[], str]:
    client = httpx.Client(headers=CLAUDE_HEADERS)

    def call() -> str:
        return str(json.loads(client.post(f"{url}/v1/messages", json=_claude_body()).content)["content"][0]["text"])

    return call


def claude_chat_async(url: str) -> Callable[[], Awaitable[str]]:
    client = httpx.AsyncClient(headers=CLAUDE_HEADERS, timeout=600)

    async def call() -> str:
        reply = await client.post(f"{url}/v1/messages", json=_claude_body())
        return str(json.loads(reply.content)["content"][0]["text"])

    return call


def _claude_text(line: str) -> str:
    if not line.startswith("data: "):
        return ""
    event = json.loads(line[6:])
    return str(event["delta"]["text"]) if event["type"] == "content_block_delta" else ""


def claude_stream(url: str) -> Callable[[], Iterator[str]]:
    client = httpx.Client(headers=CLAUDE_HEADERS)

    def call() -> Iterator[str]:
        with client.stream("POST", f"{url}/v1/messages", json=_claude_body(stream=True)) as reply:
            for line in reply.iter_lines():
                if text := _claude_text(line):
                    yield text

    return call


def claude_stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    client = httpx.AsyncClient(headers=CLAUDE_HEADERS)

    async def call() -> AsyncIterator[str]:
        async with client.stream("POST", f"{url}/v1/messages", json=_claude_body(stream=True)) as reply:
            async for line in reply.aiter_lines():
                if text := _claude_text(line):
                    yield text

    return call
