"""`OpenAICompatibleProvider`: addresses, keys, default models, what it learns from refusals, and closed streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, cast

import pytest

from testkit.openai_double import Fail, Hang, OpenAIDouble
from testkit.openai_wire import ask
from unified_llm.errors import (
    ConfigurationError,
    InvalidBaseURLError,
    InvalidRequestError,
    MissingCredentialError,
    UnsupportedOptionError,
)
from unified_llm.profiles import PROFILES, Profile
from unified_llm.providers.openai import OpenAICompatibleProvider
from unified_llm.providers.registry import PROVIDER_CONFIGS, create_provider
from unified_llm.requests import EmbedRequest
from unified_llm.stream import StreamEnd, TextDelta

Doubles = Callable[..., OpenAIDouble]

# -- addresses -------------------------------------------------------------------------------------------------------


def test_openai_compatible_without_an_address_says_how_to_give_one() -> None:
    with pytest.raises(ConfigurationError, match="address") as caught:
        create_provider("openai-compatible")
    assert "base_url='http://127.0.0.1:8080/v1'" in (caught.value.hint or "")
    assert "OPENAI_COMPATIBLE_BASE_URL" in (caught.value.hint or "")


@pytest.mark.parametrize("url", ["127.0.0.1:8080/v1", "http://h/v1/chat/completions", "ftp://h", "http://"])
def test_an_unusable_address_is_refused_when_the_provider_is_made(url: str) -> None:
    with pytest.raises(InvalidBaseURLError) as caught:
        OpenAICompatibleProvider(base_url=url)
    assert caught.value.hint


def test_argument_then_variable_then_row_give_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def address(**options: Any) -> str:
        return cast(OpenAICompatibleProvider, create_provider("vllm", **options)).base_url

    assert address() == "http://127.0.0.1:8000/v1"
    monkeypatch.setenv("VLLM_BASE_URL", "http://gpu:9000/v1")
    assert address() == "http://gpu:9000/v1"
    assert address(base_url="http://other:1/v1") == "http://other:1/v1"
    monkeypatch.setenv("VLLM_BASE_URL", "  ")
    assert address(base_url="  ") == "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("vllm", "http://gpu:8000", "http://gpu:8000/v1"),
        ("vllm", "http://gpu:8000/", "http://gpu:8000/v1"),
        ("vllm", "http://gpu:8000/prefix/v1", "http://gpu:8000/prefix/v1"),
        ("azure", "https://x.openai.azure.com", "https://x.openai.azure.com/openai/v1"),
        ("openai-compatible", "http://host:1", "http://host:1"),
    ],
)
def test_a_host_without_a_path_gets_the_path_such_servers_have(name: str, url: str, expected: str) -> None:
    provider = create_provider(name, base_url=url, api_key="k")
    assert cast(OpenAICompatibleProvider, provider).base_url == expected


def test_an_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="'nope'") as caught:
        OpenAICompatibleProvider(base_url="http://h/v1", profile="nope")
    assert "llamacpp" in (caught.value.hint or "")


def test_a_profile_may_be_given_by_name_or_as_a_value() -> None:
    named = OpenAICompatibleProvider(base_url="http://h/v1", profile="groq")
    assert named.context.profile is PROFILES["groq"]
    assert (named.name, named.context.provider) == ("openai-compatible", "openai-compatible")
    own = Profile("mine", max_tokens_field="limit")
    assert OpenAICompatibleProvider(base_url="http://h/v1", profile=own).context.profile is own


def test_every_row_of_the_registry_makes_a_provider_with_its_own_profile() -> None:
    for name, row in PROVIDER_CONFIGS.items():
        if isinstance(row.factory, str) and row.factory.endswith(("OpenAICompatibleProvider", "LMStudioProvider")):
            provider = cast(
                OpenAICompatibleProvider, create_provider(name, api_key="k", base_url="http://127.0.0.1:1/v1")
            )
            assert (provider.name, provider.context.profile.name) == (name, row.profile)
            assert row.description


# -- keys ------------------------------------------------------------------------------------------------------------


def test_a_service_without_a_key_names_the_variable() -> None:
    with pytest.raises(MissingCredentialError) as caught:
        create_provider("groq")
    assert "GROQ_API_KEY" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "options", [{"base_url": "http://127.0.0.1:1/v1"}, {"headers": {"Authorization": "Bearer x"}}], ids=str
)
def test_a_local_address_or_an_own_header_needs_no_key(options: dict[str, Any]) -> None:
    assert create_provider("groq", **options)


@pytest.mark.parametrize("key", [None, "", "   "])
def test_a_blank_key_sends_no_authorization_at_all(openai_double: Doubles, key: str | None) -> None:
    double = openai_double("llamacpp")
    create_provider("llamacpp", base_url=double.url, api_key=key).chat(ask())
    assert "authorization" not in double.requests[0].headers


def test_the_key_goes_out_as_a_bearer_or_in_the_header_of_the_profile(openai_double: Doubles) -> None:
    openai, azure = openai_double("openai"), openai_double("azure")
    create_provider("openai", base_url=openai.url, api_key="k1").chat(ask())
    create_provider("azure", base_url=azure.url, api_key="k2").chat(ask())
    first, second = (double.requests[0].headers for double in (openai, azure))
    assert first["authorization"] == "Bearer k1"
    assert (second["api-key"], "authorization" in second) == ("k2", False)


def test_the_key_shows_nowhere(openai_double: Doubles) -> None:
    double = openai_double("openai", api_key="right")
    provider = create_provider("openai", base_url=double.url, api_key="wrong-but-secret")
    with pytest.raises(Exception, match="Incorrect API key") as caught:
        provider.chat(ask())
    shown = f"{provider!r} {vars(provider)!r} {caught.value} {caught.value!r} {vars(caught.value)!r}"
    assert "wrong-but-secret" not in shown


def test_headers_of_the_provider_and_of_the_call_are_sent(openai_double: Doubles) -> None:
    double = openai_double()
    provider = create_provider("openai", base_url=double.url, api_key="k", headers={"X-App": "a"})
    provider.chat(ask(extra_headers={"X-Call": "b"}))
    assert (double.requests[0].headers["x-app"], double.requests[0].headers["x-call"]) == ("a", "b")


# -- default models --------------------------------------------------------------------------------------------------


def served(openai_double: Doubles, *models: Any, name: str = "vllm", **options: Any) -> OpenAICompatibleProvider:
    double = openai_double(name, models=models)
    return cast(OpenAICompatibleProvider, create_provider(name, base_url=double.url, **options))


async def test_the_only_chat_model_of_a_server_is_its_default(openai_double: Doubles) -> None:
    provider = served(openai_double, "only", "text-embedding-x")
    assert provider.default_model() == await provider.default_model_async() == "only"
    assert provider.default_embedding_model() == "text-embedding-x"


def test_a_loaded_model_comes_before_the_others(openai_double: Doubles) -> None:
    unloaded, loaded = ({"id": i, "status": {"value": s}} for i, s in (("a", "unloaded"), ("b", "loaded")))
    assert served(openai_double, unloaded, loaded).default_model() == "b"


def test_several_models_are_listed_in_the_error(openai_double: Doubles) -> None:
    with pytest.raises(ConfigurationError) as caught:
        served(openai_double, "a", "b").default_model()
    assert "a, b" in (caught.value.hint or "")


def test_no_model_at_all_says_to_load_one(openai_double: Doubles) -> None:
    provider = served(openai_double)
    with pytest.raises(ConfigurationError) as caught:
        provider.default_model()
    assert "load a model" in (caught.value.hint or "")
    assert provider.default_embedding_model() is None


def test_a_single_model_serves_for_embeddings_too(openai_double: Doubles) -> None:
    assert served(openai_double, "only").default_embedding_model() == "only"


def test_configured_models_need_no_question(openai_double: Doubles) -> None:
    double = openai_double()
    options = {"default_model": "c", "default_embedding_model": "e"}
    provider = create_provider("vllm", base_url=double.url, **options)
    assert (provider.default_model(), provider.default_embedding_model()) == ("c", "e")
    assert double.requests == []
    assert create_provider("openai", api_key="k").default_model() == PROVIDER_CONFIGS["openai"].default_model


def test_local_engines_cost_nothing_and_services_cost_something_unknown(openai_double: Doubles) -> None:
    double = openai_double("llamacpp")
    assert create_provider("llamacpp", base_url=double.url).chat(ask()).cost == 0.0
    assert create_provider("openai-compatible", base_url=double.url).chat(ask()).cost is None


# -- learning from refusals ------------------------------------------------------------------------------------------


def learner(
    openai_double: Doubles, profile: str = "openai-compatible", **quirks: Any
) -> tuple[OpenAIDouble, OpenAICompatibleProvider]:
    double = openai_double("openai", **quirks)
    provider = create_provider("openai-compatible", base_url=double.url, profile=profile)
    return double, cast(OpenAICompatibleProvider, provider)


def limits(double: OpenAIDouble) -> list[str]:
    """The name of the output limit in each request; what the double refused of it is forgiven."""
    double.violations[:] = [v for v in double.violations if "max_" not in v]
    return [k for s in double.requests for k in s.body if k.startswith("max_")]


def test_the_other_name_of_the_output_limit_is_tried_once_and_remembered(openai_double: Doubles) -> None:
    double, provider = learner(openai_double)
    assert provider.chat(ask(max_tokens=5)) == "Echo: Hi"
    assert provider.chat(ask(max_tokens=5)) == "Echo: Hi"
    assert limits(double) == ["max_tokens", "max_completion_tokens", "max_completion_tokens"]


def test_the_lesson_is_for_that_model_only(openai_double: Doubles) -> None:
    double, provider = learner(openai_double)
    provider.chat(ask(model="a.b", max_tokens=5))
    provider.chat(ask(model="a-b", max_tokens=5))
    assert limits(double) == ["max_tokens", "max_completion_tokens"] * 2


async def test_streams_and_async_calls_learn_too(openai_double: Doubles) -> None:
    double, provider = learner(openai_double)
    assert isinstance(list(provider.stream(ask(model="a", max_tokens=5, stream=True)))[-1], StreamEnd)
    assert await provider.chat_async(ask(model="b", max_tokens=5)) == "Echo: Hi"
    events = [e async for e in provider.stream_async(ask(model="c", max_tokens=5, stream=True))]
    assert isinstance(events[-1], StreamEnd)
    again = [e async for e in provider.stream_async(ask(model="c", max_tokens=5, stream=True))]
    assert isinstance(again[-1], StreamEnd)
    assert limits(double) == ["max_tokens", "max_completion_tokens"] * 3 + ["max_completion_tokens"]
    await provider.aclose()


def test_a_server_without_stream_options_is_asked_without_them(openai_double: Doubles) -> None:
    double, provider = learner(openai_double, refused=frozenset({"stream_options"}))
    for _ in range(2):
        assert isinstance(list(provider.stream(ask(stream=True)))[-1], StreamEnd)
    assert ["stream_options" in s.body for s in double.requests] == [True, False, False]
    double.violations.clear()


async def test_a_server_without_base64_is_asked_for_lists(openai_double: Doubles) -> None:
    double, provider = learner(openai_double, "vllm", base64_embeddings=False)
    assert len(provider.embed(EmbedRequest("a", ("x", "y")))) == 2
    assert len(await provider.embed_async(EmbedRequest("b", ("x",)))) == 1
    assert len(provider.embed(EmbedRequest("b", ("x",)))) == 1
    assert ["encoding_format" in s.body for s in double.requests] == [True, False, True, False, False]
    double.violations[:] = [v for v in double.violations if "encoding_format" not in v]
    await provider.aclose()


@pytest.mark.parametrize(
    "body",
    [
        {
            "detail": [
                {"type": "extra_forbidden", "loc": ["body", "encoding_format"], "msg": "Extra inputs are not permitted"}
            ]
        },
        {"error": {"message": "Unknown field: encoding_format", "code": 400}},
        {"error": "base64 is not supported"},
    ],
)
def test_an_unknown_server_that_refuses_base64_is_asked_for_lists(openai_double: Doubles, body: Any) -> None:
    double, provider = learner(openai_double, "openai-compatible")
    double.script(Fail(422, body))
    assert len(provider.embed(EmbedRequest("a", ("x", "y")))) == 2
    assert len(provider.embed(EmbedRequest("a", ("x",)))) == 1
    assert ["encoding_format" in s.body for s in double.requests] == [True, False, False]


def test_a_limit_that_is_too_large_teaches_nothing(openai_double: Doubles) -> None:
    double, provider = learner(openai_double)
    double.script(Fail(400, message="max_completion is fine"), Fail(400, message="something else"))
    with pytest.raises(InvalidRequestError):
        provider.chat(ask())
    with pytest.raises(InvalidRequestError):
        provider.chat(ask())
    assert len(double.requests) == 2


def test_a_second_refusal_is_raised(openai_double: Doubles) -> None:
    double, provider = learner(openai_double, token_fields=frozenset({"neither"}))
    with pytest.raises(UnsupportedOptionError):
        provider.chat(ask(max_tokens=5))
    assert limits(double) == ["max_tokens", "max_completion_tokens"]


# -- closing ---------------------------------------------------------------------------------------------------------


def wait_for_disconnect(double: OpenAIDouble) -> float:
    """Seconds until the client is gone, at most 0.5."""
    start = time.monotonic()
    assert double.requests[-1].request.wait_gone(0.5)
    assert double.disconnects == [double.requests[-1]]
    return time.monotonic() - start


def test_closing_a_stream_closes_the_request(openai_double: Doubles) -> None:
    double = openai_double().script(Hang("one two three", after=3))
    events = create_provider("openai", base_url=double.url, api_key="k").stream(ask(stream=True))
    assert any(isinstance(e, TextDelta) for e in (next(events), next(events)))
    cast(Any, events).close()
    wait_for_disconnect(double)


async def test_leaving_an_async_stream_closes_the_request(openai_double: Doubles) -> None:
    double = openai_double().script(Hang("one two three", after=3))
    provider = create_provider("openai", base_url=double.url, api_key="k")
    async with aclosing(cast(Any, provider.stream_async(ask(stream=True)))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    await asyncio.to_thread(wait_for_disconnect, double)
    await provider.aclose()


async def test_cancelling_the_task_closes_the_request(openai_double: Doubles) -> None:
    double = openai_double().script(Hang("one two three", after=3))
    provider = create_provider("openai", base_url=double.url, api_key="k")
    began = asyncio.Event()

    async def read() -> None:
        async for event in provider.stream_async(ask(stream=True)):
            if isinstance(event, TextDelta):
                began.set()

    task = asyncio.create_task(read())
    await asyncio.wait_for(began.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(wait_for_disconnect, double)
    await provider.aclose()


async def test_sync_and_async_give_the_same_answers(openai_double: Doubles) -> None:
    double = openai_double()
    provider = create_provider("openai", base_url=double.url, api_key="k")
    assert provider.chat(ask()) == await provider.chat_async(ask())
    request = EmbedRequest("e", ("a", "b"))
    assert provider.embed(request) == await provider.embed_async(request)
    assert provider.list_models() == await provider.list_models_async()
    await provider.aclose()
    assert provider.chat(ask()) == "Echo: Hi"
    provider.close()
