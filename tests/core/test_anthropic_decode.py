"""Whole answers of the Anthropic dialect, its errors, its models list."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testkit.claude_calls import CONTEXT, FIXTURES, decode, decoded_fixture, request
from unified_llm import (
    APITimeoutError,
    AuthenticationError,
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
)
from unified_llm.codecs.anthropic_messages import AnthropicMessages, AnthropicModels
from unified_llm.messages import Native, Opaque, Origin, Text, Thinking, ToolCall
from unified_llm.responses import FinishReason
from unified_llm.wire import WireReply


def test_a_turn_with_thinking_text_and_parallel_calls_keeps_every_block() -> None:
    response = decoded_fixture("parallel_tool_calls")
    assert response == "I will look up both."
    assert response.reasoning == "Two cities, two calls."
    assert [(c.name, c.arguments) for c in response.tool_calls] == [
        ("get_weather", {"city": "Paris", "unit": "celsius"}),
        ("get_weather", {"city": "Ōsaka", "days": [1, 2], "opts": {"a": None}}),
    ]
    assert response.finish_reason is FinishReason.TOOL_CALLS
    assert [type(p) for p in response.message.parts] == [Thinking, Text, ToolCall, ToolCall]
    natives = [p.native for p in response.message.parts if not isinstance(p, Opaque)]
    assert [n.raw for n in natives if isinstance(n, Native)] == response.raw["content"]
    assert response.message.origin == Origin("claude", "anthropic", "claude-sonnet-5-5")


def test_ids_model_and_headers_are_on_the_response() -> None:
    response = decoded_fixture("text")
    assert (response.response_id, response.request_id) == ("msg_01TEXT", "req_1")
    assert (response.model, response.provider) == ("claude-sonnet-5-5", "claude")
    assert response.native_finish_reason == "end_turn"


def test_input_tokens_are_the_sum_of_fresh_written_and_read() -> None:
    usage = decoded_fixture("prompt_cache").usage
    assert usage.to_dict() == {
        "input_tokens": 21 + 188 + 4096,
        "output_tokens": 393,
        "cache_read_tokens": 4096,
        "cache_write_tokens": 188,
        "total_tokens": 21 + 188 + 4096 + 393,
    }
    assert usage.native is not None
    assert usage.native["cache_creation"]["ephemeral_5m_input_tokens"] == 188


def test_thinking_tokens_are_reported_and_what_is_not_said_is_none() -> None:
    assert decoded_fixture("thinking").usage.reasoning_tokens == 41
    usage = decoded_fixture("llamacpp_text", request(model="tiny-chat")).usage
    assert usage.reasoning_tokens is None
    assert usage.cache_write_tokens is None
    assert decode({"content": []}).usage.to_dict() == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("stop_sequence", FinishReason.STOP_SEQUENCE),
        ("parallel_tool_calls", FinishReason.TOOL_CALLS),
        ("pause_turn", FinishReason.PAUSE),
        ("refusal", FinishReason.REFUSAL),
        ("context_window_exceeded", FinishReason.CONTEXT_OVERFLOW),
    ],
)
def test_each_stop_reason_has_its_word(name: str, reason: FinishReason) -> None:
    assert decoded_fixture(name).finish_reason is reason


@pytest.mark.parametrize(
    ("native", "sequence", "reason"),
    [
        ("compaction", None, FinishReason.PAUSE),
        ("teleported", None, FinishReason.OTHER),
        (None, None, None),
        ("end_turn", "END", FinishReason.STOP_SEQUENCE),  # llama.cpp
    ],
)
def test_unusual_stop_reasons(native: str | None, sequence: str | None, reason: FinishReason | None) -> None:
    response = decode({"content": [], "stop_reason": native, "stop_sequence": sequence})
    assert response.finish_reason is reason
    assert response.native_finish_reason == native


def test_citations_stay_on_their_text() -> None:
    parts = decoded_fixture("citations").message.parts
    assert isinstance(parts[1], Text)
    assert [c["document_index"] for c in parts[1].citations] == [0, 1]


def test_unknown_blocks_are_kept_whole() -> None:
    part = decoded_fixture("unknown_block").message.parts[0]
    assert isinstance(part, Opaque)
    assert part.type == "hologram"
    assert part.native.raw["beam"] == {"angle": 12}


def test_what_the_server_left_out_of_the_history_is_an_adjustment() -> None:
    dropped = [{"type": "thinking_dropped", "reason": "prefix_binding_mismatch"}]
    response = decode({"content": [], "input_transformations": dropped})
    assert [(a.kind, a.what) for a in response.adjustments] == [("lost", "thinking_dropped")]


@pytest.mark.parametrize("given", ['{"a": 1}', None, [1]])
def test_tool_inputs_of_careless_servers_are_kept_as_they_came(given: Any) -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": given}
    call = decode({"content": [block]}).tool_calls[0]
    expected: Any = {"a": 1} if isinstance(given, str) else {} if given is None else None
    assert call.arguments == expected
    assert call.native is None


def test_raw_is_the_decoded_answer() -> None:
    assert decoded_fixture("text").raw == json.loads((FIXTURES / "text.json").read_text(encoding="utf-8"))


# -- errors -------------------------------------------------------------------------------------------------------


def error(status: int, kind: str, message: str, **details: Any) -> Any:
    inner = {"type": kind, "message": message} | ({"details": details} if details else {})
    body = json.dumps({"type": "error", "error": inner, "request_id": "req_body"}).encode()
    return AnthropicMessages(secrets=("hush-hush-key",)).error(status, {"request-id": "req_9"}, body, CONTEXT)


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "max_tokens: Field required", InvalidRequestError),
        (400, "invalid_request_error", "prompt is too long: 215000 tokens > 200000 maximum", ContextLengthError),
        (401, "authentication_error", "invalid x-api-key", AuthenticationError),
        (402, "billing_error", "Your credit balance is too low", PaymentRequiredError),
        (403, "permission_error", "not allowed", PermissionDeniedError),
        (404, "not_found_error", "model: claude-3-opus-20240229", ModelNotFoundError),
        (413, "request_too_large", "Request exceeds the maximum size", RequestTooLargeError),
        (429, "rate_limit_error", "would exceed your rate limit", RateLimitError),
        (500, "api_error", "Internal server error", ServerError),
        (504, "timeout_error", "Request timed out", APITimeoutError),
        (529, "overloaded_error", "Overloaded", OverloadedError),
    ],
)
def test_each_status_has_its_class_and_request_id(
    status: int, kind: str, message: str, expected: type[UnifiedLLMError]
) -> None:
    found = error(status, kind, message)
    assert isinstance(found, expected)
    assert (found.status, found.request_id, found.provider) == (status, "req_9", "claude")
    assert found.hint


def test_a_retired_model_names_current_ones() -> None:
    assert "claude-sonnet-5-5" in error(404, "not_found_error", "model: claude-3-opus-20240229").hint


def test_the_stable_code_of_an_error_is_kept() -> None:
    assert error(400, "invalid_request_error", "x", error_code="file_expired").code == "file_expired"


def test_a_key_that_the_server_quotes_is_masked() -> None:
    assert "hush-hush-key" not in str(error(401, "authentication_error", "bad key hush-hush-key"))


def test_an_error_inside_a_success_is_raised() -> None:
    with pytest.raises(OverloadedError) as caught:
        decode({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert caught.value.status == 529


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"content": "x"', b"[]", b'{"id": 1}'])
def test_a_success_that_is_no_message_is_a_response_error(body: bytes) -> None:
    with pytest.raises(ResponseError) as caught:
        decode(body)
    assert caught.value.hint


# -- models and counting ------------------------------------------------------------------------------------------

ROW = {
    "type": "model",
    "id": "claude-sonnet-5-5",
    "display_name": "Claude Sonnet 5.5",
    "max_input_tokens": 1000000,
    "max_tokens": 128000,
    "capabilities": {
        "image_input": {"supported": True},
        "structured_outputs": {"supported": False},
    },
}


def reply(value: Any) -> WireReply:
    return WireReply(200, {}, json.dumps(value).encode())


def test_a_model_has_limits_and_capabilities() -> None:
    (model,) = AnthropicModels().decode(reply({"data": [ROW], "has_more": False}), CONTEXT)
    assert (model.id, model.name, model.kind) == ("claude-sonnet-5-5", "Claude Sonnet 5.5", "chat")
    assert (model.context_window, model.max_output_tokens) == (1_000_000, 128_000)
    assert dict(model.capabilities) == {
        "tools": "yes",
        "audio": "no",
        "vision": "yes",
        "thinking": "unknown",
        "structured_output": "no",
    }
    assert model.ref == "claude:claude-sonnet-5-5"


def test_pages_are_followed_until_there_is_no_more() -> None:
    codec = AnthropicModels()
    assert codec.encode(CONTEXT).path == "v1/models?limit=1000"
    following = codec.next_call(reply({"data": [ROW], "has_more": True, "last_id": "a/b"}), CONTEXT)
    assert following is not None
    assert following.path == "v1/models?limit=1000&after_id=a/b"
    assert codec.next_call(reply({"data": [], "has_more": False, "last_id": None}), CONTEXT) is None


def test_the_openai_form_of_the_list_is_read_without_guessing() -> None:
    (model,) = AnthropicModels().decode(reply({"object": "list", "data": [{"id": "tiny", "object": "model"}]}), CONTEXT)
    assert (model.id, model.kind, model.context_window, dict(model.capabilities)) == ("tiny", None, None, {})


@pytest.mark.parametrize("body", [b"<html>", b'{"models": []}'])
def test_a_body_that_is_no_list_is_a_response_error(body: bytes) -> None:
    with pytest.raises(ResponseError):
        AnthropicModels().decode(WireReply(200, {}, body), CONTEXT)


def test_a_token_count_is_read_or_refused() -> None:
    assert AnthropicMessages().decode_count(reply({"input_tokens": 12}), CONTEXT) == 12
    with pytest.raises(ResponseError):
        AnthropicMessages().decode_count(reply({}), CONTEXT)
