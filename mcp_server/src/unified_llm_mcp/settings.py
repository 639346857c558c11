"""What the person who starts the server decides: models, limits, folders. Nothing here comes from a tool call."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from unified_llm.errors import ConfigurationError

__all__ = ["TOOL_NAMES", "Settings", "is_address", "is_loopback"]

TOOL_NAMES = ("chat", "embed", "list_models", "get_response")
_POSITIVE = (
    "max_output_chars", "max_attachment_bytes", "calls_per_minute", "max_concurrency", "heartbeat", "provider_timeout",
    "conversation_ttl", "result_ttl", "max_conversations", "max_results", "max_kept_bytes", "max_tokens", "timeout",
)  # fmt: skip
_NOT_NEGATIVE = ("max_wait", "max_queue", "max_spend_usd", "models_ttl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one server.

    Attributes:
        model: ``provider:model`` used when a chat names none; None lets the client choose.
        embed_model: the same for embeddings.
        tools: names of the tools to offer, of chat, embed, list_models, get_response.
        allow_dirs: folders attachments may be read from; none by default.
        max_wait: seconds a call may take before its result becomes a handle (clients give up at 60); 0 never.
        heartbeat: seconds of silence after which a progress notification without text is sent.
        max_tokens: most output tokens of one chat, None for the provider's own limit.
        max_output_chars: characters of an answer sent in a result; the rest is a resource.
        max_attachment_bytes: size of all attachments of a call together.
        calls_per_minute: tool calls of one caller; bursts of that many are fine.
        max_concurrency: calls to models at the same time; further ones wait.
        max_queue: calls of one caller that may wait; further ones are refused.
        max_spend_usd: most spending: chats and embeddings that may exceed it are refused, answers that were cut count.
            Calls whose cost is not known count as nothing.
        provider_timeout: seconds one provider gets to list its models.
        models_ttl: seconds a list of models is kept.
        conversation_ttl, result_ttl: seconds a conversation, or a kept result, lives after its last use.
        max_conversations, max_results: how many of each are kept for one caller; the oldest goes first.
        max_kept_bytes: about how much memory conversations, answers and vectors may each take; the oldest of the
            caller who has most goes first, and a conversation of an eighth of that is not continued.
        timeout: seconds without progress of a provider before a call fails, None for the client's own.

    Raises:
        ConfigurationError: a value that makes no sense, or a folder that is not there.
    """

    model: str | None = None
    embed_model: str | None = None
    tools: tuple[str, ...] = TOOL_NAMES
    allow_dirs: tuple[Path, ...] = ()
    max_wait: float = 50.0
    heartbeat: float = 5.0
    max_tokens: int | None = None
    max_output_chars: int = 100_000
    max_attachment_bytes: int = 20 * 1024 * 1024
    calls_per_minute: int = 600
    max_concurrency: int = 64
    max_queue: int = 256
    max_spend_usd: float | None = None
    provider_timeout: float = 5.0
    models_ttl: float = 60.0
    conversation_ttl: float = 24 * 3600.0
    result_ttl: float = 3600.0
    max_conversations: int = 1000
    max_results: int = 256
    max_kept_bytes: int = 256 * 1024 * 1024
    timeout: float | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.tools if name not in TOOL_NAMES]
        if unknown or not self.tools:
            raise ConfigurationError(
                f"unknown tool {unknown[0]!r}" if unknown else "no tool is offered",
                hint=f"tools are {', '.join(TOOL_NAMES)}",
            )
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:  # so written, it refuses NaN too
                raise ConfigurationError(
                    f"{name} must be greater than 0, not {value}", hint="leave it out for the default"
                )
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigurationError(f"{name} must be 0 or more, not {value}", hint="leave it out for the default")
        for folder in self.allow_dirs:
            if not folder.is_dir():
                raise ConfigurationError(
                    f"{folder} is no folder, so no attachment could come from it", hint="check the path of --allow-dir"
                )


def is_loopback(host: str) -> bool:
    """Whether an address to bind is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """Whether a value of the header Host, with or without a port, is an IP address rather than a name."""
    try:
        ipaddress.ip_address(re.sub(r":\d+$", "", host).strip("[]"))
    except ValueError:
        return False
    return True
