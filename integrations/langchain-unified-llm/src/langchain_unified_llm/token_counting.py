"""Token counts: the provider's where it can count, an estimate everywhere else, never a download."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.messages.utils import count_tokens_approximately

from langchain_unified_llm.call_options import call_options
from langchain_unified_llm.lc_to_core import to_core
from langchain_unified_llm.tool_binding import neutral_tool
from unified_llm.errors import UnifiedLLMError

if TYPE_CHECKING:
    from langchain_unified_llm.chat_settings import ChatSettings

__all__ = ["count_messages", "count_text"]

_log = logging.getLogger("unified_llm")


def count_messages(
    model: ChatSettings, messages: Sequence[BaseMessage], tools: Sequence[Any] | None, options: dict[str, Any]
) -> int:
    """Tokens of a prompt. An estimate where nobody can be asked: no server, no key, a piece of a history."""
    neutral = [neutral_tool(tool) for tool in tools or ()]
    try:
        config, _ = call_options(model, None, options)
        return model.core_client().count_tokens(to_core(messages), config, neutral or None)
    except UnifiedLLMError as exc:
        _log.debug("counting tokens by estimate: %s", exc)
        return int(count_tokens_approximately(messages, tools=[*neutral] or None))


def count_text(model: ChatSettings, text: str) -> int:
    """Tokens of one text, as the message of a user."""
    return count_messages(model, [HumanMessage(text)], None, {}) if text.strip() else 0
