"""One client for every language model. `from unified_llm import UnifiedLLM`.

Importing this package loads no vendor SDK, no HTTP library and no framework: names are resolved on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from unified_llm.cache import MemoryCache, ResponseCache, SQLiteCache
    from unified_llm.chat_stream import AsyncChatStream, AsyncTextStream, ChatStream, StreamChunk, TextStream
    from unified_llm.client import UnifiedLLM
    from unified_llm.comparison import Comparison, compare, compare_async
    from unified_llm.conversations import Conversation, ConversationManager
    from unified_llm.costs import Budget, BudgetExceeded, Ledger, Price, PriceTable, Totals, UsageHooks, UsageRecord
    from unified_llm.credentials.manager import CredentialManager, CredentialSource
    from unified_llm.errors import (
        APIConnectionError,
        APIError,
        APITimeoutError,
        AuthenticationError,
        ConfigurationError,
        ContentFilterError,
        ContextLengthError,
        InvalidBaseURLError,
        InvalidMessageError,
        InvalidRequestError,
        MissingCredentialError,
        MissingDependencyError,
        ModelNotFoundError,
        OverloadedError,
        PaymentRequiredError,
        PermissionDeniedError,
        RateLimitError,
        RequestTooLargeError,
        ResponseError,
        ServerError,
        StreamInterruptedError,
        StructuredOutputError,
        UnifiedLLMError,
        UnknownProviderError,
        UnsupportedOptionError,
    )
    from unified_llm.flow.hooks import CallInfo, Hooks
    from unified_llm.logs import RedactingFilter
    from unified_llm.messages import (
        Audio,
        File,
        Image,
        Message,
        MessageRole,
        Native,
        Opaque,
        Origin,
        Part,
        Text,
        Thinking,
        ToolCall,
        ToolResult,
    )
    from unified_llm.messages import ToolResult as ToolCallResult
    from unified_llm.policy import BreakerSettings, Deployment, Limits, RetryPolicy
    from unified_llm.providers.base import LLMProvider
    from unified_llm.providers.claude import ClaudeProvider
    from unified_llm.providers.lmstudio import LMStudioProvider
    from unified_llm.providers.local import LocalProvider
    from unified_llm.providers.offline import OfflineProvider
    from unified_llm.providers.openai import OpenAICompatibleProvider
    from unified_llm.providers.registry import PROVIDER_CONFIGS, ProviderConfig, register_provider
    from unified_llm.requests import ChatRequest, EmbedRequest, ModelConfig, ResponseFormat
    from unified_llm.responses import (
        Adjustment,
        Attempt,
        ChatResponse,
        Embedding,
        Embeddings,
        FinishReason,
        ModelInfo,
        Usage,
    )
    from unified_llm.stream import (
        CitationDelta,
        Finish,
        PartEnd,
        Progress,
        StreamEnd,
        StreamEvent,
        StreamStart,
        TextDelta,
        ThinkingDelta,
        ToolCallDelta,
        ToolCallStart,
        UsageUpdate,
    )
    from unified_llm.telemetry import OpenTelemetryHooks
    from unified_llm.tools import Tool, ToolChoice

_HOMES: dict[str, str] = {
    "cache": "MemoryCache ResponseCache SQLiteCache",
    "chat_stream": "AsyncChatStream AsyncTextStream ChatStream StreamChunk TextStream",
    "client": "UnifiedLLM",
    "comparison": "Comparison compare compare_async",
    "conversations": "Conversation ConversationManager",
    "errors": "APIConnectionError APIError APITimeoutError AuthenticationError ConfigurationError ContentFilterError "
    "ContextLengthError InvalidBaseURLError InvalidMessageError InvalidRequestError MissingCredentialError "
    "MissingDependencyError ModelNotFoundError OverloadedError PaymentRequiredError PermissionDeniedError "
    "RateLimitError RequestTooLargeError ResponseError ServerError StreamInterruptedError StructuredOutputError "
    "UnifiedLLMError UnknownProviderError UnsupportedOptionError",
    "flow.hooks": "CallInfo Hooks",
    "logs": "RedactingFilter",
    "messages": "Audio File Image Message MessageRole Native Opaque Origin Part Text Thinking ToolCall ToolResult",
    "costs": "Budget BudgetExceeded Ledger Price PriceTable Totals UsageHooks UsageRecord",
    "credentials.manager": "CredentialManager CredentialSource",
    "policy": "BreakerSettings Deployment Limits RetryPolicy",
    "providers.base": "LLMProvider",
    "providers.claude": "ClaudeProvider",
    "providers.lmstudio": "LMStudioProvider",
    "providers.local": "LocalProvider",
    "providers.offline": "OfflineProvider",
    "providers.openai": "OpenAICompatibleProvider",
    "providers.registry": "PROVIDER_CONFIGS ProviderConfig register_provider",
    "requests": "ChatRequest EmbedRequest ModelConfig ResponseFormat",
    "responses": "Adjustment Attempt ChatResponse Embedding Embeddings FinishReason ModelInfo Usage",
    "stream": "CitationDelta Finish PartEnd Progress StreamEnd StreamEvent StreamStart TextDelta ThinkingDelta "
    "ToolCallDelta ToolCallStart UsageUpdate",
    "telemetry": "OpenTelemetryHooks",
    "tools": "Tool ToolChoice",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}
_RENAMED = {"ToolCallResult": ("messages", "ToolResult")}  # the founding contract's name

__all__ = [
    "PROVIDER_CONFIGS",
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "Adjustment",
    "AsyncChatStream",
    "AsyncTextStream",
    "Attempt",
    "Audio",
    "AuthenticationError",
    "BreakerSettings",
    "Budget",
    "BudgetExceeded",
    "CallInfo",
    "ChatRequest",
    "ChatResponse",
    "ChatStream",
    "CitationDelta",
    "ClaudeProvider",
    "Comparison",
    "ConfigurationError",
    "ContentFilterError",
    "ContextLengthError",
    "Conversation",
    "ConversationManager",
    "CredentialManager",
    "CredentialSource",
    "Deployment",
    "EmbedRequest",
    "Embedding",
    "Embeddings",
    "File",
    "Finish",
    "FinishReason",
    "Hooks",
    "Image",
    "InvalidBaseURLError",
    "InvalidMessageError",
    "InvalidRequestError",
    "LLMProvider",
    "LMStudioProvider",
    "Ledger",
    "Limits",
    "LocalProvider",
    "MemoryCache",
    "Message",
    "MessageRole",
    "MissingCredentialError",
    "MissingDependencyError",
    "ModelConfig",
    "ModelInfo",
    "ModelNotFoundError",
    "Native",
    "OfflineProvider",
    "Opaque",
    "OpenAICompatibleProvider",
    "OpenTelemetryHooks",
    "Origin",
    "OverloadedError",
    "Part",
    "PartEnd",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "Price",
    "PriceTable",
    "Progress",
    "ProviderConfig",
    "RateLimitError",
    "RedactingFilter",
    "RequestTooLargeError",
    "ResponseCache",
    "ResponseError",
    "ResponseFormat",
    "RetryPolicy",
    "SQLiteCache",
    "ServerError",
    "StreamChunk",
    "StreamEnd",
    "StreamEvent",
    "StreamInterruptedError",
    "StreamStart",
    "StructuredOutputError",
    "Text",
    "TextDelta",
    "TextStream",
    "Thinking",
    "ThinkingDelta",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallResult",
    "ToolCallStart",
    "ToolChoice",
    "ToolResult",
    "Totals",
    "UnifiedLLM",
    "UnifiedLLMError",
    "UnknownProviderError",
    "UnsupportedOptionError",
    "Usage",
    "UsageHooks",
    "UsageRecord",
    "UsageUpdate",
    "compare",
    "compare_async",
    "register_provider",
]


def __getattr__(name: str) -> Any:
    module, attribute = _RENAMED.get(name) or (_HOME_OF.get(name), name)
    if module is None:
        raise AttributeError(f"module 'unified_llm' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"unified_llm.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
