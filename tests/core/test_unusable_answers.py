"""Answers that cannot be used, through every transport of both dialects: one class, and which request it was."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest

from testkit.wire_server import CLOSE, RESET, Answer, WireServer, head, reply
from unified_llm import APIError, ResponseError, StreamInterruptedError, UnifiedLLM, UnifiedLLMError

KEY = "PLANTED-key-without-a-shape"
IDS = {"request-id": "req_7", "x-request-id": "req_7", "content-type": "application/json"}
WAYS = {
    "claude, sdk": ("claude", {"transport": "sdk"}),
    "claude, sdk-aiohttp": ("claude", {"transport": "sdk-aiohttp"}),
    "claude, http": ("claude", {"transport": "http"}),
    "openai": ("openai-compatible", {}),
    "openai, aiohttp": ("openai-compatible", {"transport": "aiohttp"}),
}
WHOLE = {
    "claude": json.dumps({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": []}).encode(),
    "openai-compatible": json.dumps({"id": "c", "model": "m", "choices": []}).encode(),
}
NO_ANSWERS = {
    "a web page": b"<!doctype html><title>Login</title>",
    "half an object": b'{"id": "m", "cont',
    "a list": b"[]",
    "a list of numbers": b"[1]",
    "a string": b'"x"',
    "null": b"null",
    "a number": b"5",
    "an empty object": b"{}",
    "nothing": b"",
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return WAYS[request.param]


async def failures(way: tuple[str, dict[str, Any]], answer: Answer) -> list[UnifiedLLMError]:
    """What a sync and an async call raise."""
    provider, options = way
    raised = []
    with WireServer(answer) as server:
        base_url = server.url if provider == "claude" else server.url + "/v1"
        llm = UnifiedLLM(provider, model="m", api_key=KEY, base_url=base_url, max_retries=0, **options)
        with pytest.raises(UnifiedLLMError) as caught:
            llm.chat("hello")
        raised.append(caught.value)
        with pytest.raises(UnifiedLLMError) as caught:
            await llm.chat_async("hello")
        raised.append(caught.value)
        await llm.aclose()
    return raised


def check(error: UnifiedLLMError, kind: type[UnifiedLLMError], provider: str, status: int = 200) -> None:
    assert isinstance(error, kind), repr(error)
    assert (error.provider, error.model, error.status, error.request_id) == (provider, "m", status, "req_7")
    assert error.hint
    shown = "".join(traceback.format_exception(error)) + repr(vars(error))
    assert KEY not in shown


@pytest.mark.parametrize("ending", [CLOSE, RESET], ids=["closed", "reset"])
async def test_a_body_cut_short_says_which_request_it_was(way: tuple[str, dict[str, Any]], ending: Any) -> None:
    whole = WHOLE[way[0]]
    cut: Answer = [head(200, {**IDS, "content-length": str(len(whole))}) + whole[:20], ending]
    for error in await failures(way, cut):
        check(error, StreamInterruptedError, way[0])
        assert error.retryable


@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_a_body_that_is_no_answer_is_a_response_error(way: tuple[str, dict[str, Any]], body: bytes) -> None:
    for error in await failures(way, reply(200, body, IDS)):
        check(error, ResponseError, way[0])


async def test_an_error_inside_a_success_is_that_error(way: tuple[str, dict[str, Any]]) -> None:
    body = {"type": "error", "error": {"type": "api_error", "message": f"It broke for {KEY}"}}
    for error in await failures(way, reply(200, json.dumps(body).encode(), IDS)):
        check(error, APIError, way[0], 500 if way[0] == "claude" else 200)  # what Anthropic's error types stand for
        assert "It broke for [redacted]" in error.message
