"""Credentials in headers of one's own: servers quote what they refuse, and no error repeats it."""

from __future__ import annotations

import json
import pickle
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from testkit.wire_server import Answer, Request, WireServer, json_reply, sse
from unified_llm import AuthenticationError, ModelConfig, UnifiedLLM, UnifiedLLMError
from unified_llm.codecs.errors import error_from_reply
from unified_llm.providers.own_headers import digest_of, mask_given, secrets_in

KEY = "PLANTED.header.kqzjx"  # of no known shape
HEADERS = [("x-api-key", KEY), ("authorization", f"Basic {KEY}"), ("cf-access-token", KEY)]
PROVIDERS: list[tuple[str, dict[str, Any]]] = [
    ("openai", {}),
    ("claude", {"transport": "http"}),
    ("claude", {"transport": "sdk"}),
    ("ollama", {}),
    ("llamacpp", {}),
    ("lmstudio", {"transport": "http"}),
]


def quoted(request: Request) -> Answer:
    """A refusal that quotes every header, in its message, its body and its own headers."""
    given = {name: value for name, value in request.headers.items() if "PLANTED" in value}
    parts = [value.split()[-1] for value in given.values()] or ["nothing"]
    return json_reply(
        {"error": {"message": f"{parts} refused"}, "given": list(given.values())}, 401, {"x-saw": parts[0]}
    )


def quoted_in_midstream(request: Request) -> Answer:
    return sse([{"error": {"message": f"refused {request.headers.get('x-api-key')}", "code": 401}}])


def shown(error: UnifiedLLMError) -> str:
    found = [str(error), repr(error), repr(error.body), repr(error.headers), repr(error.attempts), repr(error.args)]
    return "".join([*found, *traceback.format_exception(error), repr(pickle.dumps(error))])


async def failures(llm: UnifiedLLM, **options: Any) -> list[UnifiedLLMError]:
    """What each way of calling raises."""
    blocking: list[Callable[[], object]] = [
        lambda: llm.chat("x", **options),
        lambda: list(llm.stream("x", **options)),
        lambda: llm.embed("x"),
    ]
    waiting: list[Callable[[], Awaitable[object]]] = [
        lambda: llm.chat_async("x", **options),
        lambda: llm.stream_async("x", **options).get_response(),
        lambda: llm.embed_async("x"),
    ]
    raised = []
    for call in blocking:
        with pytest.raises(UnifiedLLMError) as caught:
            call()
        raised.append(caught.value)
    for begin in waiting:
        with pytest.raises(UnifiedLLMError) as caught:
            await begin()
        raised.append(caught.value)
    await llm.aclose()
    return raised


@pytest.mark.parametrize(("name", "value"), HEADERS)
@pytest.mark.parametrize(("provider", "settings"), PROVIDERS, ids=[f"{p}-{s.get('transport')}" for p, s in PROVIDERS])
async def test_what_a_client_sends_with_every_call_is_masked_where_the_server_quotes_it(
    provider: str, settings: Mapping[str, Any], name: str, value: str
) -> None:
    with WireServer(quoted) as server:
        llm = UnifiedLLM(
            provider,
            api_key="another key",
            base_url=server.url,
            headers={name: value},
            model="m",
            embed_model="m",
            max_retries=0,
            **settings,
        )
        errors = await failures(llm)
        assert server.requests
    assert not [error for error in errors if "PLANTED" in shown(error)]
    assert sum(isinstance(error, AuthenticationError) and "[redacted]" in str(error) for error in errors) >= 4


@pytest.mark.parametrize(("name", "value"), HEADERS)
@pytest.mark.parametrize(("provider", "settings"), PROVIDERS, ids=[f"{p}-{s.get('transport')}" for p, s in PROVIDERS])
async def test_what_one_call_was_given_is_masked_where_the_server_quotes_it(
    provider: str, settings: Mapping[str, Any], name: str, value: str
) -> None:
    with WireServer(quoted) as server:
        options: dict[str, Any] = {"base_url": server.url, "model": "m", "max_retries": 0, **settings}
        errors = await failures(UnifiedLLM(provider, api_key="another key", **options), extra_headers={name: value})
    assert not [error for error in errors if "PLANTED" in shown(error)]
    assert sum(isinstance(error, AuthenticationError) and "[redacted]" in str(error) for error in errors) == 4


def test_what_is_quoted_in_mid_stream_is_masked() -> None:
    with WireServer(quoted_in_midstream) as server:
        both: list[dict[str, Any]] = [{"headers": {"x-api-key": KEY}}, {}]
        for given in both:
            llm = UnifiedLLM(base_url=server.url + "/v1", model="m", max_retries=0, **given)
            with pytest.raises(UnifiedLLMError) as caught:
                list(llm.stream("x", extra_headers=None if given else {"x-api-key": KEY}))
            assert "[redacted]" in str(caught.value)
            assert "PLANTED" not in shown(caught.value)


def test_a_field_with_the_name_of_a_credential_is_masked_in_a_body() -> None:
    body = {"error": {"message": "no", "param": "api_key"}, "sent": {"x-api-key": KEY, "max_tokens": 5, "token": ""}}
    error = error_from_reply(400, {}, json.dumps(body).encode(), provider="p")
    assert error.body == {
        "error": {"message": "no", "param": "api_key"},
        "sent": {"x-api-key": "[redacted]", "max_tokens": 5, "token": None},
    }


def test_credentials_are_told_from_other_headers() -> None:
    given = {"Authorization": "Bearer abcdef", "x-tenant": "me", "X-Api-Key": "k", "x-trace": "1"}
    assert secrets_in(given, None, {"api_key": "b", "n": 5}) == ("Bearer abcdef", "abcdef", "k", "b")


def test_credentials_are_found_at_any_depth() -> None:
    inner: dict[str, Any] = {
        "tools": [{"authorization": "Bearer abcdef", "type": "mcp"}],
        "said": ("a key: " + "sk-" + "1" * 20,),
    }
    inner["self"] = inner
    assert secrets_in({"a": inner}) == ("Bearer abcdef", "abcdef", "a key: sk-" + "1" * 20)


async def test_a_key_inside_a_field_of_one_call_is_masked_where_the_server_quotes_it() -> None:
    def refusal(request: Request) -> Answer:
        given = request.json().get("tools_config", {"api_key": "nothing"})  # embeddings have no such field
        return json_reply({"error": {"message": f"{given['api_key']} refused"}}, 401)

    with WireServer(refusal) as server:
        llm = UnifiedLLM("openai", api_key="k", base_url=server.url, model="m", max_retries=0)
        errors = await failures(llm, extra_body={"tools_config": {"api_key": KEY}})
    assert not [error for error in errors if "PLANTED" in shown(error)]
    assert sum("[redacted] refused" in str(error) for error in errors) == 4


def test_a_hint_that_quotes_a_key_is_masked() -> None:
    error = AuthenticationError("no", hint=f"{KEY} is not known here")
    mask_given(error, ModelConfig(extra_headers={"x-api-key": KEY}))
    assert error.hint == "[redacted] is not known here"


def test_a_digest_tells_apart_what_is_said_and_says_nothing() -> None:
    assert digest_of({}) == ""
    assert digest_of({"A": "1", "b": "2"}) == digest_of({"b": "2", "a": "1"})
    assert (
        len({digest_of({"a": "1"}), digest_of({"a": "2"}), digest_of({"b": "1"}), digest_of({"a": "1", "b": ""})}) == 4
    )
    assert KEY not in digest_of({"x": KEY})
