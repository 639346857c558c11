"""Headers and fields that carry keys: they were given for the provider asked first, and go to no other."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest

from testkit.openai_answers import Fail
from testkit.openai_double import OpenAIDouble
from testkit.wire_server import WireServer, json_reply
from unified_llm import UnifiedLLM
from unified_llm.errors import holds_key

Doubles = Callable[..., OpenAIDouble]
OPTIONS: dict[str, Any] = {
    "extra_headers": {"X-Team-Token": "planted", "Traceparent": "00-1"},
    "extra_body": {"metadata": {"a": "b"}},
}


def clients(openai_double: Doubles, **options: Any) -> tuple[UnifiedLLM, OpenAIDouble, OpenAIDouble]:
    first, second = openai_double("openai"), openai_double("mistral")
    llm = UnifiedLLM("openai", api_key="k1", base_url=first.url, model="m", dialect="chat", max_retries=0, **options)
    llm.configure_provider("mistral", {"api_key": "k2", "base_url": second.url})
    return llm, first, second


async def test_a_fallback_gets_no_key_that_was_given_for_another_provider(openai_double: Doubles) -> None:
    llm, first, second = clients(openai_double, fallbacks=["mistral:m"])
    first.script(Fail(503), Fail(503), Fail(503), Fail(503))
    said = [llm.chat("Hi", **OPTIONS), await llm.chat_async("Hi", **OPTIONS)]
    with llm.stream("Hi", **OPTIONS) as events:
        list(events)
        said.append(events.response)
    assert {r.headers["x-team-token"] for r in first.requests} == {"planted"}
    for request in second.requests:
        assert "x-team-token" not in request.headers
        assert request.headers["traceparent"] == "00-1"
        assert request.body["metadata"] == {"a": "b"}
    for response in said:
        assert [a.what for a in response.adjustments if a.kind == "dropped"] == ["extra_headers.X-Team-Token"]
        assert "planted" not in repr(response.adjustments)
    await llm.aclose()


@pytest.mark.parametrize(
    "field",
    [
        {"api_key": "planted-key"},
        [{"type": "mcp", "authorization": "Bearer planted-key"}],
        {"urls": ("https://user:planted-key@host/",)},
    ],
    ids=["mapping", "list", "form"],
)
def test_a_key_inside_a_field_stays_with_the_provider_asked_first(field: Any) -> None:
    schema = {"properties": {"token": {"type": "string"}}, "required": ["token"]}
    answer = {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
    with WireServer(json_reply({}, 503)) as first, WireServer(json_reply(answer)) as second:
        llm = UnifiedLLM(base_url=first.url, model="m", max_retries=0, fallbacks=["mistral:m"])
        llm.configure_provider("mistral", {"api_key": "k2", "base_url": second.url})
        response = llm.chat("Hi", extra_body={"tools_config": field, "guided_json": schema})
        llm.close()
    assert b"planted-key" in first.requests[0].body
    assert b"planted-key" not in second.requests[0].body
    assert second.requests[0].json()["guided_json"] == schema
    assert [a.what for a in response.adjustments if a.kind == "dropped"] == ["extra_body.tools_config"]


def test_the_provider_asked_first_gets_everything(openai_double: Doubles) -> None:
    llm, first, _ = clients(openai_double)
    assert not llm.chat("Hi", **OPTIONS).adjustments
    assert first.requests[0].headers["x-team-token"] == "planted"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Authorization", "x", True),
        ("x-api-key", "x", True),
        ("api-key", "x", True),
        ("Cookie", "a=b", True),
        ("X-Trace", "Bearer abc123def456ghi7", True),
        ("max_tokens", 5, False),
        ("anthropic-beta", "files-api-2025-04-14", False),
        ("user", "someone", False),
        ("metadata", {"a": [{"password": "x"}]}, True),
        ("metadata", {"a": ["Bearer abc123def456ghi7"]}, True),
        ("metadata", MappingProxyType({"a": ["b"]}), False),
    ],
)
def test_what_carries_a_key_is_told_by_its_name_or_its_form(name: str, value: object, expected: bool) -> None:
    assert holds_key(name, value) is expected
