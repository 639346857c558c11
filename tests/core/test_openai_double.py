"""The double itself: the vendor's SDK works against it, and what a real server refuses is a violation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from testkit.openai_double import Call, Cut, Fail, Hang, MidStreamError, OpenAIDouble, Say
from testkit.openai_rules import chat_faults, embedding_faults
from testkit.openai_services import QUIRKS

USER: Any = {"role": "user", "content": "Hello"}
PARAMETERS: Any = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOL: Any = {"type": "function", "function": {"name": "add", "parameters": PARAMETERS}}


def picture(url: str) -> Any:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


def named(tool: str) -> Any:
    return {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": tool}}}


@pytest.fixture
def double() -> Iterator[OpenAIDouble]:
    with OpenAIDouble() as started:
        yield started


@pytest.fixture
def sdk(double: OpenAIDouble) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=double.url, api_key="k", max_retries=0) as client:
        yield client


def test_the_openai_sdk_is_answered_with_an_echo_and_usage(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="m", messages=[USER])
    assert answer.choices[0].message.content == "Echo: Hello"
    assert answer.usage is not None


def test_the_openai_sdk_streams_calls_valid_for_their_schema(sdk: openai.OpenAI) -> None:
    stream = sdk.chat.completions.create(model="m", messages=[USER], tools=[TOOL], tool_choice="required", stream=True)
    pieces = [c for chunk in stream for choice in chunk.choices for c in choice.delta.tool_calls or []]
    assert "".join((p.function.arguments or "") for p in pieces if p.function) == '{"a": 1}'


def test_embeddings_are_repeatable_and_related_by_words(sdk: openai.OpenAI) -> None:
    found = sdk.embeddings.create(model="e", input=["red apple", "red pear", "blue sky"])
    one, two, three = (d.embedding for d in sorted(found.data, key=lambda d: d.index))

    def alike(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert alike(one, one) == pytest.approx(1, abs=1e-5)
    assert alike(one, two) > alike(one, three)


def test_models_and_errors_come_as_the_sdk_expects(double: OpenAIDouble, sdk: openai.OpenAI) -> None:
    assert [m.id for m in sdk.models.list()] == ["double-1", "double-embed-1"]
    double.script(Fail(429, headers={"retry-after": "2"}))
    with pytest.raises(openai.RateLimitError) as caught:
        sdk.chat.completions.create(model="m", messages=[USER])
    assert caught.value.response.headers["retry-after"] == "2"
    assert caught.value.request_id == "req_double"


def test_scripts_are_played_in_order_and_then_the_double_answers_by_itself(
    double: OpenAIDouble, sdk: openai.OpenAI
) -> None:
    double.script("One", [Say("Two"), Call("add", {"a": 1})], lambda body: f"Saw {body['model']}")
    answers = [sdk.chat.completions.create(model="m", messages=[USER]).choices[0].message for _ in range(5)]
    assert [a.content for a in answers] == ["One", "Two", None, "Saw m", "Echo: Hello"]
    assert answers[2].tool_calls is not None


@pytest.mark.parametrize("item", [Cut("one two three", after=2), Cut("x y z", after=2, how="reset"), MidStreamError()])
def test_broken_streams_break_the_sdk(double: OpenAIDouble, sdk: openai.OpenAI, item: Any) -> None:
    double.script(item)
    with pytest.raises(openai.APIError):
        list(sdk.chat.completions.create(model="m", messages=[USER], stream=True))
    assert double.disconnects == []


def test_a_client_that_leaves_is_a_disconnect(double: OpenAIDouble, sdk: openai.OpenAI) -> None:
    double.script(Hang("one two three", after=2))
    stream = sdk.chat.completions.create(model="m", messages=[USER], stream=True)
    next(stream)
    threading.Thread(target=stream.close).start()
    assert double.requests[0].request.wait_gone(5)
    assert double.disconnects == double.requests


def test_a_violation_is_answered_with_400_and_fails_at_the_end() -> None:
    double = OpenAIDouble("lmstudio").start()
    body = {"model": "m", "messages": [USER], "response_format": {"type": "json_object"}}
    reply = httpx.post(f"{double.url}/chat/completions", json=body)
    assert reply.status_code == 400
    assert reply.json() == {"error": "'response_format.type' must be 'json_schema' or 'text'"}
    with pytest.raises(AssertionError, match=r"response_format\.type"):
        double.stop()


@pytest.mark.parametrize("header", ["Bearer", "Basic abc"])
def test_an_empty_bearer_is_a_violation(header: str) -> None:
    double = OpenAIDouble().start()
    httpx.get(f"{double.url}/models", headers={"authorization": header})
    with pytest.raises(AssertionError, match="no token"):
        double.stop()


def test_a_wrong_key_is_refused_without_being_a_violation() -> None:
    with OpenAIDouble(api_key="right") as double:
        assert httpx.get(f"{double.url}/models", headers={"authorization": "Bearer wrong"}).status_code == 401
        assert httpx.get(f"{double.url}/models", headers={"authorization": "Bearer right"}).status_code == 200


# -- rules -----------------------------------------------------------------------------------------------------------

CALL: Any = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
ASSISTANT: Any = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT: Any = {"role": "tool", "tool_call_id": "c1", "content": "1"}


def faults(profile: str = "openai", *messages: Any, **fields: Any) -> str:
    body = {"model": "m", "messages": list(messages or (USER,)), **fields}
    return "\n".join(chat_faults(body, QUIRKS[profile]))


def test_a_documented_request_has_no_faults() -> None:
    assert faults("openai", USER, ASSISTANT, RESULT, tools=[TOOL], tool_choice="auto", temperature=0.5) == ""


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "too short"),
        ([{"role": "user"}], "content: missing"),
        ([{"role": "user", "content": "x", "foo": 1}], "foo: unknown"),
        ([{"role": "assistant"}], "needs content"),
        ([USER, RESULT], "response to a preceding message"),
        ([USER, ASSISTANT], "without a result"),
        ([USER, ASSISTANT, USER, RESULT], "must be followed by tool messages"),
        ([USER, {**ASSISTANT, "tool_calls": [CALL, CALL]}, RESULT], "share an id"),
        ([USER, {**ASSISTANT, "reasoning_content": "x"}, RESULT], "reasoning_content: unknown"),
        ([{"role": "user", "content": [{"type": "text", "text": ""}]}], "empty text part"),
        ([picture("a.png")], "neither"),
        ([picture("data:image/png;base64,!")], "base64"),
    ],
)
def test_wrong_messages_are_faults(messages: Any, says: str) -> None:
    assert says in "\n".join(chat_faults({"model": "m", "messages": messages}, QUIRKS["openai"]))


@pytest.mark.parametrize(
    ("profile", "fields", "says"),
    [
        ("openai", {"top_k": 5}, "top_k: unknown"),
        ("openai", {"temperature": "hot"}, "temperature"),
        ("openai", {"max_tokens": 5}, "Use 'max_completion_tokens' instead"),
        ("openai", {"max_completion_tokens": -1}, "at least 1"),
        ("openai", {"tool_choice": "auto"}, "only allowed when tools are given"),
        ("openai", {"tools": []}, "too short"),
        ("openai", {"tools": [TOOL, TOOL]}, "share a name"),
        ("openai", named("x"), "no tool of that"),
        ("openai", {"top_logprobs": 2}, "needs logprobs"),
        ("openai", {"stream_options": {"include_usage": True}}, "stream"),
        ("openai", {"response_format": {"type": "json_object"}}, "the word 'json'"),
        ("lmstudio", named("add"), "Invalid tool_c"),
        ("ollama", {"tools": [TOOL], "tool_choice": "required"}, "does not read"),
        ("mistral", {"tools": [TOOL], "tool_choice": "required"}, "'any'"),
        ("groq", {"logprobs": True}, "not supported"),
        ("mistral", {"seed": 1}, "not supported"),
    ],
)
def test_wrong_fields_are_faults(profile: str, fields: Any, says: str) -> None:
    assert says in faults(profile, **fields)


@pytest.mark.parametrize(
    ("profile", "messages", "says"),
    [
        ("llamacpp", [USER, {"role": "system", "content": "x"}], "must be at the beginning"),
        ("scaleway", [USER, USER], "must alternate"),
        ("mistral", [USER, ASSISTANT, RESULT, USER], "Unexpected role 'user'"),
        ("mistral", [USER, ASSISTANT, RESULT], "Tool call id"),
        ("deepseek", [USER, ASSISTANT, RESULT], "reasoning_content"),
        ("groq", [USER, {**ASSISTANT, "reasoning_content": "x"}, RESULT], "unknown"),
        ("lmstudio", [picture("https://x/a")], "base64"),
    ],
)
def test_what_one_server_refuses_is_a_fault_there(profile: str, messages: Any, says: str) -> None:
    assert says in faults(profile, *messages)


@pytest.mark.parametrize(
    ("profile", "body", "says"),
    [
        ("openai", {"model": "m", "input": []}, "0 inputs"),
        ("openai", {"input": ["x"]}, "model: missing"),
        ("openai", {"model": "m", "input": ["x"], "truncate": True}, "unknown"),
        ("lmstudio", {"model": "m", "input": [[1, 2]]}, "must be a string"),
        ("lmstudio", {"model": "m", "input": ["x"], "encoding_format": "base64"}, "base64"),
        ("llamacpp", {"model": "m", "input": ["x"], "dimensions": 5}, "dimensions"),
    ],
)
def test_wrong_embedding_requests_are_faults(profile: str, body: Any, says: str) -> None:
    assert says in "\n".join(embedding_faults(body, QUIRKS[profile]))
