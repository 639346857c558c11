"""What the real llama.cpp server of the fixtures does: the ground the other tests stand on."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from testkit.llama import LlamaServer, start_llama_server
from testkit.tiny_gguf import TinyModel, write_tiny_gguf


def _chat(server: LlamaServer, text: str = "Hello", **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    reply = httpx.post(f"{server.v1_url}/chat/completions", json={"messages": messages, **body}, timeout=30)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_the_tiny_model_ends_its_turn_by_itself_and_says_something(llama_server: LlamaServer) -> None:
    choice = _chat(llama_server)["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"].strip().isascii()
    assert choice["message"]["content"].strip()


def test_at_temperature_zero_the_tiny_model_is_repeatable_and_goes_on_to_the_limit(llama_server: LlamaServer) -> None:
    first, second = (_chat(llama_server, temperature=0, max_tokens=40) for _ in range(2))
    assert first["choices"][0]["finish_reason"] == "length"
    assert first["usage"]["completion_tokens"] == 40
    assert first["choices"][0]["message"]["content"] == second["choices"][0]["message"]["content"]


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_the_tiny_model_calls_a_tool_it_is_given_with_arguments_that_fit(
    llama_server: LlamaServer, choice: str
) -> None:
    answer = _chat(llama_server, tools=[WEATHER], tool_choice=choice, max_tokens=300)["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    (call,) = answer["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert isinstance(json.loads(call["function"]["arguments"])["city"], str)


def test_the_tiny_model_answers_with_text_after_a_tool_result(llama_server: LlamaServer) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Nice"}'}}
    messages = [
        {"role": "user", "content": "Weather in Nice?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    answer = _chat(llama_server, messages=messages, tools=[WEATHER], max_tokens=300)["choices"][0]
    assert "tool_calls" not in answer["message"]
    assert answer["message"]["content"].strip()


def test_the_slots_show_a_running_generation_and_its_end(llama_server: LlamaServer) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0, "stream": True}
    with httpx.stream("POST", f"{llama_server.v1_url}/chat/completions", json=body, timeout=30) as reply:
        body_so_far = reply.iter_bytes()
        assert next(body_so_far)
        assert not llama_server.is_idle()
    assert llama_server.wait_idle(0.5)


def test_the_embedding_server_gives_vectors_that_tell_texts_apart(llama_embedding_server: LlamaServer) -> None:
    body = {"input": ["a cat", "a cat", "42 % of GDP"], "model": "any"}
    reply = httpx.post(f"{llama_embedding_server.v1_url}/embeddings", json=body).json()
    same, again, other = (row["embedding"] for row in reply["data"])
    assert len(same) == 64
    assert same == pytest.approx(again, abs=1e-5)
    assert sum(a * b for a, b in zip(same, other, strict=True)) < 0.95


def test_a_server_is_ready_within_seconds_and_ends_when_stopped(tmp_path: Any) -> None:
    model = write_tiny_gguf(tmp_path / "rerank.gguf", TinyModel(kind="rerank", name="Tiny Rerank"))
    started = time.monotonic()
    with start_llama_server(model, kind="rerank", api_key="secret-key-1", parallel=1) as server:
        assert time.monotonic() - started < 10
        assert server.is_idle()
        assert httpx.get(f"{server.url}/slots").status_code == 401
        body = {"query": "cat", "documents": ["a cat", "nothing"]}
        headers = {"Authorization": "Bearer secret-key-1"}
        reply = httpx.post(f"{server.v1_url}/rerank", json=body, headers=headers, timeout=30).json()
        assert {row["index"] for row in reply["results"]} == {0, 1}
    assert server.process.returncode == 0
