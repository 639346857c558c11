"""Four dialects against a server that somebody else wrote. Skipped where aimock is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from testkit.aimock import aimock_command, running_aimock
from unified_llm import Message, ToolResult, UnifiedLLM
from unified_llm.errors import APIConnectionError, RateLimitError, ResponseError, UnifiedLLMError
from unified_llm.responses import FinishReason

FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "weather", "hasToolResult": True}, "response": {"content": "It is sunny."}},
    {
        "match": {"userMessage": "weather"},
        "response": {
            "toolCalls": [
                {"name": "look", "arguments": '{"city":"Nice"}'},
                {"name": "look", "arguments": '{"city":"Caen"}'},
            ]
        },
    },
    {"match": {"userMessage": "limit"}, "response": {"content": "x"}, "chaos": {"rateLimitRate": 1}},
    {"match": {"userMessage": "garbled"}, "response": {"content": "x"}, "chaos": {"malformedRate": 1}},
    {"match": {"userMessage": "cut"}, "response": {"content": "x"}, "chaos": {"disconnectRate": 1}},
    {"match": {"userMessage": "hello"}, "response": {"content": "Bonjour à tous, \n\n how are you? 🙂"}},
]
DIALECTS: dict[str, dict[str, Any]] = {
    "openai": {"provider": "openai", "api_key": "k", "path": "/v1", "model": "gpt-4o", "dialect": "chat"},
    "responses": {"provider": "openai", "api_key": "k", "path": "/v1", "model": "gpt-4o", "dialect": "responses"},
    "claude": {"provider": "claude", "api_key": "sk-ant-not-a-key-1", "path": "", "model": "claude-sonnet-5-5"},
    "ollama": {"provider": "ollama", "path": "", "model": "llama3.2"},
}
LOOK = {
    "name": "look",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = aimock_command()
    if isinstance(command, str):
        pytest.skip(command)
    with running_aimock(command, FIXTURES, tmp_path_factory.mktemp("aimock")) as url:
        yield url


@pytest.fixture(params=DIALECTS)
def llm(request: pytest.FixtureRequest, aimock: str) -> Iterator[UnifiedLLM]:
    options = dict(DIALECTS[request.param])
    with UnifiedLLM(base_url=aimock + options.pop("path"), max_retries=0, **options) as client:
        yield client


async def test_an_answer_is_the_same_whole_and_streamed_sync_and_async(llm: UnifiedLLM) -> None:
    with llm.stream("hello") as stream:
        streamed = stream.get_response()
    async with llm.stream_async("hello") as again:
        answers = [llm.chat("hello"), await llm.chat_async("hello"), streamed, await again.get_response()]
    assert {str(a) for a in answers} == {"Bonjour à tous, \n\n how are you? 🙂"}
    assert {a.finish_reason for a in answers} == {FinishReason.STOP}
    await llm.aclose()


@pytest.mark.parametrize("stream", [False, True])
def test_tools_go_round(llm: UnifiedLLM, stream: bool) -> None:
    history = [Message("user", "weather?")]
    if stream:
        with llm.stream(history, tools=[LOOK]) as pieces:
            first = pieces.get_response()
    else:
        first = llm.chat(history, tools=[LOOK])
    assert [(c.name, c.arguments) for c in first.tool_calls] == [("look", {"city": "Nice"}), ("look", {"city": "Caen"})]
    assert first.finish_reason is FinishReason.TOOL_CALLS
    assert len({c.id for c in first.tool_calls}) == 2
    results = [ToolResult(c.id, "sunny") for c in first.tool_calls]
    history += [first.message, Message("tool", tool_result=results)]
    assert str(llm.chat(history, tools=[LOOK])) == "It is sunny."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("limit", (RateLimitError,)),
        ("garbled", (ResponseError,)),
        ("cut", (ResponseError, APIConnectionError)),
    ],
)
def test_its_faults_are_errors_of_the_tree(
    llm: UnifiedLLM, text: str, errors: tuple[type[UnifiedLLMError], ...], stream: bool
) -> None:
    ask: Callable[[], object] = (lambda: list(llm.stream(text))) if stream else (lambda: llm.chat(text))
    with pytest.raises(errors) as caught:
        ask()
    assert caught.value.hint
    assert caught.value.provider
