"""Standard content blocks for our messages under the names of vendors that LangChain has translators for.

`AIMessage.content_blocks` asks the translator registered for the message's `model_provider`. LangChain's own expect the
content that their integration writes; for the plain text of ours some of them forget tool calls and reasoning. So
each is wrapped once: for messages that this package made it adds what is missing, others pass through untouched.
Where this package is not imported (a viewer of stored messages, say) only that addition is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.block_translators import PROVIDER_TRANSLATORS, register_translator

__all__ = ["MADE_BY", "install"]

MADE_BY = "unified-llm"  # response_metadata["integration"] of our messages

Translate: TypeAlias = Callable[[Any], list[Any]]


def install() -> None:
    """Wrap the translators registered so far. Doing it twice changes nothing."""
    for vendor, functions in list(PROVIDER_TRANSLATORS.items()):
        if not hasattr(functions["translate_content"], "__wrapped__"):
            register_translator(vendor, *(_completing(functions[name]) for name in _NAMES))


_NAMES = ("translate_content", "translate_content_chunk")


def _completing(translate: Translate) -> Translate:
    def completed(message: AIMessage) -> list[Any]:
        blocks = translate(message)
        if message.response_metadata.get("integration") != MADE_BY or not isinstance(message.content, str):
            return blocks
        return _completed(message, [block for block in blocks if block != {"type": "text", "text": ""}])

    completed.__wrapped__ = translate  # type: ignore[attr-defined]
    return completed


def _completed(message: AIMessage, blocks: list[Any]) -> list[Any]:
    kinds = {block["type"] for block in blocks}
    reasoning = message.additional_kwargs.get("reasoning_content")
    if reasoning and "reasoning" not in kinds:
        blocks.insert(0, {"type": "reasoning", "reasoning": reasoning})
    if not kinds & {"tool_call", "tool_call_chunk"}:
        blocks += _calls(message)
    return blocks


def _calls(message: AIMessage) -> list[dict[str, Any]]:
    if isinstance(message, AIMessageChunk) and message.chunk_position != "last":
        return [{**chunk, "type": "tool_call_chunk"} for chunk in message.tool_call_chunks]
    return [{**call, "type": "tool_call"} for call in message.tool_calls]
