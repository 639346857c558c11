"""Conversations with strict doubles of many servers: what each of them refuses must never be sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from testkit.openai_double import Call, Cut, Fail, MidStreamError, OpenAIDouble, Say
from testkit.openai_services import QUIRKS
from testkit.openai_wire import ADD, MUL, PNG, SCHEMA, ask
from unified_llm.errors import (
    AuthenticationError,
    ContextLengthError,
    ModelNotFoundError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    UnifiedLLMError,
    UnsupportedOptionError,
)
from unified_llm.messages import Image, Message, Text, ToolResult
from unified_llm.profiles import PROFILES
from unified_llm.providers.openai import OpenAICompatibleProvider
from unified_llm.providers.registry import create_provider
from unified_llm.requests import ChatRequest, EmbedRequest, ResponseFormat
from unified_llm.responses import ChatResponse, FinishReason
from unified_llm.stream import StreamEnd, StreamEvent, TextDelta
from unified_llm.tools import ToolChoice

Talk = Callable[..., tuple[OpenAIDouble, OpenAICompatibleProvider]]
SERVERS = sorted(QUIRKS)
KEY = "sk-0123456789abcdef"


@pytest.fixture
def talk() -> Iterator[Talk]:
    """``talk(name, **quirks)``: a double and a provider for it; violations fail the test at its end."""
    opened: list[tuple[OpenAIDouble, Any]] = []

    def start(name: str, **quirks: Any) -> tuple[OpenAIDouble, OpenAICompatibleProvider]:
        double = OpenAIDouble(name, api_key=KEY, **quirks).start()
        options = {"dialect": "openai"} if name == "ollama" else {}  # it has one of its own, too
        provider: Any = create_provider(name, base_url=double.url, api_key=KEY, **options)
        opened.append((double, provider))
        return double, provider

    yield start
    for double, provider in opened:
        provider.close()
        double.stop()


def chat(provider: OpenAICompatibleProvider, request: ChatRequest, *, stream: bool) -> ChatResponse:
    if not stream:
        return provider.chat(request)
    events = list(
        provider.stream(ChatRequest(**{n: getattr(request, n) for n in request.__slots__} | {"stream": True}))
    )
    assert isinstance(events[-1], StreamEnd)
    return events[-1].response


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
every_server = pytest.mark.parametrize("name", SERVERS)


@every_server
@both
def test_text_usage_and_ids(talk: Talk, name: str, stream: bool) -> None:
    double, provider = talk(name)
    response = chat(provider, ask([Message("system", "Be brief."), Message("user", "Hello")]), stream=stream)
    assert response == "Echo: Hello"
    assert response.finish_reason is FinishReason.STOP
    assert (response.provider, response.model, response.request_id) == (name, "m", "req_double")
    assert response.latency is not None
    told = double.requests[0].body
    asked_for_usage = not stream or "stream_options" in told or QUIRKS[name].usage_in != "chunk"
    assert (response.usage.input_tokens is not None) is asked_for_usage


@every_server
@both
def test_a_tool_loop_with_thinking_goes_round_without_a_refusal(talk: Talk, name: str, stream: bool) -> None:
    """Reasoning, calls and results go back as the server wants them: DeepSeek and Groq are of opposite opinions."""
    double, provider = talk(name)
    double.script(
        Say("Let me see.", reasoning="I should add.", calls=[Call("add", {"a": 1}), Call("add", {"a": 2})]),
        Say("3", reasoning="Now I know."),
    )
    history = [Message("user", "1+2?")]
    first = chat(provider, ask(history, tools=(ADD, MUL)), stream=stream)
    assert [(c.name, c.arguments) for c in first.tool_calls] == [("add", {"a": 1}), ("add", {"a": 2})]
    assert first.finish_reason is FinishReason.TOOL_CALLS
    assert first.reasoning == ("I should add." if QUIRKS[name].reasoning != "none" else None)
    assert first == "Let me see."

    history += [first.message, *(Message("tool", ToolResult(c.id, "1")) for c in first.tool_calls)]
    second = chat(provider, ask(history, tools=(ADD, MUL)), stream=stream)
    assert second == "3"
    history += [second.message, Message("user", "Thanks")]
    assert chat(provider, ask(history, tools=(ADD, MUL)), stream=stream) == "Echo: Thanks"


@every_server
@both
def test_a_forced_tool_is_called_where_the_server_can_be_made_to(talk: Talk, name: str, stream: bool) -> None:
    _, provider = talk(name)
    request = ask("Hi", tools=(ADD, MUL), tool_choice=ToolChoice("tool", "add"), thinking=False)
    response = chat(provider, request, stream=stream)
    if "tools" in QUIRKS[name].refused:
        assert ("dropped", "tools") in [(a.kind, a.what) for a in response.adjustments]
    elif QUIRKS[name].tool_choice == "ignored":
        assert ("dropped", "tool_choice") in [(a.kind, a.what) for a in response.adjustments]
    else:
        assert [c.name for c in response.tool_calls] == ["add"]
        assert isinstance(response.tool_calls[0].arguments, dict)


@every_server
@both
def test_structured_output_fits_the_schema_where_the_server_enforces_it(talk: Talk, name: str, stream: bool) -> None:
    _, provider = talk(name)
    response = chat(provider, ask("Give me x", response_format=ResponseFormat(SCHEMA)), stream=stream)
    if QUIRKS[name].json_schema:
        assert response.parsed == {"x": 1}
    else:
        assert ("changed", "response_format") in [(a.kind, a.what) for a in response.adjustments]
    assert isinstance(chat(provider, ask("json", response_format=ResponseFormat()), stream=stream).parsed, dict)


@every_server
def test_every_option_at_once_is_never_refused(talk: Talk, name: str) -> None:
    _, provider = talk(name)
    request = ask(
        [Message("user", [Text("Look"), Image(data=PNG, media_type="image/png")]), Message("user", "Well?")],
        tools=(ADD,),
        tool_choice=ToolChoice("auto"),
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        min_p=0.1,
        seed=1,
        max_tokens=50,
        stop_sequences=["x"],
        user="u",
        presence_penalty=0.1,
        frequency_penalty=0.1,
        parallel_tool_calls=True,
        logprobs=2,
        effort="low",
        thinking=True,
        prompt_caching=True,
    )
    assert chat(provider, request, stream=False)
    assert chat(provider, request, stream=True)


@every_server
def test_embeddings_are_the_same_whatever_form_the_server_sends(talk: Talk, name: str) -> None:
    double, provider = talk(name)
    request = EmbedRequest("e", ("red apple", "blue sky", "red apple"), dimensions=8)
    if PROFILES[name].embeddings == "no":
        with pytest.raises(UnsupportedOptionError, match="no embeddings"):
            provider.embed(request)
        assert double.requests == []
        return
    if not QUIRKS[name].embeddings:
        with pytest.raises(UnifiedLLMError, match="HTTP 404"):
            provider.embed(request)
        return
    found = provider.embed(request)
    assert found[0] == found[2] != found[1]
    assert len(found) == 3
    assert found.usage.input_tokens is not None
    honoured = "dimensions" in double.requests[0].body
    assert (found.dimensions == 8) is honoured
    assert bool(found.adjustments) is not honoured


@every_server
def test_models_are_listed(talk: Talk, name: str) -> None:
    _, provider = talk(name)
    if not QUIRKS[name].lists_models:
        with pytest.raises(UnifiedLLMError, match="HTTP 404"):
            provider.list_models()
        return
    assert [m.id for m in provider.list_models()] == ["double-1", "double-embed-1"]


# -- habits of tool calls, over the wire -----------------------------------------------------------------------------

HABITS: list[dict[str, Any]] = [
    {"tools_in_stream": "same_index"},
    {"tools_in_stream": "no_index"},
    {"tools_in_stream": "repeat_id"},
    {"tools_in_stream": "whole"},
    {"arguments": "dict"},
    {"arguments": "empty"},
    {"finish_with_calls": "stop"},
    {"comments": True},
    {"done": False},
    {"reasoning": "think_tags"},
]


@pytest.mark.parametrize("habit", HABITS, ids=str)
@both
def test_a_server_with_a_habit_is_understood(talk: Talk, habit: dict[str, Any], stream: bool) -> None:
    double, provider = talk("openai-compatible", **habit)
    double.script(Say("Well.", reasoning="Hm.", calls=[Call("add", {"a": 1}), Call("now"), Call("add", {"a": 2})]))
    response = chat(provider, ask("Hi", tools=(ADD,)), stream=stream)
    assert [(c.name, c.arguments) for c in response.tool_calls] == [("add", {"a": 1}), ("now", {}), ("add", {"a": 2})]
    assert len({c.id for c in response.tool_calls}) == 3
    assert response == "Well."
    assert response.reasoning == ("Hm." if habit.get("reasoning") else None)
    assert response.finish_reason is FinishReason.TOOL_CALLS


# -- errors over the wire --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fail", "kind"),
    [
        ("openai", Fail(429, headers={"retry-after": "2"}), RateLimitError),
        (
            "lmstudio",
            Fail(400, message="Trying to keep the first 4500 tokens when context the overflows"),
            ContextLengthError,
        ),
        ("ollama", Fail(404, {"error": "model 'x' not found"}), ModelNotFoundError),
        ("groq", Fail(500, b"<html><title>Oops</title></html>", {"content-type": "text/html"}), ServerError),
        (
            "vllm",
            Fail(404, {"object": "error", "message": "The model `x` does not exist.", "code": 404}),
            ModelNotFoundError,
        ),
        ("mistral", Fail(401, {"detail": "Unauthorized"}), AuthenticationError),
        (
            "gemini",
            Fail(429, [{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}}]),
            RateLimitError,
        ),
        ("openrouter", Fail(200, {"error": {"code": 429, "message": "slow"}}), RateLimitError),
        ("lmstudio", Fail(200, {"error": "Reached context length of 4096 tokens"}), ContextLengthError),
    ],
)
@both
def test_an_error_is_of_the_right_class_and_names_provider_model_status_and_request(
    talk: Talk, name: str, fail: Fail, kind: type[UnifiedLLMError], stream: bool
) -> None:
    double, provider = talk(name)
    double.script(fail)
    with pytest.raises(UnifiedLLMError) as caught:
        chat(provider, ask("Hi", model="x"), stream=stream)
    error = caught.value
    assert type(error) is kind
    assert (error.provider, error.model, error.request_id) == (name, "x", "req_double")
    assert error.status is not None
    assert error.hint
    if "retry-after" in fail.headers:
        assert error.retry_after == 2.0


@pytest.mark.parametrize("how", ["close", "inside_event", "reset"])
def test_a_cut_stream_raises_and_keeps_the_partial_text(talk: Talk, how: Any) -> None:
    double, provider = talk("openai")
    double.script(Cut("one two three", after=3, how=how))
    got: list[StreamEvent] = []
    with pytest.raises(StreamInterruptedError) as caught:
        got.extend(provider.stream(ask("Hi", stream=True)))
    text = "".join(e.text for e in got if isinstance(e, TextDelta))
    assert text
    assert caught.value.partial == text
    assert caught.value.retryable


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_that_breaks_after_the_last_piece_breaks_nothing(talk: Talk, how: Any) -> None:
    double, provider = talk("openai")
    double.script(Cut("one two three", after=99, how=how))
    events = list(provider.stream(ask("Hi", stream=True)))
    assert isinstance(events[-1], StreamEnd)
    assert events[-1].response == "one two three"


def test_text_held_back_for_a_think_tag_is_part_of_the_partial_answer(talk: Talk) -> None:
    double, provider = talk("lmstudio")
    double.script(Cut("<thi", after=2))
    with pytest.raises(StreamInterruptedError) as caught:
        list(provider.stream(ask("Hi", stream=True)))
    assert caught.value.partial == "<thi"


def test_an_error_in_midstream_raises_and_keeps_the_partial_text(talk: Talk) -> None:
    double, provider = talk("openrouter")
    double.script(MidStreamError("one two three", after=4))
    with pytest.raises(ServerError) as caught:
        list(provider.stream(ask("Hi", stream=True)))
    assert caught.value.partial
    assert caught.value.status == 502
