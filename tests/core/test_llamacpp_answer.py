"""A streamed answer put together again is the answer llama.cpp gives without streaming, whatever was asked."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from testkit.llama import LlamaServer
from unified_llm.drivers.llamacpp_answer import AnswerBuilder
from unified_llm.errors import StreamInterruptedError

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "boolean"}}, "required": ["a", "b"]}
ASKED: dict[str, dict[str, Any]] = {
    "text": {"max_tokens": 30},
    "stop": {"max_tokens": 200, "stop": ["e"]},
    "tool call": {"max_tokens": 200, "tools": [WEATHER]},
    "schema": {"max_tokens": 200, "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
    "logprobs": {"max_tokens": 5, "logprobs": True, "top_logprobs": 2},
    "two choices": {"max_tokens": 10, "n": 2},
}
# What differs between any two answers to one question.
PASSING = {"id", "created", "timings"}


def ask(server: LlamaServer, body: dict[str, Any], *, stream: bool) -> bytes:
    messages = [{"role": "user", "content": "Hello there"}]
    body = {"messages": messages, "temperature": 0, "cache_prompt": False, **body, "stream": stream}
    if stream:
        body |= {"stream_options": {"include_usage": True}, "return_progress": True}
    return httpx.post(f"{server.v1_url}/chat/completions", json=body, timeout=30).content


def essence(answer: dict[str, Any]) -> dict[str, Any]:
    answer = {k: v for k, v in answer.items() if k not in PASSING}
    for choice in answer["choices"]:
        for call in choice["message"].get("tool_calls", ()):
            call.pop("id")
    return answer


@pytest.mark.parametrize("asked", ASKED.values(), ids=list(ASKED))
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_it_equals_the_answer_without_streaming(llama_server: LlamaServer, asked: dict[str, Any], size: int) -> None:
    streamed = ask(llama_server, asked, stream=True)
    builder = AnswerBuilder()
    for start in range(0, len(streamed), size):
        builder.feed(streamed[start : start + size])
    status, body = builder.answer()
    answer = json.loads(body)
    assert status == 200
    assert answer["timings"]["predicted_n"] > 0
    assert essence(answer) == essence(json.loads(ask(llama_server, asked, stream=False)))


def test_an_answer_that_stops_in_the_middle_is_an_error(llama_server: LlamaServer) -> None:
    streamed = ask(llama_server, {"max_tokens": 20}, stream=True)
    builder = AnswerBuilder()
    builder.feed(streamed[: len(streamed) // 2])
    with pytest.raises(StreamInterruptedError):
        builder.answer()


def test_an_error_in_the_middle_is_the_answer() -> None:
    builder = AnswerBuilder()
    builder.feed(b'data: {"choices":[{"index":0,"delta":{"content":"He"}}]}\n\n')
    builder.feed(b'data: {"error":{"code":500,"message":"out of memory","type":"server_error"}}\n\n')
    status, body = builder.answer()
    assert status == 500
    assert json.loads(body)["error"]["message"] == "out of memory"
