"""A model that is gone is an error that names current ones, and no other answers instead. Scaleway's projects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from testkit.claude_double import ClaudeDouble
from testkit.openai_double import Fail, OpenAIDouble
from testkit.openai_wire import SCHEMA, ask, sent
from unified_llm import UnifiedLLM
from unified_llm.errors import ConfigurationError, ModelNotFoundError
from unified_llm.providers.openai import OpenAICompatibleProvider
from unified_llm.providers.registry import create_provider
from unified_llm.requests import ResponseFormat

Doubles = Callable[..., OpenAIDouble]
GONE = Fail(404, {"error": {"message": "The model `gpt-4-32k` does not exist", "code": "model_not_found"}})
MODELS = ["gpt-5-mini", "gpt-4.1", *(f"other-{i}" for i in range(20))]


async def by_chat(llm: UnifiedLLM) -> object:
    return llm.chat("Hi")


async def by_chat_async(llm: UnifiedLLM) -> object:
    return await llm.chat_async("Hi")


async def by_stream(llm: UnifiedLLM) -> object:
    return list(llm.stream("Hi"))


async def by_stream_async(llm: UnifiedLLM) -> object:
    return [event async for event in llm.stream_async("Hi")]


async def by_embed(llm: UnifiedLLM) -> object:
    return llm.embed("Hi", "gpt-4-32k")


async def by_embed_async(llm: UnifiedLLM) -> object:
    return await llm.embed_async("Hi", "gpt-4-32k")


@pytest.mark.parametrize("ask_it", [by_chat, by_chat_async, by_stream, by_stream_async, by_embed, by_embed_async])
async def test_the_error_names_current_models_the_likeliest_first(openai_double: Doubles, ask_it: Any) -> None:
    double = openai_double("openai", models=MODELS).script(GONE)
    async with UnifiedLLM(provider="openai", api_key="k", base_url=double.url, model="gpt-4-32k") as llm:
        with pytest.raises(ModelNotFoundError) as info:
            await ask_it(llm)
    hint = info.value.hint or ""
    assert hint.startswith("the model is retired or misspelt; current ones: gpt-4")
    assert "gpt-5-mini" in hint
    assert hint.endswith("list_models() has them all")
    assert hint.count(",") == 9
    assert [r.path for r in double.requests][1:] == ["/models"]  # asked once, and nobody else answered


def test_a_claude_model_that_is_gone_names_current_ones(claude_double: ClaudeDouble) -> None:
    with (
        UnifiedLLM(provider="claude", api_key=claude_double.key, base_url=claude_double.url) as llm,
        pytest.raises(ModelNotFoundError) as info,
    ):
        llm.chat("Hi", model="claude-opus-4-1")
    assert "claude-opus-5-5" in (info.value.hint or "")
    assert [r.body["model"] for r in claude_double.requests] == ["claude-opus-4-1"]


def test_a_server_without_a_list_keeps_the_general_advice(openai_double: Doubles) -> None:
    double = openai_double("openai").script(GONE).serve("/v1/models", Fail(500))
    with (
        UnifiedLLM(provider="openai", api_key="k", base_url=double.url, model="gpt-4-32k") as llm,
        pytest.raises(ModelNotFoundError, match="gpt-4-32k") as info,
    ):
        llm.chat("Hi")
    assert "list_models()" in (info.value.hint or "")


def test_a_list_that_has_the_model_does_not_blame_it(openai_double: Doubles) -> None:
    double = openai_double("openai", models=["gpt-4-32k"]).script(GONE)
    with (
        UnifiedLLM(provider="openai", api_key="k", base_url=double.url, model="gpt-4-32k") as llm,
        pytest.raises(ModelNotFoundError) as info,
    ):
        llm.chat("Hi")
    assert "retired" not in (info.value.hint or "")


def test_an_address_that_leads_nowhere_is_not_blamed_on_the_model(openai_double: Doubles) -> None:
    double = openai_double("openai").script(Fail(404, {"detail": "Not Found"}))
    with (
        UnifiedLLM(provider="openai", api_key="k", base_url=double.url, model="m") as llm,
        pytest.raises(ModelNotFoundError) as info,
    ):
        llm.chat("Hi")
    assert "base_url" in (info.value.hint or "")
    assert len(double.requests) == 1


def test_azure_lists_models_and_takes_deployments_so_its_list_is_no_advice(openai_double: Doubles) -> None:
    double = openai_double("azure").script(GONE)
    with (
        UnifiedLLM(provider="azure", api_key="k", base_url=double.url, model="my-deployment") as llm,
        pytest.raises(ModelNotFoundError),
    ):
        llm.chat("Hi")
    assert len(double.requests) == 1


# -- Scaleway ---------------------------------------------------------------------------------------------------------

PROJECT = "1a2b3c4d-0000-4444-8888-123456789abc"


def address(**options: Any) -> str:
    return cast(OpenAICompatibleProvider, create_provider("scaleway", api_key="k", **options)).base_url


def test_a_project_is_part_of_the_address() -> None:
    assert address() == "https://api.scaleway.ai/v1"
    assert address(project_id=PROJECT) == f"https://api.scaleway.ai/{PROJECT}/v1"
    assert address(project_id="  ") == "https://api.scaleway.ai/v1"
    assert address(base_url="https://abc.ifr.fr-par.scaleway.com/v1") == "https://abc.ifr.fr-par.scaleway.com/v1"


def test_a_project_goes_before_the_variable_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEWAY_BASE_URL", "https://example.org/v1")
    assert address() == "https://example.org/v1"
    assert address(project_id=PROJECT) == f"https://api.scaleway.ai/{PROJECT}/v1"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("scaleway", {"project_id": "../admin"}, "no project's id"),
        ("scaleway", {"project_id": PROJECT, "base_url": "https://example.org/v1"}, "both"),
        ("groq", {"project_id": PROJECT}, "has no projects"),
    ],
)
def test_a_project_that_cannot_be_used_is_an_error(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as info:
        create_provider(name, api_key="k", **options)
    assert info.value.hint


def test_a_model_of_scaleway_that_takes_schemas_only_gets_the_object_form_as_one() -> None:
    wanted = ResponseFormat()
    plain = sent("scaleway", "llama-3.3-70b-instruct", response_format=wanted)
    assert plain["response_format"] == {"type": "json_object"}
    form = sent("scaleway", "qwen3-235b-a22b-instruct-2507", response_format=wanted)["response_format"]
    assert (form["type"], form["json_schema"]["schema"]) == ("json_schema", {"type": "object"})
    schema = sent("scaleway", "llama-3.3-70b-instruct", response_format=ResponseFormat(SCHEMA))
    assert schema["response_format"]["json_schema"]["schema"] == SCHEMA
    assert ask().model == "m"
