"""The double stands for Ollama: its vendor's own client understands every answer, and bad requests are violations."""

from __future__ import annotations

import json
from typing import Any

import httpx
import ollama
import pytest

from testkit.ollama_double import Call, MidStreamError, OllamaDouble, Say

TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Looks", "parameters": {"type": "object", "properties": {}}},
}


def test_the_vendors_client_reads_chats_and_streams() -> None:
    say = Say("It rains", reasoning="Hm", calls=[Call("look", {"a": 1})])
    with OllamaDouble() as double, ollama.Client(host=double.url) as client:
        double.script(say, say)
        whole = client.chat("tiny", [{"role": "user", "content": "x"}], stream=False, think=True)
        assert (whole.message.content, whole.message.thinking, whole.done_reason) == ("It rains", "Hm", "stop")
        assert [(c.function.name, c.function.arguments) for c in whole.message.tool_calls or ()] == [("look", {"a": 1})]
        assert whole.eval_count
        assert whole.total_duration
        pieces = list(client.chat("tiny", [{"role": "user", "content": "x"}], stream=True, options={"num_ctx": 512}))
        assert "".join(p.message.content or "" for p in pieces) == "It rains"
        assert [p.done for p in pieces][-2:] == [False, True]


def test_the_vendors_client_reads_lists_vectors_and_downloads() -> None:
    with OllamaDouble() as double, ollama.Client(host=double.url) as client:
        assert [m.model for m in client.list().models] == ["tiny:latest", "plain:1b", "embed:latest"]
        assert [m.context_length for m in client.ps().models] == [4096]
        assert client.show("tiny").capabilities == ["completion", "tools", "thinking", "vision"]
        assert len(client.embed("embed", ["a", "b"]).embeddings) == 2
        double.pulls.append([{"status": "pulling manifest"}, {"status": "success"}])
        assert [p.status for p in client.pull("new", stream=True)] == ["pulling manifest", "success"]


def test_the_vendors_client_raises_the_doubles_faults() -> None:
    with OllamaDouble() as double, ollama.Client(host=double.url) as client:
        with pytest.raises(ollama.ResponseError, match="model 'no' not found"):
            client.chat("no", [{"role": "user", "content": "x"}], stream=False)
        double.script(MidStreamError("a b", after=1, error={"error": "it broke"}))
        with pytest.raises(ollama.ResponseError, match="it broke"):
            list(client.chat("tiny", [{"role": "user", "content": "x"}], stream=True))


def post(double: OllamaDouble, path: str, body: Any) -> httpx.Response:
    return httpx.post(f"{double.url}/api/{path}", content=json.dumps(body), timeout=10)


USER = {"role": "user", "content": "x"}
CALLED = {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {}}}]}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"tool_choice": "auto"}, "unknown field 'tool_choice'"),
        ({"max_tokens": 5}, "unknown field 'max_tokens'"),
        ({"messages": None}, "null"),
        ({"stream": "yes"}, "stream"),
        ({"options": {"max_tokens": 5}}, "invalid option provided: max_tokens"),
        ({"options": {"num_ctx": "many"}}, "num_ctx"),
        ({"options": {"seed": 1.5}}, "seed"),
        ({"options": {"temperature": True}}, "temperature"),
        ({"options": {}}, "empty"),
        ({"think": "enormous"}, "invalid think value"),
        ({"format": {"type": "json_schema", "json_schema": {"schema": {}}}}, "wrapper"),
        ({"format": "xml"}, "format"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "content"),
        ({"messages": [{"role": "user"}]}, "content is no text"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "robot"),
        ({"messages": [USER, {"role": "system", "content": "x"}]}, "one system message"),
        ({"messages": [{**USER, "images": ["data:image/png;base64,AAAA"]}]}, "base64"),
        ({"messages": [{**USER, "images": ["AAAA"]}]}, "unknown format"),
        ({"messages": [CALLED, {"role": "tool", "content": "1", "tool_name": "g", "tool_call_id": "c"}]}, "no call"),
        ({"messages": [CALLED, {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "d"}]}, "no call"),
        ({"messages": [CALLED, CALLED]}, "repeats"),
        ({"tools": [{"type": "web_search"}]}, "no function tool"),
        ({"tools": [{**TOOL, "function": {**TOOL["function"], "strict": True}}]}, "strict"),  # type: ignore[dict-item]
        ({"tools": [{**TOOL, "function": {**TOOL["function"], "parameters": {}}}]}, "templates need"),  # type: ignore[dict-item]
    ],
)
def test_a_request_that_the_server_would_refuse_or_not_read_is_a_violation(changes: Any, fault: str) -> None:
    double = OllamaDouble()
    with pytest.raises(AssertionError, match="would refuse"), double:
        assert post(double, "chat", {"model": "tiny", "messages": [USER], "stream": False, **changes}).is_client_error
    assert any(fault in violation for violation in double.violations), double.violations


@pytest.mark.parametrize(
    "properties",
    [{"x": {"$ref": "#/$defs/X"}}, {"x": {"anyOf": [{"oneOf": []}]}}, {"x": {"items": {"allOf": []}}}],
)
def test_words_of_a_schema_that_the_server_forgets_are_violations(properties: Any) -> None:
    parameters = {"type": "object", "properties": properties}
    tool = {"type": "function", "function": {"name": "f", "description": "", "parameters": parameters}}
    double = OllamaDouble()
    with pytest.raises(AssertionError, match="would refuse"), double:
        post(double, "chat", {"model": "tiny", "messages": [USER], "stream": False, "tools": [tool]})
    assert any("forgets" in violation for violation in double.violations)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("embed", {"model": "embed", "input": [1, 2]}),
        ("embed", {"model": "embed", "input": ["a"], "encoding_format": "float"}),
        ("embed", {"input": ["a"]}),
        ("show", {"name": "tiny"}),
        ("pull", {"model": ""}),
    ],
)
def test_other_requests_are_checked_as_well(path: str, body: Any) -> None:
    double = OllamaDouble()
    with pytest.raises(AssertionError, match="would refuse"), double:
        assert post(double, path, body).is_client_error
    assert double.violations
