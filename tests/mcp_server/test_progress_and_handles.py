"""Streaming by progress notifications, and answers fetched later."""

from __future__ import annotations

import asyncio

import pytest

from testkit.mcp_clients import ERAS, MCPError, TestClient, in_memory, wire
from testkit.probe_provider import ProbeProvider
from unified_llm import Embeddings, EmbedRequest, ModelInfo, UnifiedLLM
from unified_llm.errors import ModelNotFoundError, ServerError
from unified_llm_mcp import ModelServer, Settings, build_server

pytestmark = pytest.mark.parametrize("era", ERAS)


class Heard:
    """The progress notifications of one call."""

    def __init__(self) -> None:
        self.all: list[tuple[float, float | None, str | None]] = []
        self.arrived = asyncio.Event()

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.all.append((progress, total, message))
        self.arrived.set()

    @property
    def text(self) -> str:
        return "".join(message or "" for _, _, message in self.all)


def serve(provider: ProbeProvider, **settings: object) -> ModelServer:
    return build_server(UnifiedLLM(provider=provider), Settings(**settings))  # type: ignore[arg-type]


def held(*pieces: str) -> ProbeProvider:
    """A provider that sends its first piece and waits for the gate."""
    provider = ProbeProvider(*pieces)
    provider.gate = asyncio.Event()
    provider.first_piece_before_gate = True
    return provider


async def test_progress_messages_join_to_the_answer_and_count_up(era: str) -> None:
    provider = held("One ", "two ", "three")
    heard = Heard()
    async with in_memory(serve(provider), era) as client, asyncio.TaskGroup() as group:
        call = group.create_task(client.call("chat", prompt="x", progress=heard))
        await heard.arrived.wait()
        assert heard.all == [(1, None, "One ")]
        assert provider.gate is not None
        provider.gate.set()
    assert heard.text == call.result().text == "One two three"
    assert [progress for progress, _, _ in heard.all] == list(range(1, len(heard.all) + 1))


async def test_a_thousand_pieces_make_few_notifications(era: str) -> None:
    heard = Heard()
    async with in_memory(serve(ProbeProvider(*["word "] * 1000)), era) as client:
        result = await client.call("chat", prompt="x", progress=heard)
    assert heard.text == result.text
    assert len(heard.all) < 10


async def test_silence_is_filled_with_heartbeats_without_text(era: str) -> None:
    provider = ProbeProvider()
    provider.gate = asyncio.Event()
    heard = Heard()
    async with in_memory(serve(provider, heartbeat=0.01), era) as client, asyncio.TaskGroup() as group:
        call = group.create_task(client.call("chat", prompt="x", progress=heard))
        async with asyncio.timeout(5):
            while len(heard.all) < 3:
                heard.arrived.clear()
                await heard.arrived.wait()
        assert [message for _, _, message in heard.all[:3]] == [None, None, None]
        provider.gate.set()
    assert heard.text == call.result().text
    progress = [value for value, _, _ in heard.all]
    assert progress == sorted(set(progress))


async def test_escape_sequences_of_a_model_do_not_reach_a_terminal(era: str) -> None:
    heard = Heard()
    async with in_memory(serve(ProbeProvider("a\x1b[2Jb\n\tc")), era) as client:
        result = await client.call("chat", prompt="x", progress=heard)
    assert heard.text == "a[2Jb\n\tc"
    assert result.structured["text"] == "a\x1b[2Jb\n\tc"


async def running(client: TestClient) -> dict[str, object]:
    result = await client.call("chat", prompt="x")
    assert result.structured["status"] == "running"
    assert result.structured["text"] == "One "
    assert result.structured["response_id"] in result.text
    return result.structured


async def test_a_long_call_becomes_a_handle_with_the_text_so_far_and_is_fetched_later(era: str) -> None:
    provider = held("One ", "two")
    heard = Heard()
    async with in_memory(serve(provider, max_wait=0.05), era) as client:
        response_id = (await running(client))["response_id"]
        assert provider.gate is not None
        provider.gate.set()
        result = await client.call("get_response", response_id=response_id, progress=heard)
        again = await client.call("get_response", response_id=response_id)
    assert (result.structured["status"], result.text) == ("complete", "One two")
    assert again.structured == result.structured
    assert heard.text in ("One two", "")  # nothing is sent for an answer that was complete already


async def test_waiting_for_a_running_answer_ends_in_time_and_leaves_it_running(era: str) -> None:
    provider = held("One ", "two")
    async with in_memory(serve(provider, max_wait=0.05), era) as client:
        response_id = (await running(client))["response_id"]
        again = await client.call("get_response", response_id=response_id, wait_s=0)
        assert again.structured["status"] == "running"
        assert provider.open_now == 1


async def test_a_running_answer_can_be_cancelled_and_keeps_its_text(era: str) -> None:
    provider = held("One ", "two")
    async with in_memory(serve(provider, max_wait=0.05), era) as client:
        response_id = (await running(client))["response_id"]
        result = await client.call("get_response", response_id=response_id, cancel=True)
        assert provider.open_now == 0
    assert (result.structured["status"], result.structured["text"]) == ("cancelled", "One ")


async def test_an_error_after_the_handover_is_told_to_who_fetches(era: str) -> None:
    provider = held("One ", "two")
    provider.error = ServerError("broken", status=500)
    async with in_memory(serve(provider, max_wait=0.05), era) as client:
        response_id = (await running(client))["response_id"]
        assert provider.gate is not None
        provider.gate.set()
        result = await client.call("get_response", response_id=response_id)
    assert result.error["category"] == "server_error"


async def test_an_unknown_response_id_is_a_tool_error_that_says_so(era: str) -> None:
    async with in_memory(serve(ProbeProvider()), era) as client:
        result = await client.call("get_response", response_id="resp_guess")
    assert result.error["category"] == "unknown_response"


async def test_closing_the_server_stops_what_still_runs(era: str) -> None:
    provider = held("One ", "two")
    async with in_memory(serve(provider, max_wait=0.05), era) as client:
        await running(client)
        assert provider.open_now == 1
    assert provider.open_now == 0


async def test_a_wait_of_zero_means_as_long_as_it_takes(era: str) -> None:
    provider = held("One ", "two")
    async with in_memory(serve(provider, max_wait=0, heartbeat=0.01), era) as client, asyncio.TaskGroup() as group:
        heard = Heard()
        call = group.create_task(client.call("chat", prompt="x", progress=heard))
        async with asyncio.timeout(5):
            while len(heard.all) < 5:
                heard.arrived.clear()
                await heard.arrived.wait()
        assert provider.gate is not None
        provider.gate.set()
    assert call.result().structured["status"] == "complete"


async def test_a_long_piece_is_reported_in_parts(era: str) -> None:
    heard = Heard()
    async with in_memory(serve(ProbeProvider("x" * 250_000)), era) as client:
        await client.call("chat", prompt="x", progress=heard)
    assert [len(message or "") for _, _, message in heard.all] == [100_000, 100_000, 50_000]
    assert [progress for progress, _, _ in heard.all] == [1, 2, 3]


async def test_without_the_tool_get_response_a_chat_lasts_until_its_end(era: str) -> None:
    provider = held("One ", "two")
    heard = Heard()
    server = serve(provider, tools=("chat",), max_wait=0.05, heartbeat=0.05)
    async with in_memory(server, era) as client, asyncio.TaskGroup() as group:
        call = group.create_task(client.call("chat", prompt="x", progress=heard))
        async with asyncio.timeout(10):
            while len(heard.all) < 4:  # the text and three heartbeats: longer than max_wait
                heard.arrived.clear()
                await heard.arrived.wait()
        assert provider.gate is not None
        provider.gate.set()
    assert call.result().structured["status"] == "complete"


async def test_no_word_is_said_of_tools_that_are_not_offered(era: str) -> None:
    server = serve(ProbeProvider(), tools=("chat",))
    async with in_memory(server, era) as client:
        (chat,) = await client.tools()
        prompts = wire(await client.session.list_prompts())["prompts"]
    said = str(chat) + str(server.instructions) + str(prompts)
    assert "get_response" not in said
    assert "list_models" not in said
    assert "embed" not in str(server.instructions)
    assert "Model id, such as claude:" in said


async def test_there_are_no_prompts_where_the_tool_that_they_use_is_not_offered(era: str) -> None:
    async with in_memory(serve(ProbeProvider(), tools=("embed",)), era) as client:
        assert wire(await client.session.list_prompts())["prompts"] == []
        with pytest.raises(MCPError):
            await client.session.get_prompt("ask", {"question": "x"})


@pytest.mark.parametrize("offered", [("chat", "list_models"), ("chat", "embed")])
async def test_where_to_find_models_is_said_by_the_name_of_what_is_offered(era: str, offered: tuple[str, ...]) -> None:
    provider = ProbeProvider()
    provider.error = ModelNotFoundError("there is no model m")
    async with in_memory(serve(provider, tools=offered), era) as client:
        gone = await client.call("chat", prompt="x", model="probe:m")
        nobody = await client.call("chat", prompt="x", model="cluade:m")
        models = wire(await client.session.read_resource("llm://models"))["contents"][0]["text"]
    assert [gone.error["category"], nobody.error["category"]] == ["model_not_found", "unknown_provider"]
    for result in (gone, nobody):
        assert ("call list_models" in result.text) is ("list_models" in offered)
        assert ("llm://models" in result.text) is ("list_models" not in offered)
    assert "probe:talker" in models


class SlowLists(ProbeProvider):
    """Lists its models when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def list_models_async(self) -> list[ModelInfo]:
        await self.may_answer.wait()
        return await super().list_models_async()


async def test_heartbeats_come_while_providers_list_their_models(era: str) -> None:
    provider = SlowLists()
    heard = Heard()
    async with in_memory(serve(provider, heartbeat=0.01), era) as client, asyncio.TaskGroup() as group:
        call = group.create_task(client.call("list_models", provider="probe", progress=heard))
        async with asyncio.timeout(5):
            while len(heard.all) < 3:
                heard.arrived.clear()
                await heard.arrived.wait()
        provider.may_answer.set()
    assert {message for _, _, message in heard.all} == {None}
    assert call.result().structured["total"] == 3
    async with in_memory(serve(provider), era) as client:
        quick = Heard()
        await client.call("list_models", provider="probe", progress=quick)
        assert quick.all == []


class SlowVectors(ProbeProvider):
    """Embeds when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def embed_async(self, request: EmbedRequest) -> Embeddings:
        self.asked.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return await super().embed_async(request)


async def test_vectors_that_take_long_are_fetched_with_the_same_call(era: str) -> None:
    provider, heard = SlowVectors(), Heard()
    async with in_memory(serve(provider, max_wait=0.2, heartbeat=0.05), era) as client:
        first = await client.call("embed", texts=["a"], progress=heard)
        assert (first.error["category"], first.error["retryable"]) == ("running", True)
        assert {message for _, _, message in heard.all} == {None}
        other = await client.call("embed", texts=["b"])
        assert other.is_error
        provider.may_answer.set()
        second = await client.call("embed", texts=["a"])
        third = await client.call("embed", texts=["a"])
    assert second.structured["count"] == third.structured["count"] == 1
    assert [list(request.texts) for request in provider.embed_requests] == [["a"], ["b"], ["a"]]


async def test_cancelling_an_embedding_stops_it_upstream(era: str) -> None:
    provider = SlowVectors()
    async with in_memory(serve(provider), era) as client:
        call = asyncio.create_task(client.call("embed", texts=["a"]))
        await provider.asked.wait()
        await client.cancel(call)
        async with asyncio.timeout(5):
            await provider.cancelled.wait()
