"""What the tools of one server share: the client, the settings, and everything that lives between two calls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from unified_llm import ChatResponse, Embeddings, Message, UnifiedLLM
from unified_llm_mcp.arguments import EmbedArguments
from unified_llm_mcp.catalogue import ModelCatalogue
from unified_llm_mcp.expiring import ExpiringStore
from unified_llm_mcp.limits import Limits
from unified_llm_mcp.runs import Run, Runs
from unified_llm_mcp.settings import Settings
from unified_llm_mcp.spending import Spending
from unified_llm_mcp.usage import UsageLog
from unified_llm_mcp.weights import weight_of_vectors

__all__ = ["Answer", "ChatRun", "Conversation", "EmbedRun", "ServerState"]

MOST_EMBED_RUNS = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is complete, with the object in it when one was asked for, and what is to be said of it."""

    response: ChatResponse
    data: dict[str, Any] | None = None
    note: str | None = None


@dataclass(slots=True)
class ChatRun:
    """A chat in flight, or done, and what its result says besides the answer."""

    subject: str
    run: Run[Answer]
    model: str
    notes: list[str]
    conversation_id: str | None = None
    response_id: str | None = None
    asked: tuple[str, str] = ("", "")
    """Provider and model as far as known, for results of a chat that is not complete."""

    @property
    def complete(self) -> bool:
        """Whether it has an answer, or a failure."""
        return self.run.done and not self.run.cancelled


@dataclass(frozen=True, slots=True)
class EmbedRun:
    """Embeddings that took longer than the client waits."""

    arguments: EmbedArguments
    run: Run[Embeddings]


@dataclass(slots=True)
class Conversation:
    """A history kept between calls. `turn` is held while a message is being answered, so that turns do not mix."""

    title: str = ""
    messages: tuple[Message, ...] = ()
    system: str | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    weight: int = 0


class ServerState:
    """Made once per server; `aclose` stops what is still running. The client belongs to whoever made it."""

    def __init__(self, client: UnifiedLLM, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        self.limits = Limits(settings)
        self.spending = Spending(client, settings.max_spend_usd)
        self.models = ModelCatalogue(client, settings)
        self.usage = UsageLog()
        client.add_hook(self.usage)
        self.runs = Runs()
        self.schema_processes = asyncio.Semaphore(2)
        self.results: ExpiringStore[ChatRun] = ExpiringStore(
            "resp",
            ttl=settings.result_ttl,
            capacity=settings.max_results,
            dropped=lambda kept: kept.run.cancel(),
            weight=lambda kept: kept.run.length,
            max_weight=settings.max_kept_bytes,
        )
        self.conversations: ExpiringStore[Conversation] = ExpiringStore(
            "conv",
            ttl=settings.conversation_ttl,
            capacity=settings.max_conversations,
            weight=lambda kept: kept.weight,
            max_weight=settings.max_kept_bytes,
        )
        self.embed_runs: ExpiringStore[EmbedRun] = ExpiringStore(
            "run", ttl=settings.result_ttl, capacity=MOST_EMBED_RUNS, dropped=lambda kept: kept.run.cancel()
        )
        self.embeddings: ExpiringStore[Embeddings] = ExpiringStore(
            "emb",
            ttl=settings.result_ttl,
            capacity=settings.max_results,
            weight=weight_of_vectors,
            max_weight=settings.max_kept_bytes,
        )

    async def aclose(self) -> None:
        """Cancel every call in flight; upstream requests are closed."""
        await self.runs.aclose()
        await self.models.aclose()
