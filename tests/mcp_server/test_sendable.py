"""What models and providers send need not be valid Unicode. What the server sends is, or it could not be sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from testkit.mcp_clients import ERAS, MCPError, in_memory
from testkit.mcp_raw import raw_server
from testkit.probe_provider import ProbeProvider
from testkit.wire_server import WireServer, sse
from unified_llm import ModelInfo, UnifiedLLM
from unified_llm.errors import InvalidRequestError
from unified_llm_mcp import ModelServer, Settings, build_server
from unified_llm_mcp.sendable import well_formed

HALF = "\ud83d"
OTHER_HALF = "\ude00"


def serve(provider: ProbeProvider) -> ModelServer:
    return build_server(UnifiedLLM(provider=provider), Settings())


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("plain ü 😀", "plain ü 😀"),
        (HALF + OTHER_HALF, "😀"),
        (f"a{HALF}", "a\ufffd"),
        (f"{OTHER_HALF}a", "\ufffda"),
        (f"{HALF}{HALF}{OTHER_HALF}", "\ufffd😀"),
        (f"{HALF}a😀", "\ufffda😀"),
    ],
)
def test_halves_are_joined_or_replaced_and_the_rest_stays(given: str, wanted: str) -> None:
    assert well_formed(given) == wanted


@pytest.mark.parametrize("era", ERAS)
async def test_an_answer_with_half_a_character_arrives_and_says_what_was_changed(era: str) -> None:
    async with in_memory(serve(ProbeProvider(f"a{HALF}")), era) as client:
        result = await client.call("chat", prompt="x")
    assert result.text == result.structured["text"] == "a\ufffd"
    assert "U+FFFD" in result.structured["adjustments"][0]


@pytest.mark.parametrize("era", ERAS)
async def test_data_with_half_a_character_arrives(era: str) -> None:
    async with in_memory(serve(ProbeProvider(r'{"a": ["\ud83d"]}')), era) as client:
        result = await client.call("chat", prompt="x", response_schema={"type": "object"})
    assert result.structured["data"] == {"a": ["\ufffd"]}


async def test_a_character_split_between_two_pieces_of_a_stream_is_joined_in_progress_too() -> None:
    heard: list[str | None] = []
    provider = ProbeProvider(f"a{HALF}", f"{OTHER_HALF}b{HALF}")
    provider.gate, provider.first_piece_before_gate = asyncio.Event(), True
    gate = provider.gate

    async def progress(count: float, total: float | None, message: str | None) -> None:
        heard.append(message)
        gate.set()

    async with in_memory(serve(provider)) as client:
        result = await client.call("chat", prompt="x", progress=progress)
    assert "".join(message or "" for message in heard) == result.text == "a😀b\ufffd"
    assert heard[0] == "a"


async def test_an_error_of_a_provider_with_half_a_character_is_told() -> None:
    provider = ProbeProvider()
    provider.error = InvalidRequestError(f"no {HALF}", hint="x")
    async with in_memory(serve(provider)) as client:
        result = await client.call("chat", prompt="x")
    assert "no \ufffd" in result.text


async def test_the_id_of_a_model_with_half_a_character_is_listed_and_read() -> None:
    class Odd(ProbeProvider):
        async def list_models_async(self) -> list[ModelInfo]:
            return [ModelInfo(f"m{HALF}", self.name)]

    async with in_memory(serve(Odd())) as client:
        listed = await client.call("list_models", provider="probe")
        (read,) = (await client.session.read_resource("llm://models")).contents
    assert listed.structured["models"][0]["id"] == "probe:m\ufffd"
    assert "probe:m\ufffd" in read.text


async def test_why_models_are_not_known_is_told_when_it_holds_half_a_character() -> None:
    class Broken(ProbeProvider):
        async def list_models_async(self) -> list[ModelInfo]:
            raise InvalidRequestError(f"no {HALF}", hint="x")

    async with in_memory(serve(Broken())) as client:
        with pytest.raises(MCPError, match="no \ufffd"):
            await client.session.read_resource("llm://models/probe/m")


def chunk(text: str | None) -> dict[str, Any]:
    delta = {} if text is None else {"role": "assistant", "content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if text is None else None}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


async def test_the_process_survives_half_a_character_and_the_answer_arrives() -> None:
    with WireServer(sse([chunk(f"a{HALF}b"), chunk(None)])) as backend:
        environment = {"OPENAI_COMPATIBLE_BASE_URL": f"{backend.url}/v1"}
        async with raw_server("--model", "openai-compatible:m", env=environment) as server:
            await server.initialize()
            meta = {"progressToken": 1}
            result = await server.ask("tools/call", name="chat", arguments={"prompt": "x"}, _meta=meta)
            assert result["structuredContent"]["text"] == "a\ufffdb"
            assert await server.ask("ping") == {}
