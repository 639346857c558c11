"""What goes wrong in a tool call, told so that the model (and the person behind it) knows what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unified_llm import errors
from unified_llm.errors import UnifiedLLMError, redact
from unified_llm_mcp.hints import for_callers

__all__ = ["ERROR_META", "ToolCallError", "failure_of"]

ERROR_META = "io.github.unified-llm/error"
"""Key of the machine-readable error under a result's ``_meta``. `structuredContent` is not the place: clients check
it against the output schema of a success."""


class ToolCallError(Exception):
    """A call that could not be done as asked; becomes a tool result with ``isError: true``.

    Attributes:
        category: one word for programs, such as ``rate_limit`` or ``missing_credential``.
        message, hint: what happened, and what to do next.
        details: provider, model, status, retry_after_s... of those known.
        partial: text that had arrived before the failure.
    """

    def __init__(
        self,
        category: str,
        message: str,
        *,
        hint: str | None = None,
        retryable: bool = False,
        partial: str = "",
        **details: Any,
    ) -> None:
        self.category = category
        self.message = redact(message)
        self.hint = redact(hint) if hint else None
        self.retryable = retryable
        self.partial = partial
        self.details = {k: v for k, v in details.items() if v is not None}
        super().__init__(self.message)

    def text(self) -> str:
        """What the model reads."""
        where = ", ".join(f"{name} {value}" for name, value in self.details.items() if name != "retry_after_s")
        lines = [f"{self.category}: {self.message}" + (f" ({where})" if where else "")]
        if self.retryable:
            after = self.details.get("retry_after_s")
            lines.append("The same call may succeed later" + (f", after {after:g} s." if after is not None else "."))
        if self.hint:
            lines.append(f"What to do: {self.hint}")
        if self.partial:
            lines.append(f"Text received before the failure:\n{self.partial}")
        return "\n".join(lines)

    def meta(self) -> dict[str, Any]:
        """The same for programs, JSON-safe."""
        values = {"category": self.category, "retryable": self.retryable, "hint": self.hint, **self.details}
        return {k: v for k, v in values.items() if v is not None}


# Most specific first: the first class that fits names the category.
_CATEGORIES: tuple[tuple[type[UnifiedLLMError], str], ...] = (
    (errors.UnknownProviderError, "unknown_provider"),
    (errors.MissingCredentialError, "missing_credential"),
    (errors.MissingDependencyError, "missing_dependency"),
    (errors.ConfigurationError, "configuration"),
    (errors.UnsupportedOptionError, "unsupported"),
    (errors.ContextLengthError, "context_length"),
    (errors.RequestTooLargeError, "request_too_large"),
    (errors.InvalidRequestError, "invalid_request"),
    (errors.AuthenticationError, "authentication"),
    (errors.PermissionDeniedError, "permission_denied"),
    (errors.PaymentRequiredError, "payment_required"),
    (errors.ModelNotFoundError, "model_not_found"),
    (errors.RateLimitError, "rate_limit"),
    (errors.OverloadedError, "overloaded"),
    (errors.ServerError, "server_error"),
    (errors.ContentFilterError, "content_filter"),
    (errors.APIConnectionError, "connection"),
    (errors.APITimeoutError, "timeout"),
    (errors.StreamInterruptedError, "interrupted"),
    (errors.ResponseError, "bad_response"),
    (errors.StructuredOutputError, "structured_output"),
    (errors.APIError, "api_error"),
)

_HINTS = {
    "model_not_found": "call list_models and pass one of its ids as model",
    "structured_output": "ask again, or relax response_schema",
    "interrupted": "call it again",
    "unknown_provider": "call list_models to see the providers and models there are",
}

_AGAIN = ("structured_output", "interrupted")
"""Where the library's own hint says most times to ask again."""

_UNLISTED = "leave model empty for the server's default, or take an id from the resource llm://models"
_HINTS_UNLISTED = _HINTS | {"model_not_found": _UNLISTED, "unknown_provider": _UNLISTED}
"""The same where the tool list_models is not offered."""

_SPENDING = "ask for less (a smaller max_tokens); or ask the person who runs the server to raise --max-spend"


def failure_of(error: UnifiedLLMError, tools: Sequence[str]) -> ToolCallError:
    """The tool failure of a library error. `tools` are the names of those offered: hints speak of no other."""
    from unified_llm import BudgetExceeded  # not above: the list of tools is told before the library is loaded

    if isinstance(error, BudgetExceeded):
        return ToolCallError("spending_limit", error.message, hint=_SPENDING, provider=error.provider)
    category = next((name for kind, name in _CATEGORIES if isinstance(error, kind)), "error")
    ours = _HINTS if "list_models" in tools else _HINTS_UNLISTED
    hints = [for_callers(error.hint), ours.get(category)]
    if category in _AGAIN and "again" in (hints[0] or ""):
        hints.pop()
    return ToolCallError(
        category,
        error.message,
        hint="; ".join(filter(None, hints)) or None,
        retryable=error.retryable,
        partial=error.partial.text if error.partial is not None else "",
        provider=error.provider,
        model=error.model,
        status=error.status,
        request_id=error.request_id,
        retry_after_s=error.retry_after,
    )
