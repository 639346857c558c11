"""The Tasks extension: long calls of clients that declare it become tasks to be polled."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from testkit.mcp_clients import SDK_2
from testkit.mcp_http import HANDSHAKE, MODERN, RawClient, answer_of, raw_client, served
from testkit.probe_provider import ProbeProvider
from unified_llm import UnifiedLLM
from unified_llm.credentials import Secret
from unified_llm.errors import ServerError
from unified_llm_mcp import ModelServer, Settings, build_server

pytestmark = pytest.mark.skipif(not SDK_2, reason="protocol extensions need SDK 2.x")

EXTENSION = "io.modelcontextprotocol/tasks"
DECLARED: dict[str, Any] = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}}}
CHAT: dict[str, Any] = {"name": "chat", "arguments": {"prompt": "Hi"}}


def serve(provider: ProbeProvider, **settings: Any) -> ModelServer:
    return build_server(UnifiedLLM(provider=provider), Settings(max_wait=0.05, **settings))


def held() -> ProbeProvider:
    provider = ProbeProvider()
    provider.gate = asyncio.Event()
    return provider


async def ask(client: RawClient, method: str, *, declared: bool = True, **params: Any) -> dict[str, Any]:
    """The whole answer to a request of a client that declares the extension, or not."""
    meta = {"_meta": DECLARED} if declared else {}
    name = {"mcp_name": params["taskId"]} if "taskId" in params else {}
    return answer_of(await client.post(method, params | meta, **name))


async def start(client: RawClient) -> str:
    task = (await ask(client, "tools/call", **CHAT))["result"]
    assert (task["resultType"], task["status"]) == ("task", "working")
    assert (task["ttlMs"], task["pollIntervalMs"]) == (3_600_000, 1000)
    assert "content" not in task
    return str(task["taskId"])


async def get(client: RawClient, task_id: str) -> dict[str, Any]:
    result = (await ask(client, "tasks/get", taskId=task_id))["result"]
    assert result["resultType"] == "complete"
    assert isinstance(result, dict)
    return result


async def settled(client: RawClient, task_id: str) -> dict[str, Any]:
    """Poll until the task has ended."""
    async with asyncio.timeout(5):
        while (task := await get(client, task_id))["status"] == "working":
            pass
    return task


async def test_a_long_call_becomes_a_task_whose_result_is_polled() -> None:
    provider = held()
    async with served(serve(provider)) as url, raw_client(url, MODERN) as client:
        task_id = await start(client)
        assert (await get(client, task_id))["status"] == "working"
        assert provider.gate is not None
        provider.gate.set()
        task = await settled(client, task_id)
    assert task["status"] == "completed"
    assert task["result"]["structuredContent"]["text"] == "Hello, world"
    assert task["lastUpdatedAt"] >= task["createdAt"]


async def test_a_call_that_is_quick_is_answered_at_once() -> None:
    async with served(serve(ProbeProvider())) as url, raw_client(url, MODERN) as client:
        result = (await ask(client, "tools/call", **CHAT))["result"]
    assert result["resultType"] == "complete"
    assert result["content"][0]["text"] == "Hello, world"


async def test_a_client_that_does_not_declare_the_extension_gets_a_handle_instead() -> None:
    provider = held()
    async with served(serve(provider)) as url, raw_client(url, MODERN) as client:
        result = (await ask(client, "tools/call", declared=False, **CHAT))["result"]
        refused = await ask(client, "tasks/get", declared=False, taskId="task_x")
    assert result["structuredContent"]["status"] == "running"
    assert refused["error"]["code"] == -32021
    assert refused["error"]["data"]["requiredCapabilities"] == {"extensions": {EXTENSION: {}}}


async def test_cancelling_a_task_closes_the_upstream_stream() -> None:
    provider = held()
    async with served(serve(provider)) as url, raw_client(url, MODERN) as client:
        task_id = await start(client)
        assert provider.open_now == 1
        assert (await ask(client, "tasks/cancel", taskId=task_id))["result"]["resultType"] == "complete"
        await provider.wait_open(0, seconds=1.0)
        assert (await settled(client, task_id))["status"] == "cancelled"
        again = await ask(client, "tasks/cancel", taskId=task_id)
        assert again["result"]["resultType"] == "complete"


async def test_a_failed_call_is_a_completed_task_with_an_error_result() -> None:
    provider = held()
    provider.error = ServerError("broken", status=500)
    async with served(serve(provider)) as url, raw_client(url, MODERN) as client:
        task_id = await start(client)
        assert provider.gate is not None
        provider.gate.set()
        task = await settled(client, task_id)
    assert task["status"] == "completed"
    assert task["result"]["isError"] is True


async def test_leaving_before_the_task_is_made_closes_the_upstream_stream() -> None:
    provider = held()
    server = build_server(UnifiedLLM(provider=provider), Settings(max_wait=30))
    async with served(server) as url, raw_client(url, MODERN) as client:
        async with client.opened("tools/call", {**CHAT, "_meta": DECLARED}):
            await provider.wait_open(1)
        await provider.wait_open(0, seconds=1.0)


async def test_a_task_goes_on_when_the_connection_is_closed_and_ends_with_the_server() -> None:
    provider = held()
    async with served(serve(provider)) as url:
        async with raw_client(url, MODERN) as first:
            task_id = await start(first)
        async with raw_client(url, MODERN) as second:
            assert (await get(second, task_id))["status"] == "working"
        assert provider.open_now == 1
    assert provider.open_now == 0


async def test_another_caller_does_not_find_the_task() -> None:
    provider = held()
    tokens = {"alice": Secret("alice-token-0123456789"), "bob": Secret("bob-token-0123456789abc")}
    async with (
        served(serve(provider), tokens=tokens) as url,
        raw_client(url, MODERN, tokens["alice"].get_secret_value()) as alice,
        raw_client(url, MODERN, tokens["bob"].get_secret_value()) as bob,
    ):
        task_id = await start(alice)
        for method in ("tasks/get", "tasks/cancel", "tasks/update"):
            stolen = await ask(bob, method, taskId=task_id)
            unknown = await ask(bob, method, taskId="task_guess")
            assert stolen["error"] == unknown["error"]
            assert stolen["error"]["code"] == -32602
        assert (await get(alice, task_id))["status"] == "working"


async def test_a_header_that_names_another_task_is_refused() -> None:
    provider = held()
    async with served(serve(provider)) as url, raw_client(url, MODERN) as client:
        task_id = await start(client)
        response = await client.post("tasks/get", {"taskId": task_id, "_meta": DECLARED}, mcp_name="task_other")
    assert (response.status_code, answer_of(response)["error"]["code"]) == (400, -32020)


async def test_the_methods_do_not_exist_before_2026() -> None:
    async with served(serve(ProbeProvider())) as url, raw_client(url, HANDSHAKE) as client:
        answer = await ask(client, "tasks/get", taskId="task_x")
    assert answer["error"]["code"] == -32601


async def test_the_extension_is_announced() -> None:
    async with served(serve(ProbeProvider())) as url, raw_client(url, MODERN) as client:
        discovered = (await ask(client, "server/discover"))["result"]
    assert EXTENSION in discovered["capabilities"]["extensions"]
    assert "tasks" not in discovered["capabilities"]
    assert len(json.dumps(discovered)) < 3000
