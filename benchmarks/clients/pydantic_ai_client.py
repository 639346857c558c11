"""pydantic-ai's model layer, without an agent around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import ModelRequest
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from benchmarks import payloads

REQUIRES = ("pydantic_ai",)
IMPORT = "import pydantic_ai.models.openai"


def _model(url: str) -> Any:
    return OpenAIChatModel(payloads.MODEL, provider=OpenAIProvider(base_url=f"{url}/v1", api_key="x"))


def chat_async(url: str) -> Callable[[], Awaitable[str]]:
    model, prompt = _model(url), ModelRequest.user_text_prompt(payloads.CHAT_MESSAGES[0]["content"])

    async def call() -> str:
        return str((await model_request(model, [prompt])).text)

    return call


in_flight_64 = in_flight_256 = chat_async


def stream_async(url: str) -> Callable[[], AsyncIterator[str]]:
    model, prompt = _model(url), ModelRequest.user_text_prompt(payloads.CHAT_MESSAGES[0]["content"])

    async def call() -> AsyncIterator[str]:
        async with model_request_stream(model, [prompt]) as events:
            async for event in events:
                part: Any = getattr(event, "delta", None) or getattr(event, "part", None)
                if event.event_kind == "part_start":
                    yield part.content
                elif event.event_kind == "part_delta":
                    yield part.content_delta

    return call
