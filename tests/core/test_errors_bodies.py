"""Error bodies of real servers become the right class of the one error tree, with everything needed to act on it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from unified_llm.codecs.error_rules import HINTS, RULES
from unified_llm.codecs.errors import error_from_body, error_from_reply, has_error, request_id_of, unusable_body
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
    ResponseError,
    ServerError,
    UnifiedLLMError,
    UnsupportedOptionError,
)


def error(status: int, body: Any, headers: dict[str, str] | None = None, *secrets: str) -> UnifiedLLMError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return error_from_reply(status, headers or {}, raw, provider="p", secrets=secrets)


def openai(message: str, kind: str | None = "invalid_request_error", code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


# -- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "It broke", "type": "server_error"}},
        {"error": "It broke"},
        {"type": "error", "error": {"type": "api_error", "message": "It broke"}},
        {"object": "error", "message": "It broke", "type": "InternalServerError", "code": 500},
        {"detail": "It broke"},
        {"message": "It broke"},
        {"message": ["It broke"]},
        {"message": {"detail": "It broke"}},
        [{"error": {"code": 500, "message": "It broke", "status": "INTERNAL"}}],
        {"errors": [{"message": "It broke"}]},
        {"error": {"message": {"text": "x", "message": "It broke"}}},
        {"msg": "It broke"},
        b"It broke",
        b'data: {"error": {"message": "It broke"}}\n\n',
    ],
    ids=str,
)
def test_every_shape_gives_its_message(body: Any) -> None:
    found = error(500, body)
    assert found.message == "It broke"
    assert type(found) is ServerError


def test_validation_errors_name_the_field() -> None:
    detail = [
        {"loc": ["body", "temperature"], "msg": "Input should be a number", "type": "float_type"},
        {"loc": ["body", "top_p"], "msg": "Field required", "type": "missing"},
    ]
    found = error(422, {"detail": detail})
    assert type(found) is InvalidRequestError
    assert found.message == "body.temperature: Input should be a number; body.top_p: Field required"


def test_mistral_validation_errors_are_found_inside_the_message() -> None:
    detail = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
    found = error(
        422, {"object": "error", "message": {"detail": detail}, "type": "invalid_request_error", "code": None}
    )
    assert type(found) is UnsupportedOptionError
    assert found.message == "body.seed: Extra inputs are not permitted"


def test_an_empty_body_says_so() -> None:
    found = error(401, b"")
    assert type(found) is AuthenticationError
    assert "empty body" in found.message


def test_a_web_page_gives_its_title_and_not_its_markup() -> None:
    page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>x</h1></body></html>"
    found = error(502, page, {"content-type": "text/html"})
    assert type(found) is ServerError
    assert "502 Bad Gateway" in found.message
    assert "<" not in found.message


def test_a_redirect_shows_where_to() -> None:
    found = error(307, b"", {"location": "https://example.com/v1"})
    assert "https://example.com/v1" in found.message


def test_what_a_router_was_told_by_the_server_behind_it_is_part_of_the_message() -> None:
    metadata = {"raw": "The model is overloaded", "provider_name": "X"}
    found = error(502, {"error": {"code": 502, "message": "Provider returned error", "metadata": metadata}})
    assert found.message == "Provider returned error: The model is overloaded"
    assert type(found) is OverloadedError


@pytest.mark.parametrize("body", [{}, [], {"error": {}}, {"error": None}, 7, None, "", {"error": {"code": 400}}])
def test_a_body_that_says_nothing_still_gives_an_error_with_a_hint(body: Any) -> None:
    found = error(400, body)
    assert isinstance(found, InvalidRequestError)
    assert found.message
    assert found.hint


# -- classes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (402, PaymentRequiredError),
        (403, PermissionDeniedError),
        (404, ModelNotFoundError),
        (408, APITimeoutError),
        (409, InvalidRequestError),
        (413, RequestTooLargeError),
        (422, InvalidRequestError),
        (429, RateLimitError),
        (500, ServerError),
        (501, UnsupportedOptionError),
        (502, ServerError),
        (503, OverloadedError),
        (504, ServerError),
        (529, OverloadedError),
    ],
)
def test_the_status_alone_decides_when_the_text_says_nothing(status: int, kind: type[UnifiedLLMError]) -> None:
    found = error(status, openai("?", None))
    assert type(found) is kind
    assert (found.status, found.provider) == (status, "p")
    assert found.hint


CONTEXT = [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000",
    "Trying to keep the first 4500 tokens when context the overflows. However, the model is loaded with 4096",
    "The number of tokens to keep from the initial prompt is greater than the context length",
    "Cannot continue: n_keep: 5000 >= n_ctx: 4096",
    "Reached context length of 4096 tokens with this model",
    "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "input (600 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    "Please reduce the length of the messages or completion.",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    "the input length exceeds the context length",
    "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
    "`inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4000 `inputs` tokens and 500 `max_new_tokens`",
]


@pytest.mark.parametrize("text", CONTEXT)
@pytest.mark.parametrize("status", [200, 400])
def test_context_overflow_is_recognised_in_every_servers_words(status: int, text: str) -> None:
    assert type(error(status, {"error": text})) is ContextLengthError


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, openai("too long", code="context_length_exceeded"), ContextLengthError, "context_length_exceeded"),
        (
            400,
            {"error": {"code": 400, "type": "exceed_context_size_error", "message": "x", "n_ctx": 512}},
            ContextLengthError,
            "exceed_context_size_error",
        ),
        (400, openai("API key not valid. Please pass a valid API key.", "x"), AuthenticationError, "x"),
        (403, openai("Incorrect API key provided", "x"), AuthenticationError, "x"),
        (
            429,
            openai("You exceeded your current quota, check your plan", code="insufficient_quota"),
            PaymentRequiredError,
            "insufficient_quota",
        ),
        (
            400,
            openai("Your credit balance is too low to access the API."),
            PaymentRequiredError,
            "invalid_request_error",
        ),
        (400, openai("The model `x` does not exist"), ModelNotFoundError, "invalid_request_error"),
        (404, {"error": "model 'lmstudio-community/x' not found"}, ModelNotFoundError, None),
        (
            404,
            {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}},
            ModelNotFoundError,
            "not_found_error",
        ),
        (400, {"error": "No models loaded. Please load a model in the developer page."}, ModelNotFoundError, None),
        (200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, ModelNotFoundError, None),
        (400, openai("x", code="content_policy_violation"), ContentFilterError, "content_policy_violation"),
        (
            400,
            {
                "error": {
                    "message": "x",
                    "code": "content_filter",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
            ContentFilterError,
            "ResponsibleAIPolicyViolation",
        ),
        (
            413,
            openai(
                "Request too large for model: Limit 6000, Requested 7000 tokens per minute", code="rate_limit_exceeded"
            ),
            RequestTooLargeError,
            "rate_limit_exceeded",
        ),
        (
            429,
            openai("Request too large for gpt-4o on tokens per min", code="rate_limit_exceeded"),
            RequestTooLargeError,
            "rate_limit_exceeded",
        ),
        (
            503,
            {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
            OverloadedError,
            "unavailable_error",
        ),
        (
            529,
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            OverloadedError,
            "overloaded_error",
        ),
        (
            400,
            openai(
                "Unsupported parameter: 'temperature' is not supported with this model.", code="unsupported_parameter"
            ),
            UnsupportedOptionError,
            "unsupported_parameter",
        ),
        (400, openai("property 'reasoning_content' is unsupported"), UnsupportedOptionError, "invalid_request_error"),
        (
            400,
            {"error": "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"},
            UnsupportedOptionError,
            None,
        ),
        (
            500,
            {"error": {"code": 500, "message": "image input is not supported - hint: mmproj", "type": "server_error"}},
            UnsupportedOptionError,
            "server_error",
        ),
        (400, {"error": "registry.ollama.ai/library/gemma does not support tools"}, UnsupportedOptionError, None),
        (
            501,
            {
                "error": {
                    "code": 501,
                    "message": "This server does not support embeddings",
                    "type": "not_supported_error",
                }
            },
            UnsupportedOptionError,
            "not_supported_error",
        ),
        (
            400,
            openai("max_tokens is too large: 100000. This model supports at most 16384 completion tokens"),
            InvalidRequestError,
            "invalid_request_error",
        ),
        (500, openai("boom", "invalid_request_error"), ServerError, "invalid_request_error"),
        (
            400,
            {"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}},
            AuthenticationError,
            "INVALID_ARGUMENT",
        ),
        (504, {"type": "error", "error": {"type": "timeout_error", "message": "x"}}, APITimeoutError, "timeout_error"),
    ],
)
def test_code_words_and_status_decide_together(
    status: int, body: Any, kind: type[UnifiedLLMError], code: str | None
) -> None:
    found = error(status, body)
    assert type(found) is kind
    assert found.code == code
    assert found.body == body


def test_a_google_rate_limit_is_not_an_exhausted_account_and_tells_when_to_come_back() -> None:
    body = [
        {
            "error": {
                "code": 429,
                "message": "You exceeded your current quota, please check your plan and billing details.",
                "status": "RESOURCE_EXHAUSTED",
                "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}],
            }
        }
    ]
    found = error(429, body)
    assert type(found) is RateLimitError
    assert found.retry_after == 34.5
    assert found.retryable


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, RateLimitError, 429),
        ({"error": {"code": "502", "message": "bad gateway"}}, ServerError, 502),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, OverloadedError, 200),
        ({"error": "no idea"}, APIError, 200),
    ],
)
def test_an_error_inside_a_success_takes_the_status_written_in_it(
    body: Any, kind: type[UnifiedLLMError], status: int
) -> None:
    found = error_from_body(body, provider="p", status=200)
    assert type(found) is kind
    assert found.status == status


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"error": {"message": "x"}}, True),
        ({"error": "x"}, True),
        ({"object": "error", "message": "x"}, True),
        ({"type": "error"}, True),
        ({"error": None, "choices": []}, False),
        ({"choices": []}, False),
        ([], False),
        ("error", False),
    ],
)
def test_a_body_with_a_null_error_is_no_error(value: Any, expected: bool) -> None:
    assert has_error(value) is expected


# -- what is on the error ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["x-request-id", "request-id", "apim-request-id", "x-amzn-requestid", "x-generation-id"]
)
def test_the_request_id_is_found_in_every_servers_header(name: str) -> None:
    assert error(500, b"x", {name: "req_9"}).request_id == "req_9"
    assert request_id_of({name: "req_9"}) == "req_9"


def test_the_request_id_of_anthropic_may_be_in_the_body() -> None:
    body = {"type": "error", "error": {"type": "api_error", "message": "x"}, "request_id": "req_7"}
    assert error(500, body).request_id == "req_7"


def test_secrets_are_masked_wherever_the_server_quotes_them() -> None:
    body = {"error": {"message": "Incorrect API key: plain-secret", "param": {"deep": ["plain-secret"]}}}
    found = error(401, body, {"x-echo": "1"}, "plain-secret")
    assert "plain-secret" not in f"{found} {found!r} {found.body} {found.args}"
    masked: Any = found.body
    assert masked["error"]["param"]["deep"] == ["[redacted]"]


def test_keys_of_known_shapes_are_masked_without_being_told() -> None:
    found = error(401, {"error": "Incorrect API key provided: sk-proj-abcdefghijklmnop1234"})
    assert "abcdefghijklmnop" not in f"{found} {found.body}"


def test_cookies_are_not_kept() -> None:
    found = error(500, b"x", {"set-cookie": "session=1", "server": "nginx"})
    assert found.headers == {"server": "nginx"}


def test_an_unusable_body_shows_itself() -> None:
    found = unusable_body(200, {"x-request-id": "r"}, b"hello", provider="p", why="something that is not JSON")
    assert type(found) is ResponseError
    assert (found.body, found.request_id, found.status) == ("hello", "r", 200)
    assert found.message == "p answered with something that is not JSON"


def test_every_rule_has_a_hint_and_lower_case_codes() -> None:
    for rule in RULES:
        assert rule.hint or any(base in HINTS for base in rule.error.__mro__)
        assert all(code == code.lower() for code in rule.codes)
        assert rule.codes or rule.pattern


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<TITLE lang=en>\n Sign in \n</TITLE>", ": 'Sign in'"),
        ("<title></title><h1>Sign in</h1>", ": 'Sign in'"),
        (f"<title>{'x' * 201}</title><h1>{'y' * 200}</h1>", f": '{'y' * 200}'"),
        ("<h1>" + " " * 7900 + "x", ""),
        ("<h1>" * 1000 + " " * 3900 + "x", ""),
        ("<title" * 1300, ""),
    ],
    ids=["title", "heading", "long", "blank", "headings", "open"],
)
def test_a_web_page_is_told_by_its_title_however_it_is_filled(page: str, said: str) -> None:
    found = error_from_reply(502, {"content-type": "text/html"}, f"<html>{page}".encode(), provider="p")
    assert found.message.endswith(f"an HTML page{said}")


def test_a_stored_response_that_is_gone_is_no_missing_model() -> None:
    told = {
        "message": "Previous response with id 'resp_1' not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
    }
    error = error_from_reply(404, {}, json.dumps({"error": told}).encode(), provider="openai")
    assert type(error) is InvalidRequestError
    assert "previous_response_id" in (error.hint or "")
