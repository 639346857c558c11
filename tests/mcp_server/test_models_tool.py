"""The tool list_models: all providers at once, partial when some are silent."""

from __future__ import annotations

import asyncio
import time

import pytest

from testkit.mcp_clients import ERAS, in_memory
from testkit.probe_provider import ProbeProvider
from unified_llm import ModelInfo, UnifiedLLM, register_provider
from unified_llm.errors import APIConnectionError
from unified_llm.providers.registry import PROVIDER_CONFIGS
from unified_llm_mcp import ModelServer, Settings, build_server

pytestmark = pytest.mark.parametrize("era", ERAS)


class Silent(ProbeProvider):
    async def list_models_async(self) -> list[ModelInfo]:
        await asyncio.Event().wait()
        raise AssertionError("never set")


class Refusing(ProbeProvider):
    async def list_models_async(self) -> list[ModelInfo]:
        raise APIConnectionError("nothing listens at http://user:pa55word@host:1", hint="start it")


class Broken(ProbeProvider):
    async def list_models_async(self) -> list[ModelInfo]:
        raise KeyError("internal detail")


class Counting(ProbeProvider):
    asked = 0

    async def list_models_async(self) -> list[ModelInfo]:
        self.asked += 1
        return [ModelInfo(f"m{n}", "probe", kind="chat") for n in range(5)]


def serve(provider: ProbeProvider | None = None, **settings: object) -> ModelServer:
    client = UnifiedLLM(provider=provider or ProbeProvider())
    return build_server(client, Settings(**settings))  # type: ignore[arg-type]


async def test_every_known_fact_and_no_unknown_one_is_listed(era: str) -> None:
    async with in_memory(serve(), era) as client:
        result = await client.call("list_models", provider="probe")
    assert result.structured == {
        "models": [
            {
                "id": "probe:talker",
                "provider": "probe",
                "kind": "chat",
                "context_window": 8192,
                "capabilities": ["tools"],
            },
            {"id": "probe:org/embedder", "provider": "probe", "kind": "embedding"},
            {"id": "probe:mystery", "provider": "probe"},
        ],
        "total": 3,
    }
    assert result.text.splitlines()[0] == "probe:talker (chat, 8192 tokens)"


async def test_every_listed_id_is_accepted_by_chat_as_it_is(era: str) -> None:
    provider = ProbeProvider()
    async with in_memory(serve(provider), era) as client:
        models = (await client.call("list_models", provider="probe")).structured["models"]
        for model in models:
            assert not (await client.call("chat", prompt="x", model=model["id"])).is_error
    assert [request.model for request in provider.requests] == ["talker", "org/embedder", "mystery"]


async def test_a_provider_that_fails_or_is_silent_does_not_hold_up_the_others(
    era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, kind in {"silent": Silent, "refusing": Refusing, "broken": Broken}.items():
        monkeypatch.setitem(PROVIDER_CONFIGS, name, PROVIDER_CONFIGS["offline"])
        register_provider(name, kind)
    async with in_memory(serve(provider_timeout=2), era) as client:
        started = time.monotonic()
        result = await client.call("list_models", query="probe:")
        assert time.monotonic() - started < 8
    errors = result.structured["errors"]
    assert errors["silent"] == "did not answer within 2 s"
    assert errors["refusing"] == "nothing listens at http://[redacted]@host:1 (start it)"
    assert errors["broken"] == "internal error; see the server's log"
    assert result.structured["total"] == 3
    assert "silent could not be asked" in result.text


async def test_kind_and_query_filter_and_an_unknown_kind_matches_both(era: str) -> None:
    async with in_memory(serve(), era) as client:
        chat = await client.call("list_models", provider="probe", kind="chat")
        embedding = await client.call("list_models", provider="probe", kind="embedding")
        found = await client.call("list_models", provider="probe", query="EMBED")
    assert [m["id"] for m in chat.structured["models"]] == ["probe:talker", "probe:mystery"]
    assert [m["id"] for m in embedding.structured["models"]] == ["probe:org/embedder", "probe:mystery"]
    assert [m["id"] for m in found.structured["models"]] == ["probe:org/embedder"]


async def test_pages_follow_each_other_until_the_end(era: str) -> None:
    seen: list[str] = []
    cursor = ""
    async with in_memory(serve(Counting()), era) as client:
        for _ in range(3):
            page = (await client.call("list_models", provider="probe", limit=2, cursor=cursor)).structured
            seen += [model["id"] for model in page["models"]]
            assert page["total"] == 5
            cursor = page.get("next_cursor", "")
    assert seen == [f"probe:m{n}" for n in range(5)]
    assert cursor == ""


@pytest.mark.parametrize("cursor", ["next", "1" * 5000])
async def test_a_cursor_of_somebody_elses_making_is_refused(era: str, cursor: str) -> None:
    async with in_memory(serve(), era) as client:
        result = await client.call("list_models", provider="probe", cursor=cursor)
    assert result.error["category"] == "invalid_arguments"


async def test_lists_are_kept_for_their_lifetime(era: str) -> None:
    provider = Counting()
    async with in_memory(serve(provider, models_ttl=60), era) as client:
        await client.call("list_models", provider="probe")
        await client.call("list_models", provider="probe", limit=1)
    assert provider.asked == 1
    async with in_memory(serve(provider, models_ttl=0), era) as client:
        await client.call("list_models", provider="probe")
        await client.call("list_models", provider="probe")
    assert provider.asked == 3


async def test_an_unknown_provider_is_an_error_with_the_nearest_name(era: str) -> None:
    async with in_memory(serve(), era) as client:
        result = await client.call("list_models", provider="cluade")
    assert result.error["category"] == "unknown_provider"
    assert "claude" in result.text


async def test_one_silent_provider_asked_for_by_name_is_a_timeout(era: str) -> None:
    async with in_memory(serve(Silent(), provider_timeout=0.05), era) as client:
        result = await client.call("list_models", provider="probe")
    assert (result.error["category"], result.error["retryable"]) == ("timeout", True)
