"""LM Studio over HTTP: its own model lists where they are, its default model, its token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testkit.openai_double import Fail, OpenAIDouble
from testkit.openai_wire import SCHEMA, ask
from testkit.responses_double import ResponsesDouble
from unified_llm.errors import APIConnectionError, AuthenticationError, ConfigurationError
from unified_llm.providers.lmstudio import LMStudioProvider
from unified_llm.requests import ResponseFormat
from unified_llm.stream import StreamEnd

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


# -- efforts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_effort_goes_where_every_model_reads_it(stream: bool) -> None:
    with ResponsesDouble() as double:
        provider = LMStudioProvider(base_url=double.url, transport="http")
        answer = said(provider, ask(model="gpt-5-mini", effort="low", stream=stream))
        provider.close()
    assert answer == "Echo: Hi"
    assert (double.requests[0].path, double.last["reasoning"], double.last["store"]) == (
        "/responses",
        {"effort": "low"},
        False,
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("status", [404, 200])
def test_before_there_was_a_responses_api_an_effort_goes_with_the_chat(
    openai_double: Doubles, stream: bool, status: int
) -> None:
    double = openai_double("lmstudio")
    anyway = "Unexpected endpoint or method. (POST /v1/responses). Returning 200 anyway"
    double.serve("/v1/responses", Fail(status, {"error": anyway}))
    provider = studio(double, transport="http")
    for _ in range(2):
        assert said(provider, ask(effort="low", stream=stream)) == "Echo: Hi"
    assert [r.path for r in double.requests] == ["/responses", "/chat/completions", "/chat/completions"]
    assert double.requests[-1].body["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    "options",
    [{"seed": 3}, {"response_format": ResponseFormat(SCHEMA)}, {"stop_sequences": ["x"]}],
    ids=lambda o: next(iter(o)),
)
def test_an_effort_beside_what_only_chats_have_goes_with_the_chat(openai_double: Doubles, options: Any) -> None:
    double = openai_double("lmstudio")
    said(studio(double, transport="http"), ask("json", effort="low", **options))
    assert [r.path for r in double.requests] == ["/chat/completions"]


def test_a_dialect_that_was_chosen_stays(openai_double: Doubles) -> None:
    double = openai_double("lmstudio")
    said(studio(double, dialect="chat"), ask(effort="low"))
    assert [r.path for r in double.requests] == ["/chat/completions"]


def said(provider: LMStudioProvider, request: Any) -> str:
    if not request.stream:
        return provider.chat(request).text
    return next(e.response.text for e in provider.stream(request) if isinstance(e, StreamEnd))
