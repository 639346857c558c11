"""The tools on a real llama.cpp server; and servers that have not the model, or are not there."""

from __future__ import annotations

import asyncio
import importlib.util
import socket

import pytest

from testkit.llama import LlamaServer
from testkit.mcp_clients import ERAS, in_memory
from testkit.wire_server import WireServer, json_reply
from unified_llm import UnifiedLLM
from unified_llm_mcp import ModelServer, Settings, build_server

pytestmark = pytest.mark.parametrize("era", ERAS)
on_llama = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="the engine comes with unified-llm[local]"
)


def serve(base_url: str, provider: str = "llamacpp", **settings: object) -> ModelServer:
    client = UnifiedLLM(provider=provider, base_url=base_url, api_key="none")
    return build_server(client, Settings(**settings))  # type: ignore[arg-type]


@on_llama
async def test_a_listed_model_answers_and_what_is_heard_meanwhile_is_the_answer(
    era: str, llama_server: LlamaServer
) -> None:
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async with in_memory(serve(llama_server.v1_url), era) as client:
        (listed,) = (await client.call("list_models", provider="llamacpp")).structured["models"]
        answer = await client.call("chat", prompt="Hi", model=listed["id"], max_tokens=24, temperature=0, progress=hear)
    assert answer.structured["provider"] == "llamacpp"
    assert answer.structured["finish_reason"] == "length"
    assert answer.structured["usage"]["output_tokens"] == 24
    assert "".join(heard) == answer.text != ""


@on_llama
async def test_an_answer_follows_a_schema(era: str, llama_server: LlamaServer) -> None:
    schema = {
        "type": "object",
        "properties": {"yes": {"type": "boolean"}},
        "required": ["yes"],
        "additionalProperties": False,
    }
    async with in_memory(serve(llama_server.v1_url), era) as client:
        answer = await client.call("chat", prompt="Is it?", response_schema=schema, max_tokens=200)
    assert isinstance(answer.structured["data"]["yes"], bool)


@on_llama
async def test_cancelling_a_chat_frees_the_servers_slot_within_a_second(era: str, llama_server: LlamaServer) -> None:
    async with in_memory(serve(llama_server.v1_url), era) as client:
        # At temperature 0 this model never ends by itself.
        call = asyncio.create_task(client.call("chat", prompt="Go on", temperature=0))
        assert await asyncio.to_thread(llama_server.wait_busy, 10)
        await client.cancel(call)
        assert await asyncio.to_thread(llama_server.wait_idle, 1.0)
        with pytest.raises(asyncio.CancelledError):
            await call


@on_llama
async def test_an_embedding_model_gives_vectors(era: str, llama_embedding_server: LlamaServer) -> None:
    async with in_memory(serve(llama_embedding_server.v1_url), era) as client:
        result = await client.call("embed", texts=["a cat", "a dog"])
    assert (result.structured["count"], result.structured["dimensions"]) == (2, 64)
    assert [len(vector) for vector in result.structured["embeddings"]] == [64, 64]


async def test_a_model_that_does_not_exist_is_an_error_that_points_to_the_list(era: str) -> None:
    error = {"message": "The model 'gone' does not exist", "type": "invalid_request_error", "code": "model_not_found"}
    with WireServer(json_reply({"error": error}, 404)) as backend:
        async with in_memory(serve(f"{backend.url}/v1", "openai-compatible"), era) as client:
            result = await client.call("chat", prompt="x", model="openai-compatible:gone")
    assert result.error["category"] == "model_not_found"
    assert (result.error["status"], result.error["model"], result.error["retryable"]) == (404, "gone", False)
    assert "list_models" in result.text


async def test_a_server_that_is_down_is_an_error_that_may_pass(era: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    async with in_memory(serve(url, "openai-compatible"), era) as client:
        result = await client.call("chat", prompt="x", model="openai-compatible:m")
    assert (result.error["category"], result.error["retryable"]) == ("connection", True)
    assert "What to do: is the server running" in result.text
