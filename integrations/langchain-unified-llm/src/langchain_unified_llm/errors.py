"""Errors that are both ours and LangChain's, so that code written for either one catches them.

Every class derives from one of `unified_llm.errors` (message, hint, provider, model, status, request_id, partial...)
and from one of `langchain_core.exceptions` (what retry and summarisation middleware look at). `is_retryable` follows
the core's `retryable`. `response` and `request_id` are what LangChain copies into the trace of a failed run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from langchain_core import exceptions as lc

from unified_llm import errors as core

__all__ = ["ErrorResponse", "ModelRefusedError", "NoToolCallError", "translate", "translated"]

_RefusalBase: type[Exception] = getattr(lc, "ModelRefusalError", lc.ModelError)  # since langchain-core 1.7.5


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """The HTTP answer behind an error, as far as it is known. LangChain reads these names when it traces a failure."""

    status_code: int | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Any = field(default=None, repr=False)

    def json(self) -> Any:
        """The decoded body (secrets already masked), or None."""
        return self.body

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body if isinstance(self.body, str) else str(self.body or "")


class UnifiedModelError(core.UnifiedLLMError, lc.ModelError):
    """A failure with no closer LangChain class."""


class UnifiedConfigurationError(core.ConfigurationError, lc.ModelInvalidRequestError):
    """Something must be set up first: provider, address, option."""


class UnifiedInvalidBaseURLError(core.InvalidBaseURLError, lc.ModelInvalidRequestError):
    """`base_url` cannot be an address."""


class UnifiedUnknownProviderError(core.UnknownProviderError, lc.ModelNotFoundError):
    """The model reference names no provider."""


class UnifiedMissingDependencyError(core.MissingDependencyError, lc.ModelError):
    """The provider needs a package that is not installed."""


class UnifiedMissingCredentialError(core.MissingCredentialError, lc.ModelAuthenticationError):
    """The provider needs a key and none was found."""


class UnifiedInvalidRequestError(core.InvalidRequestError, lc.ModelInvalidRequestError):
    """The request is wrong; sending it again will not help."""


class UnifiedInvalidMessageError(core.InvalidMessageError, lc.ModelInvalidRequestError):
    """A message or a part of one cannot be sent."""


class UnifiedUnsupportedOptionError(core.UnsupportedOptionError, lc.ModelInvalidRequestError):
    """The provider does not have that option."""


class UnifiedRequestTooLargeError(core.RequestTooLargeError, lc.ModelInvalidRequestError):
    """The server refused the body for its size."""


class UnifiedContextOverflowError(core.ContextLengthError, lc.ContextOverflowError):
    """The prompt does not fit the context window. Summarisation middleware reacts to it."""


class UnifiedAPIError(core.APIError, lc.ModelError):
    """The server answered with an error of no particular kind."""


class UnifiedAuthenticationError(core.AuthenticationError, lc.ModelAuthenticationError):
    """The credential was refused."""


class UnifiedPermissionDeniedError(core.PermissionDeniedError, lc.ModelPermissionDeniedError):
    """The credential may not do this."""


class UnifiedPaymentRequiredError(core.PaymentRequiredError, lc.ModelPermissionDeniedError):
    """Credit or quota is exhausted."""


class UnifiedModelNotFoundError(core.ModelNotFoundError, lc.ModelNotFoundError):
    """The server knows no such model."""


class UnifiedRateLimitError(core.RateLimitError, lc.ModelRateLimitError):
    """Too many requests or tokens; `retry_after` is in seconds."""


class UnifiedServerError(core.ServerError, lc.ModelAPIError):
    """The server failed."""


class UnifiedOverloadedError(core.OverloadedError, lc.ModelAPIError):
    """The server has no capacity now."""


class UnifiedContentFilterError(core.ContentFilterError, _RefusalBase):  # type: ignore[misc,valid-type]  # chosen at run time
    """The provider refused the content with an error instead of an answer."""


class UnifiedConnectionError(core.APIConnectionError, lc.ModelConnectionError):
    """Nothing answered."""


class UnifiedTimeoutError(core.APITimeoutError, lc.ModelTimeoutError):
    """A deadline passed."""


class UnifiedResponseError(core.ResponseError, lc.ModelAPIError):
    """A success status came with a body that cannot be used."""


class UnifiedStreamInterruptedError(core.StreamInterruptedError, lc.ModelConnectionError):
    """A stream ended before its end; `partial` holds what had arrived."""


class UnifiedStructuredOutputError(core.StructuredOutputError, lc.OutputParserException, lc.ModelError):
    """The answer does not fit the schema that was asked for."""

    observation: str | None = None
    llm_output: str | None = None
    send_to_llm: bool = False


class NoToolCallError(UnifiedStructuredOutputError):
    """A call of one tool was asked for, and the model answered without it."""


class ModelRefusedError(core.StructuredOutputError, lc.OutputParserException, _RefusalBase):  # type: ignore[misc,valid-type]
    """The model declined to answer in the form asked for. `raw_message` is what it said."""

    observation: str | None = None
    llm_output: str | None = None
    send_to_llm: bool = False
    raw_message: Any = None


_TWINS: dict[type[core.UnifiedLLMError], type[core.UnifiedLLMError]] = {
    twin.__mro__[1]: twin  # the core class is always the first base
    for twin in (
        UnifiedModelError,
        UnifiedConfigurationError,
        UnifiedInvalidBaseURLError,
        UnifiedUnknownProviderError,
        UnifiedMissingDependencyError,
        UnifiedMissingCredentialError,
        UnifiedInvalidRequestError,
        UnifiedInvalidMessageError,
        UnifiedUnsupportedOptionError,
        UnifiedRequestTooLargeError,
        UnifiedContextOverflowError,
        UnifiedAPIError,
        UnifiedAuthenticationError,
        UnifiedPermissionDeniedError,
        UnifiedPaymentRequiredError,
        UnifiedModelNotFoundError,
        UnifiedRateLimitError,
        UnifiedServerError,
        UnifiedOverloadedError,
        UnifiedContentFilterError,
        UnifiedConnectionError,
        UnifiedTimeoutError,
        UnifiedResponseError,
        UnifiedStreamInterruptedError,
        UnifiedStructuredOutputError,
    )
}


class translated:  # noqa: N801  # used like the function that contextlib would make of it, at a tenth of the time
    """``with translated():`` raises the core's errors as their LangChain twins."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, core.UnifiedLLMError) and (twin := translate(error)) is not error:
            raise twin from error


def translate(error: core.UnifiedLLMError) -> core.UnifiedLLMError:
    """The error as its LangChain twin, with the same attributes; itself when it is one already."""
    if isinstance(error, lc.LangChainException):
        return error
    kind = type(error)
    twin = _TWINS.get(kind) or _new_twin(kind)
    made = twin.__new__(twin)
    Exception.__init__(made, error.message)
    made.__dict__.update(error.__dict__)
    made.__dict__["is_retryable"] = error.retryable
    made.__dict__["response"] = ErrorResponse(error.status, dict(error.headers or {}), error.body)
    return made


def _new_twin(kind: type[core.UnifiedLLMError]) -> type[core.UnifiedLLMError]:
    """A twin of a class that this module does not know (a newer core, a third-party provider)."""
    nearest = next(_TWINS[base] for base in kind.__mro__ if base in _TWINS)
    outside = tuple(base for base in nearest.__bases__ if not issubclass(base, core.UnifiedLLMError))
    twin = type(f"Unified{kind.__name__}", (kind, *outside), {"__module__": __name__, "__reduce__": _reduce_new_twin})
    _TWINS[kind] = twin
    return twin


def _reduce_new_twin(error: core.UnifiedLLMError) -> tuple[Any, ...]:
    # The class was made here and cannot be found by name elsewhere; its core class can.
    return _translate_again, (type(error).__mro__[1], error.message, dict(error.__dict__))


def _translate_again(kind: type[core.UnifiedLLMError], message: str, state: dict[str, Any]) -> core.UnifiedLLMError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return translate(error)
