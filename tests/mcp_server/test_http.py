"""Streamable HTTP: both eras, cancellation by disconnect, Host and Origin, size limits, sessions."""

from __future__ import annotations

import asyncio
import json
import socket

import httpx
import pytest

from testkit.mcp_clients import ERAS, SDK_2, in_memory
from testkit.mcp_http import HANDSHAKE, HTTP_SAFE, MODERN, RAW_ERAS, answer_of, over_http, raw_client, served
from testkit.mcp_raw import raw_server
from testkit.probe_provider import ProbeProvider
from unified_llm import UnifiedLLM
from unified_llm.errors import ConfigurationError
from unified_llm_mcp import ModelServer, Settings, build_server
from unified_llm_mcp.http import HttpServing, HttpSettings

pytestmark = pytest.mark.skipif(not HTTP_SAFE, reason="SDKs before 1.30 do not serve HTTP: see test_old_sdk.py")

CHAT = {"name": "chat", "arguments": {"prompt": "Hi"}}


def serve(provider: ProbeProvider, **settings: object) -> ModelServer:
    return build_server(UnifiedLLM(provider=provider), Settings(**settings))  # type: ignore[arg-type]


def waiting() -> ProbeProvider:
    provider = ProbeProvider()
    provider.gate = asyncio.Event()
    return provider


@pytest.mark.parametrize("era", ERAS)
async def test_every_tool_works_with_the_official_client(era: str) -> None:
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async with served(serve(ProbeProvider())) as url, over_http(url, era) as client:
        answer = await client.call("chat", prompt="Hi", progress=hear)
        vectors = await client.call("embed", texts=["a"])
        models = await client.call("list_models", provider="probe")
    assert "".join(heard) == answer.text == "Hello, world"
    assert vectors.structured["count"] == 1
    assert models.structured["total"] == 3


@pytest.mark.parametrize("era", ERAS)
async def test_calls_run_in_parallel(era: str) -> None:
    provider = waiting()
    async with served(serve(provider)) as url, over_http(url, era) as client, asyncio.TaskGroup() as group:
        calls = [group.create_task(client.call("chat", prompt=str(n))) for n in range(8)]
        await provider.wait_open(8)
        assert provider.gate is not None
        provider.gate.set()
    assert {call.result().text for call in calls} == {"Hello, world"}


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_cancels_closes_the_upstream_stream(era: str) -> None:
    provider = waiting()
    async with served(serve(provider)) as url, over_http(url, era) as client:
        call = asyncio.create_task(client.call("chat", prompt="x"))
        await provider.wait_open(1)
        await client.cancel(call)
        await provider.wait_open(0, seconds=1.0)


@pytest.mark.parametrize("era", RAW_ERAS)
async def test_a_connection_that_drops_closes_the_upstream_stream(era: str) -> None:
    provider = waiting()
    async with served(serve(provider)) as url, raw_client(url, era) as client:
        async with client.opened("tools/call", CHAT):
            await provider.wait_open(1)
        await provider.wait_open(0, seconds=1.0)


@pytest.mark.parametrize("era", RAW_ERAS)
async def test_stopping_the_server_closes_upstream_streams(era: str) -> None:
    provider = waiting()
    server = serve(provider)
    async with served(server) as url, raw_client(url, era) as client, client.opened("tools/call", CHAT):
        await provider.wait_open(1)
        await server.aclose()
        await provider.wait_open(0, seconds=1.0)


@pytest.mark.parametrize("era", RAW_ERAS)
@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("host", "evil.example.org", 421),
        ("host", "127.0.0.1.evil.example.org:80", 421),
        ("origin", "https://evil.example.org", 403),
        ("origin", "http://localhost.evil.example.org", 403),
        ("origin", "null", 403),
    ],
)
async def test_a_foreign_host_or_origin_is_refused(era: str, header: str, value: str, status: int) -> None:
    provider = ProbeProvider()
    async with served(serve(provider)) as url, raw_client(url, era) as client:
        response = await client.post("tools/call", CHAT, **{header: value})
    assert response.status_code == status
    assert provider.requests == []


@pytest.mark.parametrize("era", RAW_ERAS)
async def test_a_page_of_this_machine_and_an_allowed_origin_are_served(era: str) -> None:
    allowed = ("https://app.example.org",)
    async with served(serve(ProbeProvider()), allowed_origins=allowed) as url, raw_client(url, era) as client:
        for origin in ("http://localhost:6274", *allowed):
            response = await client.post("tools/call", CHAT, origin=origin)
            assert response.status_code == 200


@pytest.mark.parametrize("era", RAW_ERAS)
async def test_a_body_of_five_megabytes_is_refused(era: str) -> None:
    async with served(serve(ProbeProvider())) as url, raw_client(url, era) as client:
        big = {"name": "chat", "arguments": {"prompt": "x" * 5_000_000}}
        assert (await client.post("tools/call", big)).status_code == 413


@pytest.mark.parametrize("era", RAW_ERAS)
async def test_a_body_that_is_no_json_is_refused_and_the_server_goes_on(era: str) -> None:
    async with served(serve(ProbeProvider())) as url, raw_client(url, era) as client:
        headers = client.headers("tools/call", "chat") | {"content-type": "application/json"}
        response = await client.http.post(url, content=b"{half", headers=headers)
        assert response.status_code == 400
        assert answer_of(await client.post("tools/call", CHAT))["result"]["content"][0]["text"] == "Hello, world"


@pytest.mark.parametrize("era", RAW_ERAS)
async def test_an_unknown_tool_is_an_invalid_parameter(era: str) -> None:
    async with served(serve(ProbeProvider())) as url, raw_client(url, era) as client:
        answer = answer_of(await client.post("tools/call", {"name": "fly", "arguments": {}}))
    assert answer["error"]["code"] == -32602


@pytest.mark.skipif(not SDK_2, reason="the 2026 protocol needs SDK 2.x")
async def test_lists_may_be_cached_by_anybody_and_resources_by_nobody() -> None:
    async with served(serve(ProbeProvider())) as url, raw_client(url, MODERN) as client:
        tools = answer_of(await client.post("tools/list", {}))["result"]
        resources = answer_of(await client.post("resources/list", {}))["result"]
    assert (tools["cacheScope"], tools["ttlMs"]) == ("public", 3_600_000)
    assert (resources["cacheScope"], resources["ttlMs"]) == ("private", 0)


async def test_health_is_answered_without_the_protocol() -> None:
    async with served(serve(ProbeProvider())) as url, httpx.AsyncClient(trust_env=False) as http:
        response = await http.get(url.replace("/mcp", "/health"))
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("host", "evil.example.org", 421),
        ("host", "10.0.0.7.evil.example.org:8765", 421),
        ("host", "[", 421),
        ("host", "", 421),
        ("origin", "https://evil.example.org", 403),
        ("host", "llm.example.org", 200),
        ("host", "10.0.0.7:8765", 200),  # load balancers probe by address
        ("host", "[2001:db8::7]:8765", 200),
        ("origin", "http://localhost:6274", 200),
    ],
)
async def test_health_is_told_to_nobody_whose_name_for_this_machine_is_unknown(
    header: str, value: str, status: int
) -> None:
    settings = {"allowed_hosts": ("llm.example.org",)}
    async with served(serve(ProbeProvider()), **settings) as url, httpx.AsyncClient(trust_env=False) as http:
        response = await http.get(url.replace("/mcp", "/health"), headers={header: value})
    assert response.status_code == status


async def test_one_server_object_serves_http_and_memory_at_once() -> None:
    server = serve(ProbeProvider())
    async with served(server) as url, raw_client(url, HANDSHAKE) as client:
        assert answer_of(await client.post("tools/call", CHAT))["result"]["structuredContent"]["text"]
        async with in_memory(server) as other:
            assert (await other.call("chat", prompt="x")).text == "Hello, world"


@pytest.mark.parametrize(
    ("hosts", "origins"),
    [
        (("llm.example.org", "llm.example.org:*", "[2001:db8::1]:8765"), ("https://app.example.org",)),
        (("intern",), ("http://app.example.org:*", "vscode-file://vscode-app", "null")),
    ],
)
def test_values_of_host_and_origin_that_clients_send_are_taken(
    hosts: tuple[str, ...], origins: tuple[str, ...]
) -> None:
    security = HttpSettings(allowed_hosts=hosts, allowed_origins=origins).security()
    assert set(hosts) <= set(security["allowed_hosts"])
    assert set(origins) <= set(security["allowed_origins"])


def _can_bind(host: str) -> bool:
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "::1", "localhost"])
async def test_an_address_of_this_machine_is_served_under_the_url_that_is_said(host: str) -> None:
    if not _can_bind(host.strip("[]")):
        pytest.skip(f"this machine has no {host}")
    async with served(serve(ProbeProvider()), host=host) as url, raw_client(url, HANDSHAKE) as client:
        answer = answer_of(await client.post("tools/call", CHAT, origin=url.removesuffix("/mcp")))
    assert answer["result"]["content"][0]["text"] == "Hello, world"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "llm.example.org"])
def test_an_address_others_can_reach_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigurationError, match="token"):
        HttpSettings(host=host, allowed_hosts=("llm.example.org",))


async def test_the_command_says_where_it_listens_and_ends_with_a_signal() -> None:
    async with raw_server("--http", "--port", "0", "--model", "offline:") as server:
        url = await server.said("listening on ")
        async with over_http(url, ERAS[0]) as client:
            assert len(await client.tools()) == 4
        server.process.terminate()
        assert await server.exit_code(5) == 128 + 15


async def test_a_taken_port_is_said_in_a_sentence() -> None:
    async with served(serve(ProbeProvider())) as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}") as refused:
            HttpServing(serve(ProbeProvider()), HttpSettings(port=port), "warning")
    assert refused.value.hint is not None
    assert "--port 0" in refused.value.hint


async def test_a_large_result_passes_the_limit_of_the_official_client() -> None:
    server = serve(ProbeProvider("wörd " * 200_000, dimensions=1536), max_output_chars=1_000_000)
    async with served(server) as url, over_http(url, "legacy") as client:
        answer = await client.call("chat", prompt="x")
        vectors = await client.call("embed", texts=["a"] * 90)
    assert answer.structured["truncated"] is True
    assert vectors.structured["encoding"] == "base64"
    assert all(len(json.dumps(result.wire, ensure_ascii=False).encode()) < 900_000 for result in (answer, vectors))
