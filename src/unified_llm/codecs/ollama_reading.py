"""What whole and streamed answers of Ollama's own dialect share: finish reasons, usage, tool calls, errors.

Source: https://docs.ollama.com/api/chat and ``api/types.go`` of the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unified_llm.codecs.errors import error_from_body, error_from_reply
from unified_llm.codecs.fields import count_of
from unified_llm.codecs.openai_reading import arguments_text
from unified_llm.errors import (
    APIError,
    AuthenticationError,
    ContextLengthError,
    ModelNotFoundError,
    ServerError,
    UnifiedLLMError,
)
from unified_llm.messages import Native, ToolCall, new_id
from unified_llm.responses import FinishReason, Usage

__all__ = ["DIALECT", "failure", "finish_reason", "read_calls", "read_usage", "streamed_failure"]

DIALECT = "ollama-chat"

_FINISH = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "load": FinishReason.OTHER,  # the model was only loaded, or unloaded
    "unload": FinishReason.OTHER,
}
_FIGURES = (
    "prompt_eval_count",
    "eval_count",
    "total_duration",
    "load_duration",
    "prompt_eval_duration",
    "eval_duration",
)


def finish_reason(native: str | None, *, calls: bool) -> FinishReason | None:
    """``done_reason`` in our vocabulary. Ollama says "stop" after tool calls, and old servers say nothing."""
    if calls and native in (None, "stop"):
        return FinishReason.TOOL_CALLS
    return None if native is None else _FINISH.get(native, FinishReason.OTHER)


def read_usage(value: Mapping[str, Any]) -> Usage:
    """Tokens of the prompt and of the answer. `native` has the durations, too, in nanoseconds.

    A figure that is 0 is left out by the server, as one it does not know is: both are None here.
    """
    native = {name: value[name] for name in _FIGURES if name in value}
    return Usage(count_of(value.get("prompt_eval_count")), count_of(value.get("eval_count")), native=native or None)


def read_calls(raw_calls: Any, *, taken: set[str], provider: str, model: str | None) -> list[ToolCall]:
    """The calls of a message or of a streamed piece, which are always whole. Arguments are objects on this wire.

    Calls without an id (older servers), or with one that is in `taken`, get a new one; `taken` grows.
    """
    return [
        _call(raw, taken, provider, model)
        for raw in (raw_calls if isinstance(raw_calls, list) else [])
        if isinstance(raw, dict) and isinstance(raw.get("function"), dict)
    ]


def _call(raw: dict[str, Any], taken: set[str], provider: str, model: str | None) -> ToolCall:
    function = raw["function"]
    given = raw.get("id")
    call_id = given if isinstance(given, str) and given and given not in taken else new_id()
    taken.add(call_id)
    return ToolCall(
        str(function.get("name") or ""),
        arguments_text(function.get("arguments")),
        call_id,
        native=Native(DIALECT, raw, provider, model),
    )


# -- errors -----------------------------------------------------------------------------------------------------------


def failure(
    status: int, headers: Mapping[str, str], body: bytes, *, provider: str, secrets: Sequence[str]
) -> UnifiedLLMError:
    """The exception (not raised) of an error status, with a hint for this server."""
    return _advised(error_from_reply(status, headers, body, provider=provider, secrets=secrets))


def streamed_failure(
    value: Any, headers: Mapping[str, str], *, provider: str, secrets: Sequence[str]
) -> UnifiedLLMError:
    """The exception (not raised) of ``{"error": ...}`` inside a 200.

    The server had accepted the request by then, so what it does not explain further is its own failure.
    """
    error = error_from_body(value, provider=provider, status=200, headers=headers, secrets=secrets)
    if type(error) is APIError:
        error = error_from_body(value, provider=provider, status=500, headers=headers, secrets=secrets)
        error.status = 200
    return _advised(error)


def _advised(error: UnifiedLLMError) -> UnifiedLLMError:
    if isinstance(error, ContextLengthError) and "input length" in error.message:
        error.hint = "shorten the texts, or let the server cut them: provider_options={'ollama': {'truncate': True}}"
    elif isinstance(error, ContextLengthError):
        error.hint = "shorten the messages, or ask for a larger window: provider_options={'ollama': {'num_ctx': 16384}}"
    elif isinstance(error, ModelNotFoundError):
        error.hint = "`unified-llm models pull ollama:NAME` downloads it; list_models() shows what is there"
    elif isinstance(error, AuthenticationError):
        error.hint = "models in Ollama's cloud need an account: `ollama signin`, or OLLAMA_API_KEY"
    elif isinstance(error, ServerError) and "more system memory" in error.message:
        error.hint = "take a smaller model or quantisation, or a smaller num_ctx"
        error.retryable = False
    return error
