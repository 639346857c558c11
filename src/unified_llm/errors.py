"""The one error tree. Every failure of this library is a `UnifiedLLMError`.

UnifiedLLMError
├── ConfigurationError (ValueError)          something must be set up before a request can be made
│   ├── UnknownProviderError                 no provider of that name; lists the known ones
│   ├── MissingCredentialError               no key found; names the variable and the other sources
│   ├── MissingDependencyError (ImportError) an optional package is absent; names the extra
│   └── InvalidBaseURLError                  base_url has no scheme, or a path too much
├── InvalidRequestError (ValueError)         the request is wrong; sending it again will not help
│   ├── InvalidMessageError                  empty messages, orphan tool result, an image that is no image
│   ├── UnsupportedOptionError               option or feature the provider (or library) does not have
│   ├── ContextLengthError                   prompt longer than the context window (also a server answer)
│   └── RequestTooLargeError                 body refused for its size (413)
├── APIError                                 the server answered, and it was not success
│   ├── AuthenticationError                  401
│   ├── PermissionDeniedError                403
│   ├── PaymentRequiredError                 402, exhausted quota
│   ├── ModelNotFoundError                   404, unknown model or path
│   ├── RateLimitError (retryable)           429
│   ├── ServerError (retryable)              5xx
│   │   └── OverloadedError (retryable)      503, 529
│   └── ContentFilterError                   the provider refused the content with an error
├── APIConnectionError (ConnectionError, retryable)  nothing listens, reset, DNS, TLS
├── APITimeoutError (TimeoutError, retryable)        connect, first byte, between bytes or in total
├── ResponseError                            a success status with an unusable body (HTML, half a JSON object)
│   └── StreamInterruptedError               a stream ended before its end; `.partial` holds what came
└── StructuredOutputError (ValueError)       the answer does not fit the requested schema
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from operator import is_
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unified_llm.responses import Attempt, ChatResponse

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AuthenticationError",
    "ConfigurationError",
    "ContentFilterError",
    "ContextLengthError",
    "InvalidBaseURLError",
    "InvalidMessageError",
    "InvalidRequestError",
    "MissingCredentialError",
    "MissingDependencyError",
    "ModelNotFoundError",
    "OverloadedError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTooLargeError",
    "ResponseError",
    "ServerError",
    "StreamInterruptedError",
    "StructuredOutputError",
    "UnifiedLLMError",
    "UnknownProviderError",
    "UnsupportedOptionError",
    "brief",
    "holds_key",
    "redact",
    "without_keys",
]

# Key shapes of the vendors we talk to, bearer values, and user:password in a URL. Applied to every text
# that leaves this module, because servers like to quote the key they refuse. The time is linear in the length of the
# text, whatever it holds: no two repetitions can share a run of characters (`*+` gives nothing back), and one that can
# begin again within the run it has just read is bounded.
_SHAPES = (
    r"(?P<keep>(?:bearer|basic|x-api-key|api[-_]?key|authorization|token|password|secret)[\"']?\s*+[:=]?\s*+[\"']?(?:bearer\s++)?)"
    r"(?P<value>(?=[^\s\"',;\d]{0,200}+\d)[A-Za-z0-9_\-.~+/=]{12,})"
    # The separator belongs to the shape: without it "lmstudio-community" and "skip_prompt_caching" look like keys.
    r"|(?P<shape>\b(?:(?:sk|pk|rk|gsk|xai|hf|pplx|gh[pousr]|nvapi)[-_]|ya29\.|AIza|SCW(?=[A-Z0-9]{17}\b))[-_A-Za-z0-9.:]{12,})"
    r"|(?P<url>(?<=://)[^/\s:@]*:[^/\s@]+(?=@)|(?:(?<=http://)|(?<=https://))(?=[^/\s@]*\d)[\w.~-]{12,}(?=@))"
    # A header that is written out says what stands in it, also in letters alone.
    r"|(?P<header>\bauthorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic)\s+)[A-Za-z0-9_\-.~+/=]{16,}"
    # Cerebras, Replicate, Fireworks; GitHub, Together; Amazon's access keys and those of Bedrock; JSON Web Tokens.
    r"|\b(?:(?:csk-|r8_|fw_)(?=[A-Za-z]*\d)[A-Za-z0-9]{20,}|(?:github_pat|tgp_v1)_[\w-]{20,}"
    r"|(?-i:A[KS]IA(?=[A-Z]*[2-7])[A-Z2-7]{16}\b|ABSKQmVkcm9ja0FQSUtleS[A-Za-z0-9+/=]+|eyJ(?:(?<!-eyJ)[\w-]{8,}+|(?<=-eyJ)[\w-]{8,200}+)\.eyJ[\w-]{8,}(?:\.[\w-]*)?))"
)


@cache
def _secret() -> re.Pattern[str]:
    return re.compile(_SHAPES, re.IGNORECASE)  # when it is needed: compiling it takes a third of importing this module


def redact(text: str, *secrets: str | None) -> str:
    """Return `text` with anything that looks like a credential, and each of `secrets`, replaced by ``[redacted]``."""
    for secret in secrets:
        if secret and len(secret) >= 4:
            text = text.replace(secret, "[redacted]")
    return _secret().sub(lambda m: f"{m['keep'] or m['header'] or ''}[redacted]", text)


@cache
def _key_names() -> re.Pattern[str]:
    return re.compile(
        r"((api|access|private|secret|subscription|account|auth)[-_]?key"
        r"|token|secret|password|passphrase|authorization|credentials?|cookie|(^|[-_])auth)$",
        re.IGNORECASE,
    )


def holds_key(name: str, value: object) -> bool:
    """Whether a header or field of that name, or with that value, carries a credential, as far as one can tell.

    One may stand at any depth of the value.
    """
    return _key_names().search(name) is not None or without_keys(value) is not value


def without_keys(value: Any, name: str = "", above: tuple[int, ...] = ()) -> Any:
    """`value`, to be shown: what carries a credential is ``[redacted]``, at any depth; itself, where nothing does.

    Args:
        value: anything; one that is part of itself is ``...``, as in a repr.
        name: that of its field.
        above: ids of the values that it is a part of.
    """
    if isinstance(value, (Mapping, list, tuple)):
        if id(value) in above:
            return "..."
        return _parts_without_keys(value, name, (*above, id(value)))
    if _key_names().search(name) and not _says_nothing(value):
        return "[redacted]"
    if not isinstance(value, str):
        return value
    masked = redact(value)
    return value if masked == value else masked


def _parts_without_keys(value: Any, name: str, above: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        given = dict(value.items())
        fields = {key: without_keys(item, str(key), above) for key, item in given.items()}
        return value if all(map(is_, fields.values(), given.values())) else fields
    items = [without_keys(item, name, above) for item in value]
    if all(map(is_, items, value)):
        return value
    return items if isinstance(value, list) else tuple(items)


def _says_nothing(value: object) -> bool:
    """Whether a field that is called as a key's holds none. Other objects are not asked: arrays have no truth."""
    return value is None or isinstance(value, bool) or (isinstance(value, (str, bytes, int, float)) and not value)


def brief(value: object) -> str:
    """The repr of a wrong value, for an error to repeat; empty when it is long: that is no slip, and may be a key."""
    text = repr(value)
    return text if len(text) <= _LONGEST_REPEATED else ""


_LONGEST_REPEATED = 16


class UnifiedLLMError(Exception):
    """Base of every error raised by this library.

    Attributes:
        message: what happened, in one sentence, without secrets.
        hint: what to do next, or None.
        provider: name of the provider asked, or None when none was.
        model: model id asked, or None.
        status: HTTP status, or None.
        request_id: the server's id of the request, or None.
        retry_after: seconds the server asked to wait, or None.
        retryable: whether the same request may succeed later.
        code: the server's own error code or type, or None.
        body: the server's error body (decoded JSON or text, redacted), or None.
        partial: what had arrived before the failure, as a `ChatResponse`, or None.
        attempts: every failed attempt of this call, the last one included, when there were retries or fallbacks.
    """

    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        code: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        partial: ChatResponse | None = None,
        retryable: bool | None = None,
    ) -> None:
        self.message = redact(message)
        self.hint = hint
        self.provider = provider
        self.model = model
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.code = code
        self.body = redact(body) if isinstance(body, str) else body
        self.headers = headers
        self.partial = partial
        self.attempts: tuple[Attempt, ...] = ()
        if retryable is not None:
            self.retryable = retryable
        super().__init__(self.message)

    def __str__(self) -> str:
        where = [
            f"{label} {value}"
            for label, value in (
                ("provider", self.provider),
                ("model", self.model),
                ("HTTP", self.status),
                ("request", self.request_id),
            )
            if value is not None
        ]
        text = f"{self.message} ({', '.join(where)})" if where else self.message
        return f"{text}\n  → {self.hint}" if self.hint else text

    def with_context(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        partial: ChatResponse | None = None,
    ) -> UnifiedLLMError:
        """Fill in what a lower layer could not know; never overwrites what is already set. Returns self."""
        self.provider = self.provider or provider
        self.model = self.model or model
        self.status = self.status or status
        self.request_id = self.request_id or request_id
        if self.partial is None:
            self.partial = partial
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword-only state do not survive pickling by default (multiprocessing, Celery).
        return _rebuild, (type(self), self.message, dict(self.__dict__))


def _rebuild(cls: type[UnifiedLLMError], message: str, state: dict[str, Any]) -> UnifiedLLMError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class ConfigurationError(UnifiedLLMError, ValueError):
    """Something must be set up before a request can be made."""


class UnknownProviderError(ConfigurationError):
    """No provider of that name is registered."""


class MissingCredentialError(ConfigurationError):
    """No credential was found for a provider that needs one."""


class MissingDependencyError(ConfigurationError, ImportError):
    """An optional package is not installed; the hint names the extra that brings it."""


class InvalidBaseURLError(ConfigurationError):
    """`base_url` has no scheme, no host, or a path that belongs to an endpoint."""


class InvalidRequestError(UnifiedLLMError, ValueError):
    """The request itself is wrong; sending it again will not help (also HTTP 400 and 422)."""


class InvalidMessageError(InvalidRequestError):
    """A message or a part of one cannot be sent."""


class UnsupportedOptionError(InvalidRequestError):
    """An option or a feature this provider, or this library, does not have."""


class ContextLengthError(InvalidRequestError):
    """The prompt does not fit the model's context window."""


class RequestTooLargeError(InvalidRequestError):
    """The server refused the body for its size (HTTP 413)."""


class APIError(UnifiedLLMError):
    """The server answered, and the answer was an error."""


class AuthenticationError(APIError):
    """The credential was refused (HTTP 401)."""


class PermissionDeniedError(APIError):
    """The credential is valid but not allowed to do this (HTTP 403)."""


class PaymentRequiredError(APIError):
    """Quota or credit is exhausted (HTTP 402, or a 429 that says so)."""


class ModelNotFoundError(APIError):
    """The server knows no such model or path (HTTP 404)."""


class RateLimitError(APIError):
    """Too many requests or tokens (HTTP 429). `retry_after` is in seconds."""

    retryable = True


class ServerError(APIError):
    """The server failed (HTTP 5xx)."""

    retryable = True


class OverloadedError(ServerError):
    """The server has no capacity now (HTTP 503, 529)."""


class ContentFilterError(APIError):
    """The provider refused the content with an error instead of an answer."""


class APIConnectionError(UnifiedLLMError, ConnectionError):
    """No connection: nothing listens, DNS, TLS, reset before any answer."""

    retryable = True


class APITimeoutError(UnifiedLLMError, TimeoutError):
    """A deadline passed: connecting, first byte, between bytes, or in total."""

    retryable = True


class ResponseError(UnifiedLLMError):
    """A success status came with a body that cannot be used."""


class StreamInterruptedError(ResponseError):
    """A stream ended before its end; `partial` holds what had arrived."""

    retryable = True


class StructuredOutputError(UnifiedLLMError, ValueError):
    """The answer does not fit the schema that was asked for."""


def first_token_late(limit: float) -> APITimeoutError:
    """The error for a stream that said nothing within `limit` seconds."""
    return APITimeoutError(
        f"not a single token came within {limit:g} s (first token timeout)",
        hint="raise first_token_timeout=, or add fallbacks=[...]; a model that is being loaded takes its time",
    )
