"""Which way chats with LM Studio take, and that a way that cannot be used costs nothing but itself."""

from __future__ import annotations

import asyncio
import builtins
import importlib.util
import logging
import ssl
import sys
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from testkit.lmstudio_ws_double import LMStudioDouble, Say
from testkit.openai_double import OpenAIDouble
from testkit.wire_server import HANG, WireServer, json_reply
from unified_llm import (
    APIConnectionError,
    AuthenticationError,
    ConfigurationError,
    LMStudioProvider,
    MissingDependencyError,
    ResponseError,
    UnifiedLLM,
    UnsupportedOptionError,
)
from unified_llm.drivers import lmstudio_sdk
from unified_llm.providers import lmstudio_choice

TOKEN = "sk-lm-AbCd1234:0123456789abcdefghij"  # the form of a token, not one
WRONG = "sk-lm-AbCd1234:9999999999abcdefghij"


@pytest.fixture
def studio() -> Iterator[LMStudioDouble]:
    with LMStudioDouble() as double:
        yield double


def client(url: str, **options: Any) -> UnifiedLLM:
    return UnifiedLLM(provider="lmstudio", base_url=url, model="tiny", max_retries=0, timeout=10, **options)


async def test_lm_studio_itself_is_talked_to_over_websockets(
    studio: LMStudioDouble, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "unified_llm")
    llm = client(studio.url)
    assert await llm.chat_async("Hi") == "Echo: Hi"
    assert "the SDK's websockets: LM Studio answers" in caplog.text
    assert studio.http.requests == []
    await llm.aclose()


async def test_a_server_that_only_speaks_the_dialect_is_talked_to_over_http_and_asked_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "unified_llm")
    with OpenAIDouble("lmstudio") as double:
        llm = client(double.url)
        for _ in range(3):
            llm.chat("x")
            await llm.chat_async("x")
        with llm.stream("x") as stream:
            assert stream.get_response()
        assert len(double.requests) == 7
        assert caplog.text.count("chats go over HTTP: no greeting of LM Studio (HTTP 404)") == 1
        await llm.aclose()


def test_a_greeting_without_websockets_behind_it_means_http_for_good() -> None:
    with LMStudioDouble(websockets=False) as studio, client(studio.url) as llm:
        assert llm.chat("one")
        with llm.stream("two") as stream:
            assert stream.get_response()
        provider = llm.get_provider("lmstudio")
        assert isinstance(provider, LMStudioProvider)
        assert provider._choice.decided is False
        assert [s.path for s in studio.http.requests] == ["/chat/completions"] * 2
        with pytest.raises(UnsupportedOptionError, match="no tokenisation"):
            provider.tokenize("x", "tiny")


async def test_a_greeting_without_websockets_means_http_for_async_calls_too() -> None:
    with LMStudioDouble(websockets=False) as studio:
        for stream in (False, True):
            llm = client(studio.url)
            if stream:
                async with llm.stream_async("x") as answer:
                    assert await answer.get_response()
            else:
                assert await llm.chat_async("x")
            await llm.aclose()
        assert len(studio.http.requests) == 2


def test_a_server_that_does_not_run_yet_is_asked_again() -> None:
    with client("http://127.0.0.1:9/v1") as llm:
        provider = llm.get_provider("lmstudio")
        assert isinstance(provider, LMStudioProvider)
        with pytest.raises(APIConnectionError):
            llm.chat("x")
        assert provider._choice.decided is None


def test_a_server_that_does_not_greet_in_time_is_talked_to_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmstudio_choice, "_GREETING", replace(lmstudio_choice._GREETING, timeout=0.1))
    answer = json_reply({"choices": [{"message": {"content": "late"}, "finish_reason": "stop"}]})
    with WireServer(lambda r: [HANG] if "greeting" in r.target else answer) as server, client(server.url) as llm:
        assert llm.chat("x") == "late"
        assert llm.chat("x") == "late"
        assert sum("greeting" in r.target for r in server.requests) == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"base_url": "https://studio.example/v1"}, "TLS"),
        ({"base_url": "http://127.0.0.1:1/lm/v1"}, "path"),
        ({"headers": {"x-user": "me"}}, "headers"),
        ({"proxy": "http://127.0.0.1:3128"}, "proxy"),
        ({"dialect": "responses"}, "dialect"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_the_sdk_cannot_do_means_http_without_asking_anybody(options: dict[str, Any], why: str) -> None:
    assert LMStudioProvider(**options)._choice.decided is False
    with pytest.raises(ConfigurationError, match=why) as caught:
        LMStudioProvider(transport="sdk", **options)
    assert caught.value.hint == "use transport='http'"


def test_a_proxy_for_everything_means_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    assert LMStudioProvider()._choice.decided is False


@pytest.mark.parametrize(
    "variables",
    [
        {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"},
        {"ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": "localhost,127.0.0.1"},
        {"ALL_PROXY": ""},
    ],
)
def test_a_proxy_that_is_not_for_this_machine_leaves_the_websockets(
    studio: LMStudioDouble, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with client(studio.url) as llm:
        assert llm.chat("Hi") == "Echo: Hi"
    assert (len(studio.predictions), studio.http.requests) == (1, [])


def test_transport_http_uses_nothing_else(studio: LMStudioDouble) -> None:
    with client(studio.url, transport="http") as llm:
        llm.chat("x")
    assert studio.connections == []
    assert len(studio.http.requests) == 1
    with pytest.raises(ConfigurationError, match="unknown transport 'smoke'"):
        LMStudioProvider(transport="smoke")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"effort": "low"},
        {"user": "me"},
        {"logprobs": 2},
        {"extra_body": {"draft_model": "x"}},
        {"extra_headers": {"x-trace": "1"}},
        {"provider_options": {"lmstudio": {"draft_model": "x"}}},
    ],
    ids=lambda o: next(iter(o)),
)
def test_options_that_only_http_has_take_http_for_that_call(studio: LMStudioDouble, options: dict[str, Any]) -> None:
    with client(studio.url) as llm:
        llm.chat("x", **options)
        chats = [r for r in studio.http.requests if r.path == "/chat/completions"]
        assert (len(chats), len(studio.predictions)) == (1, 0)
        asked = len(studio.http.requests)
        llm.chat("x")
        assert (len(studio.http.requests), len(studio.predictions)) == (asked, 1)


def test_a_hundred_embeddings_take_one_request_of_http(studio: LMStudioDouble) -> None:
    with client(studio.url) as llm:
        assert len(llm.embed([f"text {i}" for i in range(100)], model_name="nomic")) == 100
    assert [s.path for s in studio.http.requests if s.method == "POST"] == ["/embeddings"]
    assert studio.connections == []


# -- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LMSTUDIO_API_KEY", "LMSTUDIO_API_TOKEN", "LM_API_TOKEN"])
def test_a_token_of_any_documented_variable_opens_both_apis(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, TOKEN)
    with LMStudioDouble(tokens=[TOKEN]) as studio, client(studio.url) as llm:
        assert llm.chat("x") == "Echo: x"
        llm.embed("x", model_name="nomic")
        assert studio.identities[0]["clientIdentifier"] == "AbCd1234"
        assert studio.http.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_wrong_token_is_an_authentication_error_that_does_not_show_it() -> None:
    with LMStudioDouble(tokens=[TOKEN]) as studio:
        for transport in ("sdk", "auto"):
            llm = client(studio.url, api_key=WRONG, transport=transport)
            for chat in (llm.chat, llm.chat_async):
                with pytest.raises(AuthenticationError) as caught:
                    await chat("x") if chat == llm.chat_async else chat("x")
                assert WRONG[-20:] not in f"{caught.value!r} {caught.value.hint}"
            await llm.aclose()


def test_a_server_without_tokens_takes_guests_whatever_their_key(studio: LMStudioDouble) -> None:
    with client(studio.url, api_key="lm-studio") as llm:
        assert llm.chat("x") == "Echo: x"
    assert studio.identities[0]["clientIdentifier"].startswith("guest:")


# -- the package ------------------------------------------------------------------------------------------------------


def test_without_the_package_everything_goes_over_http(studio: LMStudioDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "lmstudio" else find(n, *a))
    _refuse_import(monkeypatch)
    with client(studio.url) as llm:
        assert llm.chat("x")
        assert len(studio.http.requests) == 1
        with pytest.raises(UnsupportedOptionError) as caught:
            llm.count_tokens("x")
        assert "unified-llm[lmstudio]" in str(caught.value.hint)
    with client(studio.url, transport="sdk") as llm, pytest.raises(MissingDependencyError, match="lmstudio"):
        llm.chat("x")


def _refuse_import(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "lmstudio"]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def refuse(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "lmstudio":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **options)

    class Absent:
        def find_spec(self, name: str, path: Any, target: Any = None) -> None:
            if name.partition(".")[0] == "lmstudio":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])


@pytest.mark.parametrize("change", ["signature", "sorting", "state", "gone"])
def test_a_package_that_works_otherwise_is_not_used(
    studio: LMStudioDouble, monkeypatch: pytest.MonkeyPatch, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    import lmstudio._ws_impl as sdk
    from lmstudio.json_api import MultiplexingManager

    caplog.set_level(logging.DEBUG, "unified_llm")
    match change:
        case "signature":
            monkeypatch.setattr(sdk.AsyncWebsocketHandler, "__init__", lambda self, url: None)
        case "sorting":
            monkeypatch.setattr(MultiplexingManager, "map_rx_message", lambda self, message: None)
        case "state":
            monkeypatch.setattr(sdk.AsyncWebsocketHandler, "connect", lambda self: None)
        case _:
            monkeypatch.delattr(sdk, "AsyncTaskManager")
    with pytest.raises(ConfigurationError, match="works in another way"):
        lmstudio_sdk.load_sdk()
    with client(studio.url) as llm:
        assert llm.chat("x")
    assert "works in another way" in caplog.text
    assert len(studio.http.requests) == 1
    assert studio.connections == []


def test_an_answer_to_loading_that_is_not_understood_means_http(
    studio: LMStudioDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio, "instance", lambda model: ["not", "an", "object"])
    with client(studio.url) as llm:
        assert llm.chat("x")
        studio.violations.clear()  # the double's own, made above
    assert len(studio.http.requests) == 1
    assert studio.predictions == []


@pytest.mark.parametrize("endpoint", ["getOrLoad", "predict"])
async def test_a_server_that_knows_no_such_call_is_talked_to_over_http(
    studio: LMStudioDouble, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "unified_llm")
    studio.unknown_endpoints.append(endpoint)
    llm = client(studio.url)
    assert await llm.chat_async("x")
    assert f"do not understand each other: unknown endpoint {endpoint}" in caplog.text
    with client(studio.url) as other:
        assert other.chat("x")
    assert len(studio.http.requests) == 2
    assert studio.predictions == []
    await llm.aclose()


NEWER: list[dict[str, Any]] = [
    {"type": "fragment", "content": "x"},
    {"type": "fragment", "fragment": {"text": "x"}},
    {"type": "fragment", "fragment": {"content": 5}},
    {"type": "toolCallGenerationEnd"},
    {"type": "toolCallGenerationEnd", "toolCallRequest": {"tool": "x"}},
]


def said(message: dict[str, Any], text: str = "") -> Say:
    """An answer with a message of another form in its middle."""
    before = [{"type": "fragment", "fragment": {"content": text, "reasoningType": "none"}}] if text else []
    return Say("late", raw=[*before, message])


@pytest.mark.parametrize("message", NEWER)
async def test_messages_of_another_form_mean_http_for_that_call_and_for_good(
    studio: LMStudioDouble, message: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "unified_llm")
    studio.script(said(message), said(message))
    llm = client(studio.url)
    with llm.stream("x") as stream:
        events = list(stream)
    assert [e.type for e in events].count("start") == 1
    assert stream.get_response() == "Echo: x"
    assert "a form this library does not know" in caplog.text
    assert await llm.chat_async("y") == "Echo: y"
    other = client(studio.url)
    assert await other.chat_async("x") == "Echo: x"
    assert (len(studio.predictions), len(studio.http.requests)) == (2, 3)
    studio.violations.clear()  # the double's own, wanted here
    await llm.aclose()
    await other.aclose()


async def test_a_message_of_another_form_after_the_answer_began_is_an_error_with_what_came(
    studio: LMStudioDouble,
) -> None:
    studio.script(said(NEWER[0], "half"), said(NEWER[0], "half"))

    async def read(llm: UnifiedLLM) -> list[Any]:
        return [event async for event in llm.stream_async("x")]

    def read_sync(llm: UnifiedLLM) -> Awaitable[list[Any]]:
        return asyncio.to_thread(lambda: list(llm.stream("x")))

    for way in (read, read_sync):
        llm = client(studio.url)
        with pytest.raises(ResponseError, match="does not know") as caught:
            await way(llm)
        assert caught.value.partial == "half"
        assert "transport='http'" in (caught.value.hint or "")
        assert studio.http.requests == []
        await llm.aclose()
    studio.violations.clear()


def test_where_nothing_but_the_websockets_may_be_used_a_message_of_another_form_is_an_error(
    studio: LMStudioDouble,
) -> None:
    studio.script(said(NEWER[3]))
    with client(studio.url, transport="sdk") as llm, pytest.raises(ResponseError, match="does not know") as caught:
        llm.chat("x")
    assert "toolCallGenerationEnd" in str(caught.value.body)
    studio.violations.clear()


def test_an_application_that_answered_over_websockets_is_not_asked_again_over_http(studio: LMStudioDouble) -> None:
    studio.script(Say("half an answer", then="drop", after=2))
    with client(studio.url) as llm:
        llm.get_provider("lmstudio")
        with pytest.raises(Exception, match="ended before its answer"):
            llm.chat("x")
    assert studio.http.requests == []


def test_a_context_of_ones_own_for_tls_changes_nothing_over_plain_http(studio: LMStudioDouble) -> None:
    with client(studio.url, verify=ssl.create_default_context()) as llm:
        assert llm.chat("x") == "Echo: x"
    assert studio.connections == ["llm"]
