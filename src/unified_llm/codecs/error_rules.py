"""How a server's complaint becomes a class of the error tree: codes, words and statuses, as data.

The first rule that fits wins, so order matters: "request too large ... tokens per minute" is about size and not
about waiting, and Google says "exceeded your quota" for a rate limit that ends in half a minute.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from unified_llm.errors import (
    APIError,
    APITimeoutError,
    AuthenticationError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
    UnifiedLLMError,
    UnsupportedOptionError,
)

__all__ = ["HINTS", "RULES", "Rule", "classify"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A class of error and how to recognise it: one of `codes`, or `pattern` in the text when `statuses` allows.

    `statuses` empty means any status. Codes are compared in lower case.
    """

    error: type[UnifiedLLMError]
    codes: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    statuses: frozenset[int] = field(default_factory=frozenset)
    hint: str | None = None

    def fits(self, status: int | None, codes: frozenset[str], text: str) -> bool:
        """Whether this rule describes the complaint. An error inside a 200, or without status, fits any `statuses`."""
        if self.codes & codes:
            return True
        if self.pattern is None:
            return False
        allowed = not self.statuses or status is None or status < 400 or status in self.statuses
        return allowed and self.pattern.search(text) is not None


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


_REFUSED = frozenset({400, 422})
_REFUSED_OR_BROKEN = frozenset({400, 422, 500, 501})

_CONTEXT = _words(
    r"(maximum|model'?s?|available|the) context (length|size|window|limit)",  # OpenAI, vLLM, llama.cpp, SGLang, Ollama
    r"(exceeds?|exceeded|longer than|greater than|larger than|overflow\w*|beyond)[^.]{0,60}context",
    r"context[^.]{0,40}(overflow|exceeded|is full)",
    r"prompt is too long",  # Anthropic, Fireworks
    r"input is too long",  # Bedrock
    r"trying to keep the first \d+ tokens",  # LM Studio
    r"tokens to keep from the initial prompt",  # LM Studio
    r"n_keep\b.{0,20}>=.{0,5}n_ctx",  # LM Studio, older engines
    r"reached context length",  # LM Studio
    r"too large to process\. increase the physical batch",  # llama.cpp, embeddings
    r"maximum model length",  # vLLM: "prompt (length N) is longer than the maximum model length"
    r"reduce the length of (the|your) (messages|prompt|input)",  # OpenAI, Groq
    r"input token count .{0,40}exceeds",  # Gemini
    r"too large for model with \d+ maximum",  # Mistral
    r"maximum prompt length",  # xAI
    r"`inputs` tokens \+ `max_new_tokens`",  # text-generation-inference, Together
    r"too many (input )?tokens",
)

_MODEL = _words(
    r"model\b[^.]{0,120}(not found|not exist|doesn'?t exist|could not be found|is unavailable|is not available)",
    r"(unknown|invalid|no such|unsupported) model",
    r"no models? (is |are )?(currently )?loaded",  # LM Studio
    r"could not find (the )?model",
    r"model_not_found",
    r"no endpoints found for",  # OpenRouter
    r"deployment[^.]{0,60}does not exist",  # Azure
)

_UNSUPPORTED = _words(
    r"unsupported (parameter|value|option|content)",
    r"(does|do) not support (tools?|tool use|function|image|vision|audio|thinking|file|response_format|json)",
    r"(image|audio|video|file)s? (input )?(is|are) not supported",  # llama.cpp answers 500 to it
    r"no endpoints found that support",  # OpenRouter
    r"property '[^']+' is unsupported",  # Groq
    r"extra inputs are not permitted",  # pydantic servers: Mistral, vLLM
    r"is not (currently )?supported (with|by|for|in) ",
    r"unrecognized request argument",
    r"'response_format\.type' must be",  # LM Studio
    r"invalid tool_choice type",  # LM Studio
)

RULES: tuple[Rule, ...] = (
    # One request over the per-minute limit can never pass (OpenAI 429, Groq 413): waiting does not help.
    Rule(
        RequestTooLargeError,
        frozenset({"request_too_large", "payload_too_large"}),
        _words(r"request too large", r"request entity too large", r"payload too large"),
    ),
    Rule(
        ContextLengthError,
        frozenset({"context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"}),
        _CONTEXT,
        frozenset({400, 413, 422, 500}),
    ),
    Rule(
        ContentFilterError,
        frozenset(
            {
                "content_filter",
                "content_policy_violation",
                "responsibleaipolicyviolation",
                "moderation_blocked",
                "data_inspection_failed",
            }
        ),
        _words(r"content (management |filtering |usage )?polic", r"content filter", r"(input|prompt) was flagged"),
        frozenset({400, 403, 451}),
    ),
    Rule(
        PaymentRequiredError,
        frozenset(
            {
                "insufficient_quota",
                "billing_error",
                "billing_hard_limit_reached",
                "billing_not_active",
                "payment_required",
                "insufficient_credits",
                "insufficient_balance",
                "exceeded_current_quota_error",
            }
        ),
    ),
    Rule(
        RateLimitError,
        frozenset(
            {
                "rate_limit_exceeded",
                "rate_limit_error",
                "rate_limited",
                "too_many_requests",
                "resource_exhausted",
                "throttling_error",
            }
        ),
        _words(r"(re)?try (again )?(in|after) \d", r"(requests|tokens) per (min|hour|day)", r"rate.?limit"),
        frozenset({429}),
    ),
    Rule(
        PaymentRequiredError,
        pattern=_words(
            r"credit balance is too low",
            r"insufficient (credits?|balance|funds|quota)",
            r"exceeded your (current )?quota",
            r"(check|update) your plan and billing",
            r"payment required",
        ),
        statuses=frozenset({400, 402, 403, 429}),
    ),
    Rule(
        AuthenticationError,
        frozenset(
            {
                "invalid_api_key",
                "authentication_error",
                "authenticationerror",
                "invalid_authentication",
                "unauthenticated",
                "unauthorized",
                "api_key_invalid",
            }
        ),
        _words(
            r"(invalid|incorrect|missing|malformed|expired|unknown|no) (api|x-api|subscription)[ -]?(key|token)",
            r"api key (is |was )?(not valid|invalid|missing|required|expired)",
            r"invalid (access )?token",
        ),
        frozenset({400, 403}),
    ),
    Rule(
        OverloadedError,
        frozenset(
            {
                "overloaded_error",
                "overloaded",
                "unavailable_error",
                "unavailable",
                "engine_overloaded_error",
                "server_overloaded",
                "service_unavailable",
            }
        ),
        _words(r"\boverloaded\b", r"at capacity", r"loading model\b", r"model is (still |currently )?loading"),
        frozenset({500, 502, 503, 529}),
    ),
    Rule(
        UnsupportedOptionError,
        frozenset({"unsupported_parameter", "unsupported_value", "not_supported_error", "extra_forbidden"}),
        _UNSUPPORTED,
        frozenset({400, 404, 422, 500, 501}),
    ),
    # OpenAI, 404: not a model is missing, but the stored response that the call goes on from.
    Rule(
        InvalidRequestError,
        frozenset({"previous_response_not_found"}),
        _words(r"previous response\b.{0,80}\bnot found"),
        hint="the server keeps it no more (or never did: store=False): send the messages, not previous_response_id",
    ),
    Rule(
        ModelNotFoundError,
        frozenset(
            {
                "model_not_found",
                "not_found_error",
                "notfounderror",
                "not_found",
                "model_not_available",
                "deploymentnotfound",
                "unknown_model",
                "invalid_model",
            }
        ),
        _MODEL,
        _REFUSED_OR_BROKEN | {404},
    ),
    # LM Studio answers 200 or 404 with this text when base_url lacks /v1.
    Rule(
        ModelNotFoundError,
        pattern=_words(r"unexpected endpoint or method"),
        hint="the server does not know this path: base_url usually ends with /v1",
    ),
    Rule(PermissionDeniedError, frozenset({"permission_error", "permission_denied", "forbidden"})),
    Rule(APITimeoutError, frozenset({"timeout_error", "request_timeout"})),
    Rule(
        ServerError,
        frozenset({"server_error", "api_error", "internal_server_error", "internalservererror", "internal"}),
    ),
    Rule(
        InvalidRequestError,
        frozenset({"invalid_request_error", "badrequesterror", "invalid_argument", "validation_error"}),
    ),
)

_BY_STATUS: dict[int, type[UnifiedLLMError]] = {
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: APITimeoutError,
    413: RequestTooLargeError,
    429: RateLimitError,
    501: UnsupportedOptionError,
    503: OverloadedError,
    529: OverloadedError,
}

# Statuses that say more than a vague type such as "invalid_request_error" or "api_error".
_VAGUE = (ServerError, InvalidRequestError)

HINTS: dict[type[UnifiedLLMError], str] = {
    AuthenticationError: "check the API key: it is wrong, expired, or belongs to another service",
    PermissionDeniedError: "this key may not do that: check its project, region and model permissions",
    PaymentRequiredError: "add credit or raise the quota of this account; waiting does not help",
    ModelNotFoundError: "list_models() shows the ids this server accepts; also check that base_url is right",
    RateLimitError: "wait (see retry_after) or send fewer requests; a retry policy or a fallback does it for you",
    OverloadedError: "the server has no capacity now: try again, or add a fallback",
    ServerError: "the server failed: try again; if it stays, look at the server's log",
    ContextLengthError: "shorten the messages, lower max_tokens, or load the model with a larger context window",
    RequestTooLargeError: "send less at once: fewer or smaller messages, images or files",
    ContentFilterError: "the provider's filter refused the content: change the prompt",
    UnsupportedOptionError: "leave that option or content out, or use a model or server that has it",
    InvalidRequestError: "the server refused the request as it is: the message names what it did not accept",
    APITimeoutError: "the server gave up waiting: try again, or stream the answer",
    APIError: "see .body for what the server said; of a redirect, use the address it names as base_url",
}


def classify(status: int | None, codes: frozenset[str], text: str) -> tuple[type[UnifiedLLMError], str | None]:
    """The class of a complaint and a hint of its own, if it has one. `codes` in lower case."""
    by_status = _class_of_status(status)
    for rule in RULES:
        if rule.fits(status, codes, text):
            if by_status is not None and rule.error in _VAGUE and rule.pattern is None:
                return by_status, None
            return rule.error, rule.hint
    return by_status or APIError, None


def _class_of_status(status: int | None) -> type[UnifiedLLMError] | None:
    if status is None or status < 400:
        return None
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    return ServerError if status >= 500 else InvalidRequestError
