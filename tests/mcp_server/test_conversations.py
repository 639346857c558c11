"""Conversations: kept between calls under unguessable ids, for a time, for their caller."""

from __future__ import annotations

import asyncio

import pytest

from testkit.mcp_clients import ERAS, in_memory
from testkit.probe_provider import ProbeProvider
from unified_llm import UnifiedLLM
from unified_llm.errors import ServerError
from unified_llm_mcp import ModelServer, Settings, build_server

pytestmark = pytest.mark.parametrize("era", ERAS)


def serve(provider: ProbeProvider, **settings: object) -> ModelServer:
    return build_server(UnifiedLLM(provider=provider), Settings(**settings))  # type: ignore[arg-type]


def texts(provider: ProbeProvider, request: int = -1) -> list[str]:
    return [f"{m.role}: {m.text}" for m in provider.requests[request].messages]


async def test_a_conversation_remembers_turns_and_system_prompt(era: str) -> None:
    provider = ProbeProvider("Yes")
    async with in_memory(serve(provider), era) as client:
        first = await client.call("chat", prompt="One", system="Be brief", conversation_id="new")
        conversation_id = first.structured["conversation_id"]
        second = await client.call("chat", prompt="Two", conversation_id=conversation_id)
    assert len(conversation_id) >= 32
    assert second.structured["conversation_id"] == conversation_id
    assert texts(provider) == ["system: Be brief", "user: One", "assistant: Yes", "user: Two"]


async def test_another_model_goes_on_with_the_same_conversation(era: str) -> None:
    provider = ProbeProvider("Yes")
    async with in_memory(serve(provider), era) as client:
        first = await client.call("chat", prompt="One", conversation_id="new", model="probe:a")
        await client.call("chat", prompt="Two", conversation_id=first.structured["conversation_id"], model="probe:b")
    assert [request.model for request in provider.requests] == ["a", "b"]
    assert texts(provider) == ["user: One", "assistant: Yes", "user: Two"]


async def test_a_call_without_a_conversation_remembers_nothing(era: str) -> None:
    provider = ProbeProvider("Yes")
    async with in_memory(serve(provider), era) as client:
        for prompt in ("One", "Two"):
            result = await client.call("chat", prompt=prompt)
            assert "conversation_id" not in result.structured
    assert texts(provider) == ["user: Two"]


async def test_a_failed_turn_leaves_the_conversation_as_it_was(era: str) -> None:
    provider = ProbeProvider("Yes")
    async with in_memory(serve(provider), era) as client:
        first = await client.call("chat", prompt="One", conversation_id="new")
        conversation_id = first.structured["conversation_id"]
        provider.error = ServerError("broken", status=500)
        assert (await client.call("chat", prompt="Lost", system="no", conversation_id=conversation_id)).is_error
        provider.error = None
        await client.call("chat", prompt="Two", conversation_id=conversation_id)
    assert texts(provider) == ["user: One", "assistant: Yes", "user: Two"]


async def test_a_turn_whose_answer_does_not_follow_its_schema_is_a_failed_one(era: str) -> None:
    provider = ProbeProvider("Yes")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    async with in_memory(serve(provider), era) as client:
        first = await client.call("chat", prompt="One", conversation_id="new")
        conversation_id = first.structured["conversation_id"]
        for answer in ('{"a": "b"}', "no object"):
            provider.pieces = (answer,)
            bad = await client.call("chat", prompt="Lost", conversation_id=conversation_id, response_schema=schema)
            assert bad.is_error
        provider.pieces = ('{"a": 1}',)
        good = await client.call("chat", prompt="Two", conversation_id=conversation_id, response_schema=schema)
        await client.call("chat", prompt="Three", conversation_id=conversation_id)
    assert good.structured["data"] == {"a": 1}
    kept = ["user: One", "assistant: Yes", "user: Two", 'assistant: {"a": 1}', "user: Three"]
    assert texts(provider) == kept


async def test_two_turns_at_once_follow_each_other(era: str) -> None:
    provider = ProbeProvider("Yes")
    async with in_memory(serve(provider), era) as client:
        first = await client.call("chat", prompt="One", conversation_id="new")
        conversation_id = first.structured["conversation_id"]
        async with asyncio.TaskGroup() as group:
            for prompt in ("Two", "Three"):
                group.create_task(client.call("chat", prompt=prompt, conversation_id=conversation_id))
    assert len(texts(provider)) == 5
    assert provider.most_open == 1


async def test_a_turn_that_became_a_handle_is_remembered_at_its_end(era: str) -> None:
    provider = ProbeProvider("Yes")
    provider.gate = asyncio.Event()
    async with in_memory(serve(provider, max_wait=0.05), era) as client:
        first = await client.call("chat", prompt="One", conversation_id="new")
        assert first.structured["status"] == "running"
        provider.gate.set()
        done = await client.call("get_response", response_id=first.structured["response_id"])
        conversation_id = first.structured["conversation_id"]
        assert done.structured["conversation_id"] == conversation_id
        await client.call("chat", prompt="Two", conversation_id=conversation_id)
    assert texts(provider) == ["user: One", "assistant: Yes", "user: Two"]


@pytest.mark.parametrize("wanted", ["conv_guess", "NEW"])
async def test_an_unknown_conversation_is_an_error_before_anything_is_sent(era: str, wanted: str) -> None:
    provider = ProbeProvider()
    async with in_memory(serve(provider), era) as client:
        result = await client.call("chat", prompt="x", conversation_id=wanted)
    assert result.error["category"] == "unknown_conversation"
    assert "'new'" in result.text
    assert provider.requests == []


async def test_the_oldest_conversation_goes_when_there_are_too_many(era: str) -> None:
    async with in_memory(serve(ProbeProvider(), max_conversations=2), era) as client:
        ids = [
            (await client.call("chat", prompt="x", conversation_id="new")).structured["conversation_id"]
            for _ in range(3)
        ]
        outcomes = [(await client.call("chat", prompt="y", conversation_id=one)).is_error for one in ids]
    assert outcomes == [True, False, False]


async def test_a_conversation_that_takes_too_much_memory_is_not_continued(era: str) -> None:
    async with in_memory(serve(ProbeProvider(), max_kept_bytes=8000), era) as client:
        first = await client.call("chat", prompt="x" * 1001, conversation_id="new")
        second = await client.call("chat", prompt="x", conversation_id=first.structured["conversation_id"])
    assert second.error["category"] == "conversation_too_large"
    assert "'new'" in second.text


async def test_the_oldest_conversation_goes_when_memory_is_short_and_not_before(era: str) -> None:
    server = serve(ProbeProvider(), max_kept_bytes=8000)
    async with in_memory(server, era) as client:
        ids = []
        for _ in range(10):
            result = await client.call("chat", prompt="x" * 990, conversation_id="new")
            ids.append(result.structured["conversation_id"])
        kept = [key for key, _ in server.state.conversations.items("local")]
    assert kept == ids[-7:]


@pytest.mark.parametrize("how", ["failed", "cancelled"])
async def test_a_conversation_whose_first_turn_fails_is_not_kept(era: str, how: str) -> None:
    provider = ProbeProvider()
    server = serve(provider, max_wait=0.05)
    async with in_memory(server, era) as client:
        if how == "failed":
            provider.error = ServerError("down", hint="x")
            assert (await client.call("chat", prompt="x", conversation_id="new")).is_error
        else:
            provider.gate = asyncio.Event()
            running = await client.call("chat", prompt="x", conversation_id="new")
            assert "conversation_id" in running.structured
            stopped = await client.call("get_response", response_id=running.structured["response_id"], cancel=True)
            assert stopped.structured["status"] == "cancelled"
            assert "conversation_id" not in stopped.structured
        assert list(server.state.conversations.items("local")) == []
