"""Resources and templates: what they hold, and that nobody reads another caller's."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any

import pytest

from testkit.mcp_clients import ERAS, MCPError, TestClient, in_memory, wire
from testkit.probe_provider import ProbeProvider
from unified_llm import UnifiedLLM
from unified_llm_mcp import ModelServer, Settings, build_server

pytestmark = pytest.mark.parametrize("era", ERAS)


def serve(provider: ProbeProvider | None = None, **settings: object) -> ModelServer:
    client = UnifiedLLM(provider=provider or ProbeProvider())
    return build_server(client, Settings(**settings))  # type: ignore[arg-type]


async def read(client: TestClient, uri: str) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = wire(await client.session.read_resource(uri))["contents"]
    return contents


async def read_json(client: TestClient, uri: str) -> Any:
    (content,) = await read(client, uri)
    assert content["mimeType"] == "application/json"
    return json.loads(content["text"])


async def test_the_lists_name_what_there_is(era: str) -> None:
    async with in_memory(serve(), era) as client:
        resources = wire(await client.session.list_resources())["resources"]
        templates = wire(await client.session.list_resource_templates())["resourceTemplates"]
    assert [r["uri"] for r in resources] == ["llm://providers", "llm://models", "llm://usage"]
    assert [t["uriTemplate"] for t in templates] == [
        "llm://models/{provider}/{+model}",
        "llm://conversations/{conversation_id}{?chars}",
        "llm://responses/{response_id}{?chars}",
        "llm://embeddings/{embeddings_id}{?rows}",
    ]


async def test_a_model_whose_id_has_slashes_is_found(era: str) -> None:
    async with in_memory(serve(), era) as client:
        model = await read_json(client, "llm://models/probe/org/embedder")
    assert (model["id"], model["kind"]) == ("probe:org/embedder", "embedding")


async def test_providers_tell_whether_a_key_is_set_and_never_the_key(era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    async with in_memory(serve(), era) as client:
        (content,) = await read(client, "llm://providers")
    by_id = {entry["id"]: entry for entry in json.loads(content["text"])["providers"]}
    assert by_id["probe"]["default"] is True
    assert (by_id["openai"]["key_present"], by_id["openai"]["reachable"]) == (True, False)
    assert "OPENAI_API_KEY" in by_id["openai"]["key_variables"]
    assert "0123456789abcdef" not in content["text"]


async def test_a_conversation_is_listed_and_read_as_markdown_and_json(era: str) -> None:
    async with in_memory(serve(), era) as client:
        result = await client.call("chat", prompt="Hi", system="Be kind", conversation_id="new")
        uri = f"llm://conversations/{result.structured['conversation_id']}"
        listed = wire(await client.session.list_resources())["resources"]
        markdown, as_json = await read(client, uri)
    assert (listed[-1]["uri"], listed[-1]["title"]) == (uri, "Hi")
    assert markdown["mimeType"] == "text/markdown"
    assert markdown["text"] == "**system**\n\nBe kind\n\n**user**\n\nHi\n\n**assistant**\n\nHello, world"
    assert [m["role"] for m in json.loads(as_json["text"])["messages"]] == ["system", "user", "assistant"]


async def test_usage_counts_what_is_known_and_what_is_not(era: str) -> None:
    async with in_memory(serve(ProbeProvider(cost=0.25)), era) as client:
        await client.call("chat", prompt="a")
        await client.call("chat", prompt="b")
        await client.call("embed", texts=["x", "y"])
        usage = await read_json(client, "llm://usage")
    assert usage == {
        "chats": 2,
        "unfinished": 0,
        "embeddings": 1,
        "input_tokens": 12,
        "output_tokens": 6,
        "cost_usd": 0.5,
        "calls_of_unknown_cost": 1,
        "calls_of_unknown_tokens": 0,
    }


async def test_embeddings_are_read_whole_or_by_rows(era: str) -> None:
    async with in_memory(serve(ProbeProvider(dimensions=1536)), era) as client:
        result = await client.call("embed", texts=["a"] * 90, encoding="resource")
        uri = result.structured["resource_uri"]
        (whole,) = await read(client, uri)
        (rows,) = await read(client, f"{uri}?rows=1-2")
    assert result.text.endswith(f"in the resource {uri}.")
    packed = base64.b64decode(whole["blob"])
    assert len(packed) == 90 * 1536 * 4
    assert base64.b64decode(rows["blob"]) == packed[1536 * 4 : 3 * 1536 * 4]
    assert array("f", packed[:4])[0] == array("f", [0.1])[0]


async def test_embeddings_too_large_for_a_message_are_read_in_parts_each_with_the_address_of_the_next(era: str) -> None:
    async with in_memory(serve(ProbeProvider(dimensions=1536)), era) as client:
        result = await client.call("embed", texts=["a"] * 250)
        uri = result.structured["resource_uri"]
        assert f"97 rows at a time: {uri}?rows=0-96" in result.text
        packed, asked, address = b"", [], uri
        while address:
            asked.append(address.removeprefix(uri))
            vectors, *rest = await read(client, address)
            assert len(json.dumps(vectors)) < 900_000
            packed += base64.b64decode(vectors["blob"])
            told = json.loads(rest[0]["text"]) if rest else {}
            assert told.items() >= {"truncated": True, "rows": 250, "dimensions": 1536}.items() or not rest
            address = told.get("next", "")
        two = await read(client, f"{uri}?rows=10-11")
    assert asked == ["", "?rows=97-249", "?rows=194-249"]
    assert list(array("f", packed)) == [x for row in range(250) for x in array("f", [0.1 * (row + 1)] * 1536)]
    assert [base64.b64decode(content["blob"]) for content in two] == [packed[10 * 1536 * 4 : 12 * 1536 * 4]]


async def test_a_vector_longer_than_any_part_is_read_whole(era: str) -> None:
    async with in_memory(serve(ProbeProvider(dimensions=200_000)), era) as client:
        result = await client.call("embed", texts=["a", "b"])
        first, rest = await read(client, result.structured["resource_uri"])
    assert len(base64.b64decode(first["blob"])) == 800_000
    assert json.loads(rest["text"])["next"].endswith("?rows=1-1")


async def test_an_answer_too_long_for_a_result_is_cut_and_read_as_a_resource(era: str) -> None:
    async with in_memory(serve(ProbeProvider("abc" * 100), max_output_chars=10), era) as client:
        result = await client.call("chat", prompt="x")
        link = result.wire["content"][1]
        (whole,) = await read(client, link["uri"])
    assert (result.text, result.structured["truncated"]) == ("abcabcabca", True)
    assert (whole["text"], whole["mimeType"]) == ("abc" * 100, "text/plain")


async def test_a_result_stays_below_what_clients_take(era: str) -> None:
    async with in_memory(serve(ProbeProvider("\x1b" * 300_000), max_output_chars=500_000), era) as client:
        result = await client.call("chat", prompt="x")
    assert len(json.dumps(result.wire)) < 900_000
    assert result.structured["truncated"] is True


@pytest.mark.parametrize(
    "uri",
    [
        "llm://nothing",
        "llm://models/probe/absent",
        "llm://models/nobody/x",
        "llm://conversations/conv_guess",
        "llm://responses/resp_guess",
        "llm://embeddings/emb_guess",
        "llm://providers/extra",
        "file:///etc/passwd",
    ],
)
async def test_what_is_not_there_is_an_invalid_parameter(era: str, uri: str) -> None:
    async with in_memory(serve(), era) as client:
        with pytest.raises(MCPError) as raised:
            await read(client, uri)
    assert raised.value.error.code == -32602


@pytest.mark.parametrize("rows", ["all", "1-0", "2-3"])
async def test_rows_that_are_no_range_or_not_there_are_refused(era: str, rows: str) -> None:
    async with in_memory(serve(), era) as client:
        result = await client.call("embed", texts=["a", "b"], encoding="resource")
        with pytest.raises(MCPError) as raised:
            await read(client, f"{result.structured['resource_uri']}?rows={rows}")
    assert raised.value.error.code == -32602


async def read_whole(client: TestClient, uri: str) -> str:
    """Every part of a text, as a client puts it together; each of them fits into an event of the Python client."""
    text = ""
    while uri:
        part, *more = await read(client, uri)
        assert len(json.dumps([part, *more])) < 1_000_000
        text += part["text"]
        uri = json.loads(more[0]["text"])["next"] if more else ""
    return text


async def test_texts_too_large_for_a_message_are_read_in_parts(era: str) -> None:
    answer = "".join(f"line {n} \n" for n in range(100_000))
    async with in_memory(serve(ProbeProvider(answer)), era) as client:
        result = await client.call("chat", prompt="x", conversation_id="new")
        assert await read_whole(client, f"llm://responses/{result.structured['response_id']}") == answer
        conversation = f"llm://conversations/{result.structured['conversation_id']}"
        assert (await read_whole(client, conversation)).endswith(answer)
        (part,) = await read(client, f"{conversation}?chars=2-5")
        assert part["text"] == "user"


async def test_a_result_with_data_stays_below_what_clients_take(era: str) -> None:
    schema = {"type": "object", "properties": {"v": {"type": "string"}}}
    for text, fits in (("\U0001f600" * 99_000, False), ("\U0001f600" * 69_000, True), ('\\"' * 49_000, True)):
        async with in_memory(serve(ProbeProvider(f'{{"v": "{text}"}}')), era) as client:
            result = await client.call("chat", prompt="x", response_schema=schema)
        assert len(json.dumps(result.wire, ensure_ascii=False).encode()) < 900_000
        assert ("data" in result.structured) == fits
        assert ("truncated" in result.structured) != fits
