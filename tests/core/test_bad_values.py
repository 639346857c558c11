"""Values of the wrong kind are errors of our tree, with a hint, before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from testkit.wire_server import WireServer, json_reply
from unified_llm import (
    BreakerSettings,
    ConfigurationError,
    File,
    Image,
    InvalidMessageError,
    InvalidRequestError,
    Limits,
    Message,
    RetryPolicy,
    StructuredOutputError,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    UnifiedLLM,
    UnifiedLLMError,
)
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.llamacpp_server import count_call, infill_call
from unified_llm.codecs.lmstudio_encode import encode_predict
from unified_llm.drivers.http import HTTPDriver
from unified_llm.profiles import PROFILES
from unified_llm.providers.lmstudio_calls import load_call
from unified_llm.requests import ChatRequest, ModelConfig

NOWHERE = "http://127.0.0.1:9/v1"
ANSWER = {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "no JSON"}}]}


@pytest.mark.parametrize(
    "options",
    [
        {"model": 5},
        {"thinking": "yes"},
        {"thinking": {"type": "enabled"}},
        {"effort": 3},
        {"stop": 5},
        {"stop": [5]},
        {"provider_options": 5},
        {"extra_headers": [("a", "b")]},
        {"extra_body": "x"},
    ],
    ids=str,
)
def test_an_option_of_the_wrong_kind_says_what_it_should_be(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        UnifiedLLM("offline").chat("x", **options)
    assert caught.value.hint


@pytest.mark.parametrize("messages", [None, 5, b"bytes"], ids=str)
def test_what_is_no_list_of_messages_is_refused_by_its_type(messages: Any) -> None:
    with pytest.raises(InvalidMessageError, match=f"messages is {type(messages).__name__}") as caught:
        UnifiedLLM("offline").chat(messages)
    assert caught.value.hint


@pytest.mark.parametrize("provider", [5, object, None], ids=str)
def test_a_provider_that_is_none_is_refused(provider: Any) -> None:
    with pytest.raises(ConfigurationError, match="provider is") as caught:
        UnifiedLLM(provider)
    assert caught.value.hint


@pytest.mark.parametrize("part", [Image(url="photo.png"), File(url="/etc/report.pdf")], ids=["image", "file"])
def test_a_path_given_as_a_url_is_told_from_one(part: Image | File) -> None:
    with pytest.raises(InvalidMessageError, match="has no scheme") as caught:
        UnifiedLLM("offline").chat([Message("user", ["what?", part])])
    assert caught.value.hint == f"for a file on this machine use {type(part).__name__}(path=...)"


def test_provider_options_know_the_other_names_of_a_provider() -> None:
    with (
        WireServer(json_reply(ANSWER)) as server,
        UnifiedLLM("llamacpp", base_url=server.url + "/v1", model="m") as llm,
    ):
        llm.chat("x", provider_options={"llama.cpp": {"cache_prompt": True}, "anthropic": {"service_tier": "auto"}})
    body = server.requests[0].json()
    assert body["cache_prompt"] is True
    assert "service_tier" not in body


def test_an_answer_that_does_not_fit_names_its_request() -> None:
    with (
        WireServer(json_reply(ANSWER, headers={"x-request-id": "req_7"})) as server,
        UnifiedLLM("openai-compatible", base_url=server.url + "/v1", model="m") as llm,
    ):
        answer = llm.chat("x", response_format={"type": "object", "properties": {}})
        with pytest.raises(StructuredOutputError, match=r"provider openai-compatible, model m, request req_7"):
            _ = answer.parsed


WRONG: dict[str, Any] = {
    "a provider's name": lambda llm: llm.set_provider(5),
    "a provider to list": lambda llm: llm.list_models([1]),
    "a model to embed with": lambda llm: llm.embed("x", {"a": 1}),
    "a model": lambda llm: UnifiedLLM("offline", model=5),  # type: ignore[arg-type]
    "an embedding model": lambda llm: UnifiedLLM("offline", embed_model=5).embed("x"),  # type: ignore[arg-type]
    "a config": lambda llm: llm.chat("x", 5),
    "a config of the client": lambda llm: UnifiedLLM("offline", config=5),  # type: ignore[arg-type]
    "fallbacks": lambda llm: UnifiedLLM("offline", fallbacks=5),  # type: ignore[arg-type]
    "retries": lambda llm: UnifiedLLM("offline", max_retries="x"),  # type: ignore[arg-type]
    "tools": lambda llm: llm.chat("x", tools=5),
    "a tool without a signature": lambda llm: llm.chat("x", tools=[int]),
    "a tool's name": lambda llm: Tool(5),  # type: ignore[arg-type]
    "a tool's parameters": lambda llm: Tool("f", "d", 5),  # type: ignore[arg-type]
    "a role": lambda llm: Message([], "x"),  # type: ignore[arg-type]
    "paths": lambda llm: Message("user", "x", 5),  # type: ignore[arg-type]
    "a path": lambda llm: Message("user", "x", [5]),  # type: ignore[list-item]
    "bytes of an image": lambda llm: Image(data=5),  # type: ignore[arg-type]
    "a url": lambda llm: Image(url=5),  # type: ignore[arg-type]
    "arguments": lambda llm: ToolCall("f", {"a": object()}),
    "an address": lambda llm: HTTPDriver(5),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_value_of_the_wrong_type_is_an_error_of_the_tree_with_a_hint(call: Any) -> None:
    with pytest.raises(UnifiedLLMError) as caught:
        call(UnifiedLLM("offline"))
    assert caught.value.hint


@pytest.mark.parametrize(
    "options",
    [
        {"hooks": 5},
        {"hooks": [5]},
        {"limits": {"offline": 5}},
        {"limits": [1]},
        {"deployments": "x"},
        {"deployments": {"a": 5}},
        {"deployments": {"a": [5]}},
        {"base_url": 5},
        {"headers": 5},
        {"prices": 5},
        {"cache": 5},
        {"retry": 5},
        {"breaker": 5},
        {"timeout": "x"},
        {"deadline": "x"},
        {"max_retries": "x"},
        {"embed_model": 5},
        {"on_usage": 5},
    ],
    ids=str,
)
def test_a_client_is_not_made_of_the_wrong_things(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))[:4]) as caught:
        UnifiedLLM("offline", **options)
    assert caught.value.hint


NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        *((Limits, {"concurrency": value}) for value in ("8", 1.5, True, 0, -1, NAN, float("inf"))),
        *((Limits, {"requests_per_minute": value}) for value in ("60", NAN, 0, True)),
        (Limits, {"tokens_per_minute": NAN}),
        *((RetryPolicy, {"max_retries": value}) for value in ("2", 1.5, True, -1, NAN, None)),
        *((RetryPolicy, {name: value}) for name in ("base", "cap", "max_wait") for value in ("x", NAN, -1, None)),
        *((RetryPolicy, {"deadline": value}) for value in ("x", NAN, 0, -1, True, float("inf"))),
        *((BreakerSettings, {"failures": value}) for value in ("x", 1.5, NAN, 0, True, None)),
        *((BreakerSettings, {"seconds": value}) for value in ("x", NAN, -1, None)),
    ],
    ids=str,
)
def test_a_policy_says_at_once_what_its_number_should_be(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(values))) as caught:
        kind(**values)
    assert caught.value.hint
    assert "must be" in caught.value.message


@pytest.mark.parametrize(
    "options",
    [
        *({"timeout": value} for value in (-3, 0, NAN, "3", True)),
        *({"deadline": value} for value in (-1, 0, NAN, "3", True)),
        *({"max_retries": value} for value in (-1, 1.5, NAN, "2", True)),
    ],
    ids=str,
)
def test_a_client_says_at_once_what_its_numbers_should_be(options: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, InvalidRequestError), match=f"{next(iter(options))} must be") as caught:
        UnifiedLLM("offline", **options)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["timeout", "deadline", "first_token_timeout", "connect_timeout", "hedge_after"])
def test_a_call_takes_no_time_that_is_no_number(name: str) -> None:
    options: dict[str, Any] = {name: NAN}
    with pytest.raises(InvalidRequestError, match=name):
        UnifiedLLM("offline").chat("x", **options)


def test_policies_take_what_makes_sense() -> None:
    Limits(concurrency=8, requests_per_minute=0.5, tokens_per_minute=float("inf"))
    RetryPolicy(max_retries=0, base=0, cap=1, max_wait=float("inf"), deadline=0.1)
    BreakerSettings(1, 0)
    with UnifiedLLM("offline", timeout=1.5, deadline=5, max_retries=0) as llm:
        assert llm.chat("x", deadline=5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("openai-compatible", {}),
        ("openai-compatible", {"dialect": "responses"}),
        ("claude", {"transport": "http"}),
        ("ollama", {}),
        ("lmstudio", {"transport": "http", "stored_responses": True}),
        ("lollms-webui", {"dialect": "native"}),
    ],
    ids=["chat", "responses", "claude", "ollama", "lmstudio", "lollms"],
)
def test_what_json_has_not_is_an_invalid_request_in_every_dialect(name: str, options: dict[str, Any]) -> None:
    with (
        UnifiedLLM(name, "k", base_url=NOWHERE, model="m", max_retries=0, **options) as llm,
        pytest.raises(InvalidRequestError, match="JSON cannot carry") as caught,
    ):
        llm.chat("Hi", extra_body={"x": object()})
    assert "extra_body" in str(caught.value.hint)


def test_nor_do_the_websockets_and_other_calls_carry_it() -> None:
    context = CodecContext("lmstudio", PROFILES["lmstudio"])
    odd = {"llm.prediction.x": object()}
    asked = ChatRequest("m", (Message("user", "Hi"),), ModelConfig(provider_options={"lmstudio": odd}))
    plain = ModelConfig(extra_body=odd)
    calls: list[Any] = [
        lambda: encode_predict(asked, context),
        lambda: load_call("m", namespace="llm", ttl=None, context_length=None, config=odd, timeout=None),
        lambda: count_call(ChatRequest("m", asked.messages, plain), context),
        lambda: infill_call("a", "b", prompt="", files={}, config=plain, model=None, context=context),
    ]
    for call in calls:
        with pytest.raises(InvalidRequestError, match="JSON cannot carry"):
            call()


@pytest.mark.parametrize(
    "history",
    [
        [Message("user", [Text(5)])],  # type: ignore[arg-type]
        [
            Message("user", "Hi"),
            Message("assistant", ToolCall("f", {}, "c1")),
            Message("tool", ToolResult("c1", [Text(None)])),  # type: ignore[arg-type]
        ],
    ],
)
def test_a_text_that_is_none_is_named_with_its_message(history: list[Message]) -> None:
    with (
        UnifiedLLM(provider="offline") as llm,
        pytest.raises(InvalidMessageError, match="has a text that is") as caught,
    ):
        llm.chat(history)
    assert caught.value.hint
