"""Every kind of bad input, once: the class, whom it concerns, what to do next, and never the key."""

from __future__ import annotations

import json
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from testkit.wire_server import Answer, Request, WireServer, free_port, reply
from unified_llm import (
    APIConnectionError,
    AuthenticationError,
    ConfigurationError,
    Image,
    InvalidBaseURLError,
    InvalidMessageError,
    InvalidRequestError,
    Message,
    MissingCredentialError,
    MissingDependencyError,
    ModelNotFoundError,
    RateLimitError,
    ResponseError,
    ServerError,
    StreamInterruptedError,
    ToolResult,
    UnifiedLLM,
    UnifiedLLMError,
    UnknownProviderError,
    UnsupportedOptionError,
)
from unified_llm.cli.failures import describe

KEY = "PLANTED-key-without-a-shape"
WAYS: dict[str, dict[str, Any]] = {
    "claude, sdk": {"provider": "claude"},
    "claude, sdk-aiohttp": {"provider": "claude", "transport": "sdk-aiohttp"},
    "claude, http": {"provider": "claude", "transport": "http"},
    "openai": {"provider": "openai-compatible"},
    "openai, aiohttp": {"provider": "openai-compatible", "transport": "aiohttp"},
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    return WAYS[request.param]


def client(way: dict[str, Any], origin: str) -> UnifiedLLM:
    base_url = origin if way["provider"] == "claude" else origin + "/v1"
    return UnifiedLLM(model="m", api_key=KEY, base_url=base_url, max_retries=0, **way)


def check(error: UnifiedLLMError, kind: type[UnifiedLLMError], **known: Any) -> None:
    assert isinstance(error, kind), repr(error)
    assert {name: getattr(error, name) for name in known} == known
    assert error.hint
    shown = [*traceback.format_exception(error), repr(error), repr(vars(error)), json.dumps(describe(error))]
    assert KEY not in "".join(shown)
    assert KEY.encode() not in pickle.dumps(error)


async def failures(llm: UnifiedLLM) -> list[UnifiedLLMError]:
    """What the four ways to ask raise."""

    async def streamed() -> None:
        await llm.stream_async("hello").get_response()

    found = []
    calls: list[Callable[[], Any]] = [lambda: llm.chat("hello"), lambda: llm.stream("hello").get_response()]
    for call in calls:
        with pytest.raises(UnifiedLLMError) as caught:
            call()
        found.append(caught.value)
    for waited in (llm.chat_async("hello"), streamed()):
        with pytest.raises(UnifiedLLMError) as caught:
            await waited
        found.append(caught.value)
    await llm.aclose()
    return found


# -- servers ----------------------------------------------------------------------------------------------------------

STATUSES: dict[int, type[UnifiedLLMError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    404: ModelNotFoundError,
    429: RateLimitError,
    500: ServerError,
}


@pytest.mark.parametrize("status", STATUSES)
async def test_a_status_that_is_no_success(way: dict[str, Any], status: int) -> None:
    def refuse(request: Request) -> Answer:
        quoted = request.headers.get("authorization", request.headers.get("x-api-key"))  # as some servers do
        body = {"type": "error", "error": {"type": "x", "message": f"no, {quoted}"}}
        head = {"content-type": "application/json", "request-id": "req_7", "x-request-id": "req_7", "x-echo": KEY}
        return reply(status, json.dumps(body).encode(), head)

    with WireServer(refuse) as server:
        for error in await failures(client(way, server.url)):
            check(error, STATUSES[status], provider=way["provider"], model="m", status=status, request_id="req_7")


PAGE = b"<!doctype html><title>Login</title>"
BODIES: dict[str, bytes] = {"a web page": PAGE, "half an object": b'{"id": "c1", "cho', "a list": b"[]"}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_success_that_is_no_answer(way: dict[str, Any], body: bytes) -> None:
    answer = reply(200, body, {"request-id": "req_7", "x-request-id": "req_7"})
    with WireServer(answer) as server:
        for error in await failures(client(way, server.url)):
            check(error, ResponseError, provider=way["provider"], model="m", status=200, request_id="req_7")


async def test_a_port_where_nothing_listens(way: dict[str, Any]) -> None:
    port = free_port()
    for error in await failures(client(way, f"http://127.0.0.1:{port}")):
        check(error, APIConnectionError, provider=way["provider"], model="m", status=None, request_id=None)
        assert str(port) in error.message
        assert not isinstance(error, StreamInterruptedError)


# -- the caller -------------------------------------------------------------------------------------------------------

ORPHAN = Message("tool", ToolResult("c9", "x"))
NO_IMAGE = Message("user", ["what?", Image(data=b"not an image at all")])
CALLS: dict[str, tuple[Callable[[UnifiedLLM], Any], type[UnifiedLLMError]]] = {
    "unknown provider": (lambda llm: llm.set_provider("clod"), UnknownProviderError),
    "unknown provider of a list": (lambda llm: llm.list_models("clod"), UnknownProviderError),
    "unknown option": (lambda llm: llm.chat("x", temprature=1, on_unsupported="error"), UnsupportedOptionError),
    "unknown option of a provider": (lambda llm: llm.set_provider("openai", api_kee=KEY), ConfigurationError),
    "unknown part": (lambda llm: llm.chat([{"role": "user", "content": [{"type": "smell"}]}]), InvalidMessageError),
    "unknown role": (lambda llm: llm.chat([{"role": "robot", "content": "x"}]), InvalidMessageError),
    "unknown key": (lambda llm: llm.chat([{"role": "user", "contnet": "x"}]), InvalidMessageError),
    "no messages": (lambda llm: llm.chat([]), InvalidMessageError),
    "an empty prompt": (lambda llm: llm.chat("  "), InvalidMessageError),
    "an empty message": (lambda llm: llm.chat([{"role": "user", "content": ""}]), InvalidMessageError),
    "a tool result without its call": (lambda llm: llm.chat(["x", ORPHAN]), InvalidMessageError),
    "an image that is none": (lambda llm: llm.chat([NO_IMAGE]), InvalidMessageError),
    "a file that is not there": (lambda llm: llm.chat([Message("user", "x", ["/no/such.png"])]), InvalidMessageError),
    "a schema that is none": (lambda llm: llm.chat("x", response_format=3), InvalidRequestError),
    "a tool that is none": (lambda llm: llm.chat("x", tools=["weather"]), InvalidRequestError),  # type: ignore[list-item]
    "an empty text to embed": (lambda llm: llm.embed([""]), InvalidRequestError),
}


@pytest.mark.parametrize(("call", "kind"), CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("provider", ["claude", "openai-compatible"])
def test_what_the_caller_got_wrong_is_told_before_anything_is_sent(
    provider: str, call: Callable[[UnifiedLLM], Any], kind: type[UnifiedLLMError]
) -> None:
    with WireServer(reply(500)) as server:
        with client({"provider": provider}, server.url) as llm, pytest.raises(UnifiedLLMError) as caught:
            call(llm)
        assert server.requests == []
    check(caught.value, kind, status=None, request_id=None)


@pytest.mark.parametrize("address", ["127.0.0.1:1234", "ftp://host/v1", "http://", "http://host/v1/chat/completions"])
@pytest.mark.parametrize("provider", ["claude", "openai-compatible", "lmstudio"])
def test_an_address_that_cannot_be(provider: str, address: str) -> None:
    with pytest.raises(UnifiedLLMError) as caught:
        UnifiedLLM(provider, api_key=KEY, base_url=address)
    check(caught.value, InvalidBaseURLError, provider=provider)


@pytest.mark.parametrize("provider", ["claude", "openai", "mistral"])
def test_a_missing_key_names_the_variable_and_the_other_sources(provider: str) -> None:
    with pytest.raises(UnifiedLLMError) as caught:
        UnifiedLLM(provider)
    check(caught.value, MissingCredentialError, provider=provider)
    assert "_API_KEY" in str(caught.value.hint)
    assert "config.json" in str(caught.value.hint)
    assert "keyring" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("anthropic", lambda: UnifiedLLM("claude", api_key=KEY)),
        ("aiohttp", lambda: UnifiedLLM("openai", api_key=KEY, transport="aiohttp")),
        ("xllamacpp", lambda: UnifiedLLM("local", api_key=KEY).chat("x")),
    ],
    ids=["claude", "aiohttp", "local"],
)
def test_a_missing_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, module: str, call: Callable[[], Any]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnifiedLLMError) as caught:
        call()
    check(caught.value, MissingDependencyError)
    assert module in caught.value.message
    assert 'pip install "unified-llm[' in str(caught.value.hint)
