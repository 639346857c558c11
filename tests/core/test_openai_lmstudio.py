"""LM Studio over HTTP: its own model lists where they are, its default model, its token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testkit.openai_double import Fail, OpenAIDouble
from testkit.openai_wire import ask
from unified_llm.errors import APIConnectionError, AuthenticationError, ConfigurationError
from unified_llm.providers.lmstudio import LMStudioProvider

Doubles = Callable[..., OpenAIDouble]
V0 = {
    "object": "list",
    "data": [
        {"id": "nomic", "type": "embeddings", "state": "not-loaded", "max_context_length": 2048},
        {"id": "first", "type": "llm", "state": "not-loaded", "max_context_length": 4096},
        {"id": "running", "type": "vlm", "state": "loaded", "max_context_length": 8192, "loaded_context_length": 4096},
    ],
}
V1 = {
    "models": [
        {"type": "llm", "key": "new", "max_context_length": 9000, "loaded_instances": [], "capabilities": {}},
        {"type": "embedding", "key": "nomic", "loaded_instances": []},
    ]
}


def studio(double: OpenAIDouble, **options: Any) -> LMStudioProvider:
    return LMStudioProvider(base_url=double.root, **options)


async def test_the_newest_list_that_answers_is_used(openai_double: Doubles) -> None:
    double = openai_double("lmstudio").serve("/api/v1/models", V1).serve("/api/v0/models", V0)
    provider = studio(double)
    assert [m.id for m in provider.list_models()] == ["new", "nomic"]
    assert await provider.list_models_async() == provider.list_models()
    assert {s.path for s in double.requests} == {"/api/v1/models"}
    await provider.aclose()


@pytest.mark.parametrize(
    "missing",
    [Fail(404, message="Unexpected endpoint"), {"error": "Unexpected endpoint or method. Returning 200 anyway"}],
    ids=["404", "200"],
)
def test_older_versions_fall_back_to_older_lists(openai_double: Doubles, missing: Any) -> None:
    double = openai_double("lmstudio").serve("/api/v1/models", missing).serve("/api/v0/models", V0)
    models = studio(double).list_models()
    assert [m.id for m in models] == ["nomic", "first", "running"]
    assert models[2].capabilities["vision"] == "yes"
    assert models[2].context_window == 4096
    double.serve("/api/v0/models", missing)
    assert [m.id for m in studio(double).list_models()] == ["double-1", "double-embed-1"]


async def test_the_first_loaded_chat_model_is_the_default(openai_double: Doubles) -> None:
    double = openai_double("lmstudio").serve("/api/v1/models", V0)
    provider = studio(double)
    assert provider.default_model() == await provider.default_model_async() == "running"
    assert provider.default_embedding_model() == "nomic"
    await provider.aclose()


def test_a_model_on_disk_will_do_because_lm_studio_loads_it(openai_double: Doubles) -> None:
    double = openai_double("lmstudio").serve("/api/v1/models", V1)
    assert studio(double).default_model() == "new"


def test_without_any_chat_model_the_error_says_so(openai_double: Doubles) -> None:
    double = openai_double("lmstudio").serve("/api/v1/models", {"models": [V1["models"][1]]})
    with pytest.raises(ConfigurationError, match="no chat model"):
        studio(double).default_model()


def test_the_token_is_sent_to_both_apis_and_a_refused_one_is_an_error(openai_double: Doubles) -> None:
    double = openai_double("lmstudio", api_key="sk-lm-abc").serve("/api/v1/models", V1)
    provider = studio(double, api_key="sk-lm-abc")
    provider.list_models()
    provider.chat(ask())
    assert [s.headers["authorization"] for s in double.requests] == ["Bearer sk-lm-abc"] * 2
    double.serve("/api/v1/models", Fail(401, {"error": {"message": "x", "code": "invalid_api_key"}}))
    with pytest.raises(AuthenticationError):
        provider.list_models()


@pytest.mark.parametrize("name", ["LMSTUDIO_API_KEY", "LMSTUDIO_API_TOKEN", "LM_API_TOKEN"])
def test_every_documented_variable_may_hold_the_token(
    openai_double: Doubles,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv(name, "sk-lm-env")
    double = openai_double("lmstudio")
    studio(double).chat(ask())
    assert double.requests[0].headers["authorization"] == "Bearer sk-lm-env"


@pytest.mark.parametrize(
    ("given", "chat"), [("", "/v1"), ("/v1", "/v1"), ("/lm/v1", "/lm/v1")], ids=["bare", "v1", "behind a proxy"]
)
def test_the_native_api_sits_next_to_the_other_one(given: str, chat: str) -> None:
    provider = LMStudioProvider(base_url=f"http://127.0.0.1:1234{given}")
    assert provider.base_url == f"http://127.0.0.1:1234{chat}"
    assert provider._native.base_url == f"http://127.0.0.1:1234{chat.removesuffix('/v1')}"


async def test_a_list_nobody_answers_is_an_error_of_lm_studio() -> None:
    provider = LMStudioProvider(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(APIConnectionError, match="provider lmstudio"):
        provider.list_models()
    with pytest.raises(APIConnectionError, match="provider lmstudio"):
        await provider.list_models_async()
    await provider.aclose()
