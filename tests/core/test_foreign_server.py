"""A server that other people wrote (aimock, on Node) answers in each dialect; the same code reads them all.

Its requests are not judged: the strict doubles do that. What counts here is that somebody else's idea of each dialect's
answers, streams and tool calls is understood as ours is.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.mcp_node import NodeTools, find_node_tools
from testkit.wire_server import free_port
from unified_llm import Message, TextDelta, ToolResult, UnifiedLLM
from unified_llm.errors import APIConnectionError, RateLimitError, ResponseError

TEXT = "It rains in Paris, and it will go on raining until the évening 🌧."
FIXTURES = {
    "fixtures": [
        {"match": {"userMessage": "rain"}, "response": {"content": TEXT}},
        {
            "match": {"userMessage": "weather", "hasToolResult": False},
            "response": {
                "toolCalls": [
                    {"name": "get_weather", "arguments": {"city": "Paris"}},
                    {"name": "get_weather", "arguments": {"city": "Oslo"}},
                ]
            },
        },
        {"match": {"userMessage": "weather", "hasToolResult": True}, "response": {"content": "Sunny in both."}},
        {
            "match": {"userMessage": "busy"},
            "response": {"error": {"message": "Slow down", "type": "rate_limit_error"}, "status": 429},
        },
        {"match": {"userMessage": "garbled"}, "response": {"content": TEXT}, "chaos": {"malformedRate": 1}},
        {"match": {"userMessage": "cut off"}, "response": {"content": TEXT}, "chaos": {"disconnectRate": 1}},
    ]
}
WEATHER = {
    "name": "get_weather",
    "description": "Current weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
BEDROCK = {"platform": "bedrock", "sdk_options": {"aws_region": "eu-west-3"}}
DIALECTS: dict[str, dict[str, Any]] = {
    "chat completions": {"provider": "openai", "dialect": "chat", "path": "/v1", "model": "gpt-5-mini"},
    "responses": {"provider": "openai", "dialect": "responses", "path": "/v1", "model": "gpt-5-mini"},
    "claude, SDK": {"provider": "claude", "model": "claude-sonnet-5-5"},
    "claude, http": {"provider": "claude", "transport": "http", "model": "claude-sonnet-5-5"},
    "claude on Bedrock": {"provider": "claude", "model": "anthropic.claude-sonnet-5-5", **BEDROCK},
    "ollama": {"provider": "ollama", "model": "qwen3:4b"},
}

_tools = find_node_tools()
_SERVER = Path("@copilotkit/aimock/dist/cli.js")
pytestmark = pytest.mark.skipif(
    isinstance(_tools, str) or not (_tools.modules / _SERVER).is_file(),
    reason=_tools if isinstance(_tools, str) else "aimock is not installed",
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert isinstance(_tools, NodeTools)
    fixtures = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    fixtures.write_text(json.dumps(FIXTURES), encoding="utf-8")
    port = free_port()
    command = _tools.command(str(_SERVER), "-p", str(port), "-f", str(fixtures), "-c", "5", "--log-level", "warn")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            transport = httpx.HTTPTransport(retries=8)  # half a second to start
            with httpx.Client(transport=transport) as client:
                client.get(f"http://127.0.0.1:{port}/v1/models")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture(params=DIALECTS)
def llm(url: str, request: pytest.FixtureRequest) -> Iterator[UnifiedLLM]:
    options = dict(DIALECTS[request.param])
    client = UnifiedLLM(api_key="any-key-will-do", base_url=url + options.pop("path", ""), max_retries=0, **options)
    yield client
    client.close()


async def test_text_is_read_whole_and_in_pieces(llm: UnifiedLLM) -> None:
    response = llm.chat("Will it rain?")
    assert (response, response.finish_reason) == (TEXT, "stop")
    assert await llm.chat_async("Will it rain?") == TEXT
    stream = llm.stream("Will it rain?")
    pieces = [event.text for event in stream if isinstance(event, TextDelta)]
    assert len(pieces) > 3
    assert "".join(pieces) == TEXT == stream.get_response()
    assert await llm.stream_async("Will it rain?").get_response() == TEXT
    await llm.aclose()


@pytest.mark.parametrize("streamed", [False, True])
def test_parallel_tools_are_called_and_answered(llm: UnifiedLLM, streamed: bool) -> None:
    history: list[Any] = [Message("user", "What is the weather in Paris and Oslo?")]
    asked = llm.stream(history, tools=[WEATHER]).get_response() if streamed else llm.chat(history, tools=[WEATHER])
    assert asked.finish_reason == "tool_calls"
    assert [(call.name, call.arguments) for call in asked.tool_calls] == [
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Oslo"}),
    ]
    assert len({call.id for call in asked.tool_calls}) == 2
    history += [asked.message, Message("tool", [ToolResult(call.id, "sunny") for call in asked.tool_calls])]
    assert llm.chat(history, tools=[WEATHER]) == "Sunny in both."


def test_an_error_is_typed(llm: UnifiedLLM) -> None:
    with pytest.raises(RateLimitError) as caught:
        llm.chat("Are you busy?")
    assert (caught.value.status, caught.value.message) == (429, "Slow down")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("fault", ["garbled", "cut off"])
def test_a_damaged_answer_is_an_error_of_the_tree(llm: UnifiedLLM, fault: str, streamed: bool) -> None:
    with pytest.raises((ResponseError, APIConnectionError)) as caught:
        _ = list(llm.stream(fault)) if streamed else llm.chat(fault)
    assert caught.value.hint
    assert caught.value.provider
