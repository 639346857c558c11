"""A provider a test can steer from inside: it shows what was asked, holds answers back, and sees streams closed."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator
from typing import ClassVar

from unified_llm.errors import UnifiedLLMError
from unified_llm.messages import Message, Text
from unified_llm.providers.base import LLMProvider
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import Adjustment, ChatResponse, Embeddings, FinishReason, ModelInfo, Usage
from unified_llm.stream import PartEnd, StreamEnd, StreamEvent, StreamStart, TextDelta

__all__ = ["ProbeProvider"]


class ProbeProvider(LLMProvider):
    """Answers with `pieces`, after `gate` is set; records requests, and how many streams were open and closed early."""

    name: ClassVar[str] = "probe"

    def __init__(self, *pieces: str, cost: float | None = None, dimensions: int = 3) -> None:
        self.pieces = pieces or ("Hello", ", ", "world")
        self.cost = cost
        self.dimensions = dimensions
        self.gate: asyncio.Event | None = None
        self.first_piece_before_gate = False
        self.error: UnifiedLLMError | None = None
        self.adjustments: tuple[Adjustment, ...] = ()
        self.requests: list[ChatRequest] = []
        self.embed_requests: list[EmbedRequest] = []
        self.open_now = 0
        self.most_open = 0
        self.closed_early = 0
        self.changed = asyncio.Condition()

    def chat(self, request: ChatRequest) -> ChatResponse:
        raise AssertionError("the server is asynchronous throughout: it must stream")

    async def stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        self.requests.append(request)
        finished = False
        await self._count(+1)
        try:
            yield StreamStart(request.model)
            pieces = list(self.pieces)
            if self.first_piece_before_gate:
                yield TextDelta(pieces.pop(0))
            if self.gate is not None:
                await self.gate.wait()
            for piece in pieces:
                yield TextDelta(piece)
            if self.error is not None:
                raise self.error.with_context(partial=ChatResponse("".join(self.pieces)))
            yield PartEnd(Text("".join(self.pieces)))
            finished = True
            yield StreamEnd(self._response(request))
        finally:
            self.closed_early += not finished
            await self._count(-1)

    async def _count(self, change: int) -> None:
        self.open_now += change
        self.most_open = max(self.most_open, self.open_now)
        async with self.changed:
            self.changed.notify_all()

    async def wait_open(self, count: int, seconds: float = 10.0) -> None:
        """Return once exactly `count` streams are open; raises TimeoutError when that does not happen."""
        async with asyncio.timeout(seconds), self.changed:
            await self.changed.wait_for(lambda: self.open_now == count)

    def _response(self, request: ChatRequest) -> ChatResponse:
        return ChatResponse(
            Message("assistant", "".join(self.pieces)),
            model=request.model,
            provider=self.name,
            finish_reason=FinishReason.STOP,
            usage=Usage(input_tokens=5, output_tokens=3),
            cost=self.cost,
            latency=0.25,
            adjustments=self.adjustments,
            response_format=request.response_format,
        )

    async def embed_async(self, request: EmbedRequest) -> Embeddings:
        self.embed_requests.append(request)
        size = request.dimensions or self.dimensions
        vectors = [array("f", [0.1 * (i + 1)] * size) for i in range(len(request.texts))]
        return Embeddings(vectors, model=request.model, provider=self.name, usage=Usage(input_tokens=len(vectors)))

    def embed(self, request: EmbedRequest) -> Embeddings:
        raise AssertionError("the server is asynchronous throughout")

    async def list_models_async(self) -> list[ModelInfo]:
        return [
            ModelInfo("talker", self.name, kind="chat", context_window=8192, capabilities={"tools": "yes"}),
            ModelInfo("org/embedder", self.name, kind="embedding"),
            ModelInfo("mystery", self.name),
        ]

    def default_model(self) -> str:
        return "talker"

    def default_embedding_model(self) -> str:
        return "org/embedder"
