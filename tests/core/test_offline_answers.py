"""What the offline provider says when nobody scripts it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from unified_llm import (
    ChatResponse,
    ContextLengthError,
    FinishReason,
    Image,
    InvalidRequestError,
    Message,
    ModelConfig,
    ModelNotFoundError,
    Text,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolCallStart,
    ToolResult,
    UnifiedLLM,
    UnsupportedOptionError,
)
from unified_llm.offline.answers import HOW_TO_GET_A_MODEL, NOTICE
from unified_llm.offline.tokens import split_text


@pytest.fixture
def llm() -> UnifiedLLM:
    return UnifiedLLM(provider="offline")


def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> str:
    """Weather of a city."""
    return f"sunny in {city}, in degrees {unit}"


def get_time(zone: str) -> str:
    """Time in a zone."""
    return f"noon in {zone}"


TOOLS: list[Callable[..., str]] = [get_weather, get_time]


# -- text -------------------------------------------------------------------------------------------------------------


def test_the_answer_says_it_is_no_model_how_to_get_one_and_what_was_asked(llm: UnifiedLLM) -> None:
    answer = llm.chat("Why is the sky blue?")
    assert answer.splitlines()[0] == NOTICE
    assert "not a language model" in NOTICE
    assert "I was asked: Why is the sky blue?" in answer
    ways = [line.removeprefix("- ") for line in answer.splitlines() if line.startswith("- ")]
    assert ways == list(HOW_TO_GET_A_MODEL)
    words = ("ANTHROPIC_API_KEY", "LM Studio", "models pull Qwen/")
    assert [word in line for word, line in zip(words, ways, strict=True)] == [True] * 3


def test_a_conversation_is_told_once_how_to_get_a_model(llm: UnifiedLLM) -> None:
    first = llm.chat("Hi")
    second = llm.chat([Message("user", "Hi"), first.message, Message("user", "And now?")])
    assert second.splitlines()[0] == NOTICE
    assert "I was asked: And now?" in second
    assert not any(way in second for way in HOW_TO_GET_A_MODEL)


def test_the_answer_mentions_everything_else_it_was_given(llm: UnifiedLLM) -> None:
    picture = Image(data=b"\x89PNG\r\n\x1a\n" + b"0" * 20, media_type="image/png")
    answer = llm.chat(
        [
            Message("system", "Be brief."),
            Message("user", "Hi"),
            Message("assistant", "Hello"),
            Message("user", ["What is this?", picture]),
        ],
        tools=TOOLS,
    )
    assert "I was asked: What is this?" in answer
    assert "I also saw: system prompt: Be brief.; 3 messages; 1 image; tools: get_weather, get_time" in answer


def test_the_same_request_gets_the_same_answer_from_every_client() -> None:
    def ask() -> Any:
        return UnifiedLLM(provider="offline").chat("weather?", tools=TOOLS, temperature=1.5).raw

    assert ask() == ask()


def test_a_long_prompt_is_clipped_and_says_so(llm: UnifiedLLM) -> None:
    assert "x… (500 more characters)" in llm.chat("x" * 1500)


def test_a_chat_costs_nothing_and_reports_its_usage(llm: UnifiedLLM) -> None:
    answer = llm.chat("Hello world")
    assert answer.cost == 0
    assert answer.usage.input_tokens == llm.count_tokens("Hello world") == 7
    assert answer.usage.output_tokens == len(split_text(answer.text))
    assert answer.usage.reasoning_tokens is None
    streamed = llm.stream("Hello world").get_response()
    assert streamed.cost == 0
    assert streamed.usage.input_tokens == 7


@given(limit=st.integers(1, 90), thinking=st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_token_limit_is_exact_and_thinking_counts(limit: int, thinking: bool) -> None:
    llm = UnifiedLLM(provider="offline")
    whole, answer = (llm.chat("Hi", max_tokens=m, thinking=thinking) for m in (None, limit))
    spent = len(split_text(answer.text)) + len(split_text(answer.reasoning or ""))
    assert spent == answer.usage.output_tokens == min(limit, whole.usage.output_tokens or 0)
    assert (answer.finish_reason is FinishReason.LENGTH) == (answer != whole)
    assert whole.startswith(answer)


def test_a_stop_sequence_ends_the_text_before_it(llm: UnifiedLLM) -> None:
    answer = llm.chat("one STOP two", stop=["never", "STOP"])
    assert answer.endswith("one ")
    assert answer.finish_reason is FinishReason.STOP_SEQUENCE


async def test_every_kind_of_call_gives_the_same_answer(llm: UnifiedLLM) -> None:
    whole = llm.chat("Hello", thinking=True)
    assert await llm.chat_async("Hello", thinking=True) == whole
    pieces = list(llm.chat("Hello", stream=True, thinking=True))
    assert "".join(pieces) == whole
    assert len(pieces) > 10
    async with llm.stream_async("Hello", thinking=True) as events:
        thoughts = [e.text async for e in events if isinstance(e, ThinkingDelta)]
    assert "".join(thoughts) == whole.reasoning
    assert events.response == whole


# -- thinking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "thinks"),
    [
        ({}, False),
        ({"thinking": True}, True),
        ({"thinking": False}, False),
        ({"effort": "low"}, True),
        ({"effort": "none"}, False),
    ],
)
def test_it_thinks_when_asked_to(llm: UnifiedLLM, options: dict[str, Any], thinks: bool) -> None:
    answer = llm.chat("Hi", **options)
    assert (answer.reasoning is not None) == thinks
    assert not answer.adjustments
    assert ("I do not think" in (answer.reasoning or "")) == thinks


def test_a_thinking_budget_is_kept(llm: UnifiedLLM) -> None:
    answer = llm.chat("Hi", thinking=5)
    assert answer.usage.reasoning_tokens == 5


# -- tools ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "choice", "names"),
    [
        ("Hello", None, []),
        ("Hello", "auto", []),
        ("Hello", "required", ["get_weather"]),
        ("Hello", "get_time", ["get_time"]),
        ("What is the weather like?", None, ["get_weather"]),
        ("What is the weather like?", "none", []),
        ("What is the weather like?", "get_time", ["get_time"]),
        ("Tell me the time", "required", ["get_time"]),
        ("use get_time and then get_weather", None, ["get_time", "get_weather"]),
    ],
)
def test_tools_are_called_by_a_simple_rule(llm: UnifiedLLM, prompt: str, choice: Any, names: list[str]) -> None:
    answer = llm.chat(prompt, tools=TOOLS, tool_choice=choice)
    assert [c.name for c in answer.tool_calls] == names
    assert (answer.finish_reason is FinishReason.TOOL_CALLS) == bool(names)
    assert bool(answer) != bool(names)


def test_demanding_a_call_each_turn_comes_to_the_end_of_the_tools(llm: UnifiedLLM) -> None:
    history = [Message("user", "What is the weather like?")]
    called = []
    for _ in TOOLS:
        answer = llm.chat(history, tools=TOOLS, tool_choice="required")
        called += [c.name for c in answer.tool_calls]
        history += [answer.message, Message("tool", tool_result=ToolResult(answer.tool_calls[0].id, "done"))]
    assert sorted(called) == sorted(tool.__name__ for tool in TOOLS)
    assert llm.chat(history, tools=TOOLS, tool_choice="required").tool_calls  # a call is demanded still


def test_one_call_at_a_time_when_parallel_calls_are_off(llm: UnifiedLLM) -> None:
    answer = llm.chat("get_time and get_weather", tools=TOOLS, parallel_tool_calls=False)
    assert [c.name for c in answer.tool_calls] == ["get_time"]


@pytest.mark.parametrize(
    ("prompt", "arguments"),
    [
        ("What is the weather?", {"city": "example city", "unit": "celsius"}),
        ("What is the weather in 'San Francisco'?", {"city": "San Francisco", "unit": "celsius"}),
        ("weather in « Genève »", {"city": "Genève", "unit": "celsius"}),
        ("Don't tell me the weather, it's bad", {"city": "example city", "unit": "celsius"}),
        ("call get_weather('Oslo')", {"city": "Oslo"}),
        ("call get_weather(city='Oslo', unit='fahrenheit').", {"city": "Oslo", "unit": "fahrenheit"}),
        ('call get_weather {"city": "Oslo"} now', {"city": "Oslo"}),
        ("call get_weather(city='Oslo', unit='kelvin')", {"city": "Oslo", "unit": "celsius"}),  # only quotes are right
        ("call get_weather (the tool)", {"city": "example city", "unit": "celsius"}),
        ("call get_weather(1 / 0)", {"city": "example city", "unit": "celsius"}),
    ],
)
def test_arguments_are_made_up_quoted_or_written(llm: UnifiedLLM, prompt: str, arguments: dict[str, Any]) -> None:
    (call,) = llm.chat(prompt, tools=TOOLS).tool_calls
    assert call.arguments == arguments


def test_a_loop_over_tool_calls_ends(llm: UnifiedLLM) -> None:
    messages: list[Any] = [Message("user", "Compare the get_weather and get_time of 'Paris'")]
    functions: dict[str, Callable[..., str]] = {"get_weather": get_weather, "get_time": get_time}
    for _ in range(5):
        answer = llm.chat(messages, tools=TOOLS)
        messages.append(answer)
        if not answer.tool_calls:
            break
        for call in answer.tool_calls:
            messages.append(Message("tool", ToolResult(call.id, functions[call.name](**(call.arguments or {})))))
    assert sum(isinstance(m, ChatResponse) for m in messages) == 2
    assert "- get_weather: sunny in Paris, in degrees celsius" in answer
    assert "- get_time: noon in Paris" in answer


def test_a_new_question_after_tool_results_may_call_tools_again(llm: UnifiedLLM) -> None:
    call = ToolCall("get_weather", {"city": "Oslo"})
    history = [
        Message("user", "weather?"),
        Message("assistant", call),
        Message("tool", ToolResult(call.id, "snow")),
        Message("assistant", "It snows."),
    ]
    again = llm.chat([*history, Message("user", "And the weather now?")], tools=TOOLS)
    assert again.tool_calls[0].name == "get_weather"
    assert again.tool_calls[0].id != call.id


def test_streamed_calls_are_the_same_as_whole_ones(llm: UnifiedLLM) -> None:
    whole = llm.chat("get_time, get_weather", tools=TOOLS)
    with llm.stream("get_time, get_weather", tools=TOOLS) as stream:
        starts = [e for e in stream if isinstance(e, ToolCallStart)]
    assert stream.get_response().tool_calls == whole.tool_calls
    assert [s.name for s in starts] == ["get_time", "get_weather"]


def test_the_token_limit_cuts_arguments_too(llm: UnifiedLLM) -> None:
    answer = llm.chat("weather", tools=TOOLS, max_tokens=3)
    assert answer.finish_reason is FinishReason.LENGTH
    assert answer.tool_calls[0].arguments is None


def test_a_tool_whose_schema_nothing_fits_is_a_bad_request(llm: UnifiedLLM) -> None:
    tool = Tool("impossible", parameters={"type": "object", "properties": {"x": False}, "required": ["x"]})
    with pytest.raises(InvalidRequestError, match="no value fits"):
        llm.chat("impossible", tools=[tool])


# -- structured output ------------------------------------------------------------------------------------------------


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str
    rating: int = Field(ge=1, le=10)
    tags: list[str] = Field(min_length=1)


def test_a_pydantic_class_comes_back_filled(llm: UnifiedLLM) -> None:
    joke = llm.chat("Tell me a joke", response_format=Joke).parsed
    assert isinstance(joke, Joke)
    assert joke.setup == "example setup"


def test_seeds_give_other_values_the_same_each_time(llm: UnifiedLLM) -> None:
    values = [llm.chat("A joke", response_format=Joke, seed=seed).parsed for seed in (0, 1, 2, 1)]
    assert values[1] == values[3]
    assert len({v.model_dump_json() for v in values}) == 3


def test_quoted_words_are_the_keys_when_any_object_will_do(llm: UnifiedLLM) -> None:
    answer = llm.chat("Answer as JSON with 'setup' and 'punchline' keys.", response_format="json")
    assert json.loads(answer) == {"setup": "example setup", "punchline": "example punchline"}
    assert json.loads(llm.chat("As JSON", response_format="json")) == {"prompt": "As JSON"}


def test_tools_come_before_structured_output_and_results_end_in_it(llm: UnifiedLLM) -> None:
    first = llm.chat("weather", tools=TOOLS, response_format=Joke)
    assert first.tool_calls
    results = [Message("tool", ToolResult(c.id, "sunny")) for c in first.tool_calls]
    last = llm.chat(["weather", first, *results], tools=TOOLS, response_format=Joke)
    assert isinstance(last.parsed, Joke)


# -- models, embeddings, limits ---------------------------------------------------------------------------------------


def test_any_model_name_is_accepted_unless_the_models_are_named() -> None:
    assert UnifiedLLM(provider="offline").chat("Hi", model="claude-sonnet-5-5").model == "claude-sonnet-5-5"
    strict = UnifiedLLM(provider="offline", models=["small", "large"])
    assert strict.chat("Hi").model == "small"
    assert strict.supported_models() == ["small", "large"]
    with pytest.raises(ModelNotFoundError, match="medium"):
        strict.chat("Hi", model="medium")


async def test_the_models_are_listed(llm: UnifiedLLM) -> None:
    models = llm.list_models()
    assert [m.id for m in models] == ["echo", "hashing"]
    assert [m.ref for m in await llm.list_models_async()] == ["offline:echo", "offline:hashing"]


def test_a_context_window_can_be_set() -> None:
    llm = UnifiedLLM(provider="offline", context_window=10)
    assert llm.chat("short")
    with pytest.raises(ContextLengthError, match="10"):
        llm.chat("long " * 20)


async def test_embeddings_have_the_dimensions_asked_for(llm: UnifiedLLM) -> None:
    vector = llm.embed("Paris is the capital of France")
    assert len(vector) == 256
    assert vector.usage.input_tokens == 9  # Pari s is the capi tal of Fran ce
    assert len(llm.embed("x", dimensions=32)) == 32
    many = await llm.embed_async(["Paris is the capital of France", "b", "c"])
    assert len(many) == 3
    assert many[0] == vector
    assert many.model == "hashing"


def test_bad_dimensions_are_refused(llm: UnifiedLLM) -> None:
    with pytest.raises(InvalidRequestError, match="dimensions"):
        llm.embed("x", dimensions=10**9)


def test_what_cannot_be_made_up_is_refused_or_recorded(llm: UnifiedLLM) -> None:
    assert [a.what for a in llm.chat("Hi", logprobs=3).adjustments] == ["logprobs"]
    with pytest.raises(UnsupportedOptionError, match="logprobs"):
        llm.chat("Hi", ModelConfig(logprobs=3, on_unsupported="error"))


def test_switching_to_offline_needs_no_other_change() -> None:
    llm = UnifiedLLM(provider="offline", api_key="unused", base_url="https://example.com", timeout=1)
    assert NOTICE in llm.chat([Message("user", Text("Hi"))])
