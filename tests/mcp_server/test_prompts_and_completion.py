"""Prompts, and suggestions for their arguments."""

from __future__ import annotations

import asyncio
from typing import Any

import mcp
import pytest

from testkit.mcp_clients import ERAS, SDK_2, MCPError, TestClient, in_memory, wire
from testkit.probe_provider import ProbeProvider
from unified_llm import ModelInfo, UnifiedLLM
from unified_llm_mcp import ModelServer, build_server

pytestmark = pytest.mark.parametrize("era", ERAS)


def serve(provider: ProbeProvider | None = None) -> ModelServer:
    return build_server(UnifiedLLM(provider=provider or ProbeProvider()))


async def get(client: TestClient, name: str, **arguments: str) -> str:
    prompt = wire(await client.session.get_prompt(name, arguments))
    (message,) = prompt["messages"]
    assert message["role"] == "user"
    text = message["content"]["text"]
    assert isinstance(text, str)
    return text


async def complete(
    client: TestClient, reference: dict[str, Any], argument: str, value: str, chosen: dict[str, str] | None = None
) -> dict[str, Any]:
    kind: Any = mcp.types.PromptReference if "name" in reference else mcp.types.ResourceTemplateReference
    given = {"name": argument, "value": value}
    completed = wire(await client.session.complete(kind.model_validate(reference), given, chosen))["completion"]
    assert isinstance(completed, dict)
    return completed


def prompt(name: str) -> dict[str, Any]:
    return {"type": "ref/prompt", "name": name}


def template(uri: str) -> dict[str, Any]:
    return {"type": "ref/resource", "uri": uri}


async def test_prompts_have_titles_and_described_arguments(era: str) -> None:
    async with in_memory(serve(), era) as client:
        prompts = wire(await client.session.list_prompts())["prompts"]
    assert [p["name"] for p in prompts] == ["ask", "second_opinion", "compare_models"]
    for one in prompts:
        assert one["title"]
        assert one["description"]
        assert all(argument["description"] for argument in one["arguments"])


async def test_a_prompt_holds_its_arguments_as_they_were_typed(era: str) -> None:
    async with in_memory(serve(), era) as client:
        text = await get(client, "ask", question="Is {model} a {question}?", model="probe:talker")
        opinion = await get(client, "second_opinion", question="Q", draft="D")
        compared = await get(client, "compare_models", question="Q", models="a:b, c:d")
    assert "model probe:talker" in text
    assert text.endswith("Is {model} a {question}?")
    assert "Draft:\nD" in opinion
    assert "a:b, c:d" in compared


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("nothing", {}), ("ask", {}), ("ask", {"question": " "}), ("ask", {"question": "x", "modle": "y"})],
)
async def test_an_unknown_prompt_and_wrong_arguments_are_invalid_parameters(
    era: str, name: str, arguments: dict[str, str]
) -> None:
    async with in_memory(serve(), era) as client:
        with pytest.raises(MCPError) as raised:
            await get(client, name, **arguments)
    assert raised.value.error.code == -32602


async def test_models_are_completed_by_prefix_first_then_by_any_part(era: str) -> None:
    class Many(ProbeProvider):
        async def list_models_async(self) -> list[ModelInfo]:
            return [ModelInfo(name, "probe") for name in ("x-probe:t", "talker", "other/talker")]

    async with in_memory(serve(Many()), era) as client:
        await client.call("list_models", provider="probe")
        found = await complete(client, prompt("ask"), "model", "probe:t")
        part = await complete(client, prompt("ask"), "model", "TALK")
        last = await complete(client, prompt("compare_models"), "models", "claude:x, probe:ta")
        inside = await complete(client, template("llm://models/{provider}/{+model}"), "model", "oth")
    assert found["values"] == ["probe:talker", "probe:x-probe:t"]
    assert part["values"] == ["probe:talker", "probe:other/talker"]
    assert last["values"] == ["claude:x,probe:talker"]
    assert inside["values"] == ["other/talker"]


async def test_models_of_another_provider_than_the_chosen_one_are_not_offered(era: str) -> None:
    model = template("llm://models/{provider}/{+model}")
    async with in_memory(serve(), era) as client:
        await client.call("list_models", provider="probe")
        found = [await complete(client, model, "model", "", {"provider": name}) for name in ("probe", "offline")]
        every = await complete(client, model, "model", "")
    assert [one["total"] for one in found] == [3, 0]
    assert every["total"] >= 3


async def test_what_is_no_argument_of_a_prompt_or_template_has_no_candidates(era: str) -> None:
    conversation = template("llm://conversations/{conversation_id}")
    async with in_memory(serve(), era) as client:
        await client.call("chat", prompt="Hi", conversation_id="new")
        for reference, argument in (
            (prompt("ask"), "conversation_id"),
            (prompt("ask"), "provider"),
            (conversation, "model"),
        ):
            assert (await complete(client, reference, argument, ""))["values"] == []


async def test_more_than_a_hundred_candidates_are_counted_and_cut(era: str) -> None:
    class Many(ProbeProvider):
        async def list_models_async(self) -> list[ModelInfo]:
            return [ModelInfo(f"m{n}", "probe") for n in range(250)]

    async with in_memory(serve(Many()), era) as client:
        await client.call("list_models", provider="probe")
        found = await complete(client, prompt("ask"), "model", "")
    assert (len(found["values"]), found["total"], found["hasMore"]) == (100, 250, True)


async def test_a_provider_that_does_not_answer_holds_up_no_completion(era: str) -> None:
    class Slow(ProbeProvider):
        async def list_models_async(self) -> list[ModelInfo]:
            await asyncio.Event().wait()
            raise AssertionError("never set")

    async with in_memory(serve(Slow()), era) as client:
        async with asyncio.timeout(3):
            found = await complete(client, prompt("ask"), "model", "x")
    assert found["values"] == []


async def test_conversations_and_providers_are_completed(era: str) -> None:
    async with in_memory(serve(), era) as client:
        result = await client.call("chat", prompt="Hi", conversation_id="new")
        conversation_id = result.structured["conversation_id"]
        by_id = await complete(
            client, template("llm://conversations/{conversation_id}"), "conversation_id", conversation_id[:9]
        )
        providers = await complete(client, template("llm://models/{provider}/{+model}"), "provider", "pro")
    assert by_id["values"] == [conversation_id]
    assert providers["values"] == ["probe"]


async def test_an_unknown_reference_has_no_candidates(era: str) -> None:
    async with in_memory(serve(), era) as client:
        for reference in (prompt("nothing"), template("file:///{path}")):
            assert (await complete(client, reference, "model", ""))["values"] == []


async def test_a_new_conversation_is_announced_to_clients_of_the_handshake_era(era: str) -> None:
    server = serve()
    if SDK_2 and era != "legacy":
        pytest.skip("clients of the 2026 protocol listen on a subscription: see the next test")
    heard: list[str] = []
    arrived = asyncio.Event()

    async def hear(message: Any) -> None:
        heard.append(type(getattr(message, "root", message)).__name__)
        arrived.set()

    async with in_memory(server, era, message_handler=hear) as client:
        await client.call("chat", prompt="Hi", conversation_id="new")
        async with asyncio.timeout(5):
            await arrived.wait()
    assert heard == ["ResourceListChangedNotification"]


@pytest.mark.skipif(not SDK_2, reason="subscriptions/listen is of the 2026 protocol, which SDK 1.x does not speak")
async def test_a_new_conversation_is_announced_to_those_who_listen(era: str) -> None:
    if era == "legacy":
        pytest.skip("clients of the handshake era are told unasked: see the test before")
    async with in_memory(serve(), era) as client, client.session.listen(resources_list_changed=True) as events:
        await client.call("chat", prompt="Hi", conversation_id="new")
        async with asyncio.timeout(5):
            event = await anext(aiter(events))
    assert type(event).__name__ == "ResourcesListChanged"
