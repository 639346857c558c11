"""Options of a call in the Anthropic dialect: sent where the model takes them, recorded where it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, Field

from testkit.claude_calls import CONTEXT, decode, decoded_fixture, encode, events, judged, request, response_of
from unified_llm import InvalidRequestError, Message, Tool, ToolCall, ToolResult, UnsupportedOptionError
from unified_llm.codecs.anthropic_messages import AnthropicMessages
from unified_llm.messages import Text
from unified_llm.responses import Adjustment, FinishReason
from unified_llm.stream import TextDelta, ToolCallStart

OLD = "claude-haiku-4-5"
MIDDLE = "claude-opus-4-6"
NEW = "claude-sonnet-5-5"
ALWAYS = "claude-opus-5-5"
FOREIGN = "tiny-chat"

WEATHER = Tool(
    "get_weather",
    "Weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
)
NOW = Tool("now")


def what(adjustments: tuple[Adjustment, ...]) -> list[tuple[str, str]]:
    return [(a.kind, a.what) for a in adjustments]


def headers_of(messages: object = "Hi", model: str = NEW, **options: Any) -> dict[str, str]:
    call = AnthropicMessages().encode(request(messages, model, **options), CONTEXT)
    judged(call)
    return dict(call.headers)


# -- sampling -----------------------------------------------------------------------------------------------------


def test_models_that_take_sampling_get_it_with_the_older_api_version() -> None:
    body, adjustments = encode(model=OLD, temperature=0.2, top_k=5)
    assert (body["temperature"], body["top_k"]) == (0.2, 5)
    assert headers_of(model=OLD, temperature=0.2)["anthropic-version"] == "2023-06-01"
    assert adjustments == ()


def test_other_requests_use_the_current_api_version() -> None:
    assert headers_of(model=OLD)["anthropic-version"] == "2026-10-21"


def test_models_that_refuse_sampling_do_not_get_it_and_say_so() -> None:
    body, adjustments = encode(temperature=0.2, top_p=0.9, top_k=5)
    assert not body.keys() & {"temperature", "top_p", "top_k"}
    assert what(adjustments) == [("dropped", "temperature"), ("dropped", "top_k"), ("dropped", "top_p")]
    assert NEW in adjustments[0].reason


def test_a_policy_of_error_refuses_instead_of_dropping() -> None:
    with pytest.raises(UnsupportedOptionError, match="temperature") as caught:
        encode(temperature=0.2, on_unsupported="error")
    assert caught.value.hint


def test_temperature_and_top_p_do_not_go_together_and_temperature_ends_at_one() -> None:
    body, adjustments = encode(model=OLD, temperature=1.7, top_p=0.9)
    assert body["temperature"] == 1.0
    assert "top_p" not in body
    assert what(adjustments) == [("changed", "temperature"), ("dropped", "top_p")]


def test_sampling_is_off_while_thinking() -> None:
    body, adjustments = encode(model=MIDDLE, temperature=0.2, top_k=3, thinking=True)
    assert not body.keys() & {"temperature", "top_k"}
    assert what(adjustments) == [("dropped", "temperature"), ("dropped", "top_k")]


def test_servers_of_other_models_get_every_sampling_option_of_the_dialect() -> None:
    call = AnthropicMessages().encode(request(model=FOREIGN, temperature=1.5, top_p=0.9, top_k=3), CONTEXT)
    assert call.body is not None
    assert b'"temperature":1.5' in call.body
    assert b'"top_p":0.9' in call.body
    assert call.adjustments == ()


def test_options_this_api_does_not_have_are_recorded_and_neutral_values_are_not() -> None:
    _, adjustments = encode(min_p=0.1, seed=7, presence_penalty=0.5, frequency_penalty=0.0, logprobs=True)
    assert what(adjustments) == [("dropped", n) for n in ("min_p", "seed", "presence_penalty", "logprobs")]


def test_unknown_options_are_recorded_or_refused_with_the_nearest_name() -> None:
    assert what(encode(temprature=1)[1]) == [("dropped", "temprature")]
    with pytest.raises(UnsupportedOptionError) as caught:
        encode(temprature=1, on_unsupported="error")
    assert caught.value.hint is not None
    assert "temperature" in caught.value.hint


def test_stop_sequences_and_user_are_sent_and_blank_stops_are_not() -> None:
    body, adjustments = encode(stop_sequences=["END", "\n\n"], user="u-1")
    assert body["stop_sequences"] == ["END"]
    assert body["metadata"] == {"user_id": "u-1"}
    assert what(adjustments) == [("dropped", "stop_sequences")]


# -- thinking and effort ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "wanted", "sent", "effort", "recorded"),
    [
        (NEW, True, {"type": "adaptive", "display": "summarized"}, None, []),
        (NEW, False, {"type": "between_tools"}, None, []),
        (NEW, 4000, {"type": "adaptive", "display": "summarized"}, "medium", [("changed", "thinking")]),
        (NEW, 40_000, {"type": "adaptive", "display": "summarized"}, "xhigh", [("changed", "thinking")]),
        (ALWAYS, False, None, "low", [("changed", "thinking")]),
        (ALWAYS, 0, None, "low", [("changed", "thinking")]),
        ("claude-opus-5", False, {"type": "disabled"}, None, []),
        (MIDDLE, True, {"type": "adaptive", "display": "summarized"}, None, []),
        (MIDDLE, 4000, {"type": "enabled", "budget_tokens": 4000}, None, []),
        (OLD, True, {"type": "enabled", "budget_tokens": 8192}, None, []),
        (OLD, 100, {"type": "enabled", "budget_tokens": 1024}, None, [("changed", "thinking")]),
        (OLD, False, {"type": "disabled"}, None, []),
        (NEW, None, None, None, []),
    ],
)
def test_thinking_is_asked_in_the_way_of_the_model(
    model: str, wanted: Any, sent: Any, effort: str | None, recorded: list[tuple[str, str]]
) -> None:
    body, adjustments = encode(model=model, thinking=wanted)
    assert body.get("thinking") == sent
    assert body.get("output_config", {}).get("effort") == effort
    assert what(adjustments) == recorded


@pytest.mark.parametrize(
    ("model", "wanted", "sent", "recorded"),
    [
        (NEW, "high", "high", False),
        (NEW, "minimal", "low", False),
        (MIDDLE, "xhigh", "high", True),
        (MIDDLE, "max", "max", False),
        ("claude-opus-4-5", "max", "high", True),
        (OLD, "high", None, True),
        (NEW, "frantic", None, True),
    ],
)
def test_effort_is_the_highest_level_the_model_has_below_the_one_asked(
    model: str, wanted: str, sent: str | None, recorded: bool
) -> None:
    body, adjustments = encode(model=model, effort=wanted)
    assert body.get("output_config", {}).get("effort") == sent
    assert bool(adjustments) is recorded


def test_effort_none_switches_thinking_off() -> None:
    assert encode(effort="none")[0]["thinking"] == {"type": "between_tools"}


def test_the_highest_efforts_do_not_go_with_thinking_off() -> None:
    body, adjustments = encode(model="claude-opus-5", thinking=False, effort="max")
    assert body["output_config"] == {"effort": "high"}
    assert what(adjustments) == [("changed", "effort")]


def test_max_tokens_has_a_default_and_makes_room_for_a_budget() -> None:
    assert encode()[0]["max_tokens"] == 16384
    assert encode(model=OLD, thinking=10_000)[0]["max_tokens"] == 26_384
    assert encode(model=OLD, thinking=60_000)[0]["max_tokens"] == 64_000
    body, adjustments = encode(model=OLD, max_tokens=100_000)
    assert body["max_tokens"] == 64_000
    assert what(adjustments) == [("changed", "max_tokens")]


def test_a_budget_stays_below_max_tokens_or_is_refused() -> None:
    body, adjustments = encode(model=OLD, thinking=8000, max_tokens=4000)
    assert body["thinking"]["budget_tokens"] == 2000
    assert what(adjustments) == [("changed", "thinking")]
    with pytest.raises(InvalidRequestError, match="no room to think") as caught:
        encode(model=OLD, thinking=True, max_tokens=500)
    assert caught.value.hint


# -- tools --------------------------------------------------------------------------------------------------------


def test_tools_are_sent_with_their_schema_and_strictness() -> None:
    strict = Tool("get_weather", "Weather.", WEATHER.parameters, strict=True)
    body, adjustments = encode(tools=[strict, NOW])
    assert body["tools"] == [
        {"name": "get_weather", "description": "Weather.", "input_schema": WEATHER.parameters, "strict": True},
        {"name": "now", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in body
    assert adjustments == ()


def test_a_strict_tool_whose_schema_cannot_be_enforced_is_sent_without_strict() -> None:
    free = {"type": "object", "properties": {"m": {"type": "object", "additionalProperties": {"type": "string"}}}}
    body, adjustments = encode(tools=[Tool("f", "", free, strict=True)])
    assert "strict" not in body["tools"][0]
    assert what(adjustments) == [("dropped", "tools[f].strict")]
    assert "free keys" in adjustments[0].reason


def test_tools_of_the_provider_are_passed_through() -> None:
    search = {"type": "web_search_20260318", "name": "web_search", "max_uses": 3}
    assert encode(tools=[search, WEATHER])[0]["tools"][0] == search


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ("any", {"type": "any"}),
        ("now", {"type": "tool", "name": "now"}),
        ({"type": "function", "function": {"name": "now"}}, {"type": "tool", "name": "now"}),
    ],
)
def test_tool_choice_in_every_form(choice: Any, sent: dict[str, Any]) -> None:
    body, adjustments = encode(model="claude-opus-5", tools=[WEATHER, NOW], tool_choice=choice)
    assert body["tool_choice"] == sent
    assert adjustments == ()


def test_a_forced_choice_is_asked_in_words_where_the_model_refuses_it() -> None:
    body, adjustments = encode(tools=[WEATHER, NOW], tool_choice="now")
    assert body["tool_choice"] == {"type": "auto"}
    assert body["messages"][-1]["role"] == "system"
    assert "`now`" in body["messages"][-1]["content"]
    assert what(adjustments) == [("changed", "tool_choice")]


def test_a_forced_choice_in_words_joins_a_system_message_that_is_there() -> None:
    talk = [Message("user", "x"), Message("assistant", "y"), Message("user", "z"), Message("system", "In French.")]
    body, _ = encode(talk, tools=[WEATHER], tool_choice="required")
    assert body["messages"][-1]["content"][0]["text"] == "In French."
    assert "one of the tools" in body["messages"][-1]["content"][1]["text"]


def test_a_forced_choice_that_can_be_asked_nowhere_is_told_as_dropped() -> None:
    paused = decoded_fixture("pause_turn").message
    body, adjustments = encode([Message("user", "x"), paused], tools=[WEATHER], tool_choice="required")
    assert (body["tool_choice"], body["messages"][-1]["role"]) == ({"type": "auto"}, "assistant")
    assert what(adjustments) == [("dropped", "tool_choice")]


def test_parallel_calls_can_be_forbidden() -> None:
    body, _ = encode(tools=[WEATHER], parallel_tool_calls=False)
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    body, _ = encode(tools=[WEATHER], parallel_tool_calls=False, tool_choice="none")
    assert body["tool_choice"] == {"type": "none"}


def test_a_budget_gives_way_to_a_forced_tool() -> None:
    body, adjustments = encode(model=OLD, tools=[WEATHER], tool_choice="required", thinking=2048)
    assert "thinking" not in body
    assert what(adjustments) == [("changed", "thinking")]


def test_a_tool_name_that_is_not_accepted_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"server\.tool") as caught:
        encode(tools=[Tool("server.tool")])
    assert caught.value.hint


# -- structured output --------------------------------------------------------------------------------------------


class Flight(BaseModel):
    """A flight."""

    number: str
    price: float = Field(ge=0, description="In euros.")
    tags: list[str] = []


def test_a_pydantic_class_becomes_a_closed_schema_and_says_what_is_not_enforced() -> None:
    body, adjustments = encode(response_format=Flight)
    schema = body["output_config"]["format"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["number", "price"]
    assert schema["properties"]["price"]["description"] == "In euros.\n\n{minimum: 0}"
    assert what(adjustments) == [("changed", "response_format")]
    assert "/price: minimum" in adjustments[0].reason


def test_effort_and_format_share_output_config() -> None:
    body, _ = encode(response_format=WEATHER.parameters, effort="low")
    assert body["output_config"].keys() == {"effort", "format"}


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        ("json", "no JSON mode"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "free keys"),
        ({"type": "object", "properties": {"any": {}}}, "any value"),
    ],
)
def test_what_cannot_be_enforced_is_asked_in_the_system_prompt(wanted: Any, word: str) -> None:
    body, adjustments = encode([Message("system", "Be kind."), Message("user", "x")], response_format=wanted)
    assert "output_config" not in body
    assert body["system"][0]["text"] == "Be kind."
    assert "JSON" in body["system"][1]["text"]
    assert what(adjustments) == [("changed", "response_format")]
    assert word in adjustments[0].reason


def test_servers_without_structured_output_get_a_forced_tool_whose_call_is_the_answer() -> None:
    asked = request(model=FOREIGN, response_format=WEATHER.parameters)
    call = AnthropicMessages().encode(asked, CONTEXT)
    body = judged(call)
    assert body["tool_choice"] == {"type": "tool", "name": "give_answer"}
    assert body["tools"][0]["input_schema"] == WEATHER.parameters
    assert what(call.adjustments) == [("changed", "response_format")]
    block = {"type": "tool_use", "id": "t1", "name": "give_answer", "input": {"city": "Paris"}}
    response = decode({"content": [block], "stop_reason": "tool_use", "model": "m"}, asked)
    assert response == '{"city":"Paris"}'
    assert response.parsed == {"city": "Paris"}
    assert response.tool_calls == ()
    assert response.finish_reason is FinishReason.STOP
    assert response.message.parts == (Text('{"city":"Paris"}'),)


def test_the_streamed_call_of_that_tool_is_streamed_text() -> None:
    asked = request(model=FOREIGN, response_format=WEATHER.parameters, stream=True)
    block = {"type": "tool_use", "id": "t1", "name": "give_answer"}
    messages = [
        {"type": "message_start", "message": {"model": "m"}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": p}}
            for p in ('{"city"', ': "Paris"}')
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ]
    found = events([b"".join(b"data: " + json.dumps(m).encode() + b"\n\n" for m in messages)], asked)
    assert [e.text for e in found if isinstance(e, TextDelta)] == ['{"city"', ': "Paris"}']
    assert not any(isinstance(e, ToolCallStart) for e in found)
    assert response_of(found) == '{"city": "Paris"}'


def test_with_other_tools_the_format_is_asked_in_words_there() -> None:
    body, _ = encode(model=FOREIGN, tools=[NOW], response_format=WEATHER.parameters)
    assert [t["name"] for t in body["tools"]] == ["now"]
    assert "JSON Schema" in body["system"]


# -- caching, extras ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        (True, {"type": "ephemeral"}),
        ("1h", {"type": "ephemeral", "ttl": "1h"}),
        ("5m", {"type": "ephemeral", "ttl": "5m"}),
        (False, None),
        (None, None),
    ],
)
def test_prompt_caching_is_a_moving_breakpoint(wanted: Any, sent: Any) -> None:
    assert encode(prompt_caching=wanted)[0].get("cache_control") == sent


def test_a_cache_lifetime_nobody_offers_is_recorded() -> None:
    body, adjustments = encode(prompt_caching="2d")
    assert body["cache_control"] == {"type": "ephemeral"}
    assert what(adjustments) == [("changed", "prompt_caching")]


def test_provider_options_and_extra_body_are_merged_over_ours() -> None:
    body, _ = encode(
        effort="low",
        provider_options={
            "anthropic": {"service_tier": "auto", "output_config": {"effort": "high"}},
            "claude": {"service_tier": "standard_only"},
            "openai": {"store": True},
        },
        extra_body={"inference_geo": "eu"},
    )
    assert body["service_tier"] == "standard_only"
    assert body["output_config"] == {"effort": "high"}
    assert body["inference_geo"] == "eu"
    assert "store" not in body


def test_betas_and_version_travel_as_headers() -> None:
    headers = headers_of(
        provider_options={"claude": {"betas": ["a-1", "b-2"], "anthropic_version": "2023-06-01"}},
        extra_headers={"Anthropic-Beta": "c-3", "X-Trace": "7"},
    )
    assert headers["anthropic-beta"] == "c-3,a-1,b-2"
    assert headers["anthropic-version"] == "2023-06-01"
    assert headers["x-trace"] == "7"


def test_sampling_given_as_extra_body_also_selects_the_older_version() -> None:
    assert headers_of(model=OLD, extra_body={"temperature": 0.1})["anthropic-version"] == "2023-06-01"


def test_timeout_and_stream_are_on_the_call() -> None:
    call = AnthropicMessages().encode(request(stream=True, timeout=7.5), CONTEXT)
    assert (call.path, call.method, call.stream, call.timeout) == ("v1/messages", "POST", True, 7.5)
    assert judged(call)["stream"] is True


def test_counting_sends_what_is_counted_and_nothing_else() -> None:
    talk = [
        Message("system", "s"),
        Message("user", "x"),
        Message("assistant", ToolCall("now", {}, "t1")),
        Message("tool", ToolResult("t1", "noon")),
    ]
    asked = request(talk, tools=[NOW], max_tokens=5, stop_sequences="END", stream=True, thinking=True, user="u")
    call = AnthropicMessages().encode_count(asked, CONTEXT)
    assert call.path == "v1/messages/count_tokens"
    assert call.body is not None
    assert json.loads(call.body).keys() == {"model", "system", "messages", "tools", "thinking"}
    assert not call.stream
