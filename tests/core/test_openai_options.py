"""Options of a call in the OpenAI dialect, as each profile takes them."""

from __future__ import annotations

from typing import Any

import pytest

from testkit.openai_wire import ADD, ask, encode, said, sent
from unified_llm.errors import UnsupportedOptionError
from unified_llm.profiles import PROFILES
from unified_llm.responses import Adjustment

# -- options ---------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    for profile in PROFILES.values():
        assert sent(profile, "m") == dict(profile.defaults)


def test_every_sampling_option_has_its_field() -> None:
    options: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "seed": 7,
        "user": "u",
    }
    assert sent("llamacpp", stop_sequences=["\n"], logprobs=3, **options) == {
        **options,
        "stop": ["\n"],
        "logprobs": True,
        "top_logprobs": 3,
    }


@pytest.mark.parametrize(
    ("profile", "model", "field"),
    [
        ("openai", "gpt-4o", "max_completion_tokens"),
        ("lmstudio", "m", "max_tokens"),
        ("azure", "gpt-5", "max_completion_tokens"),
        ("azure", "Mistral-Large", "max_tokens"),
        ("deepseek", "m", "max_tokens"),
    ],
)
def test_the_output_limit_has_the_name_its_server_knows(profile: str, model: str, field: str) -> None:
    assert sent(profile, model, max_tokens=9) == {field: 9}


def test_minus_one_means_no_limit_and_is_not_sent() -> None:
    assert sent(max_tokens=-1) == {}


def test_mistral_calls_the_seed_random_seed() -> None:
    assert sent("mistral", "m", seed=3) == {"random_seed": 3}


def test_parallel_tool_calls_is_sent_with_tools_only() -> None:
    assert sent(parallel_tool_calls=False) == {}
    assert sent(parallel_tool_calls=False, tools=(ADD,))["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("profile", "model", "option", "value"),
    [
        ("openai", "gpt-4o", "top_k", 5),
        ("openai", "gpt-5.2", "temperature", 0.5),
        ("openai", "o4-mini", "stop_sequences", ["x"]),
        ("scaleway", "m", "frequency_penalty", 0.5),
        ("scaleway", "m", "user", "u"),
        ("groq", "m", "logprobs", True),
        ("deepseek", "m", "temperature", 0.5),
        ("mistral", "m", "user", "u"),
        ("xai", "grok-4.3", "presence_penalty", 0.5),
        ("perplexity", "sonar", "seed", 1),
        ("anythingllm", "m", "max_tokens", 5),
    ],
)
def test_an_unsupported_option_is_dropped_and_recorded_or_raised_by_policy(
    profile: str, model: str, option: str, value: Any
) -> None:
    before = sent(profile, model)
    assert sent(profile, model, **{option: value}) == before
    for policy in (None, "warn", "drop"):
        request = ask(model=model, on_unsupported=policy, **{option: value})
        assert said(request, profile) == [("dropped", option)]
    with pytest.raises(UnsupportedOptionError, match=option) as caught:
        encode(ask(model=model, on_unsupported="error", **{option: value}), profile)
    assert caught.value.hint


def test_sampling_is_allowed_again_when_thinking_is_off() -> None:
    assert sent("openai", "gpt-5.2", temperature=0.5, effort="none") == {"temperature": 0.5, "reasoning_effort": "none"}
    assert sent("deepseek", "m", temperature=0.5, thinking=False)["temperature"] == 0.5


def test_an_unknown_option_is_recorded_with_the_nearest_name_or_raised() -> None:
    request = ask(temprature=1)
    (adjustment,) = encode(request).adjustments
    assert adjustment == Adjustment("dropped", "temprature", "no option of that name; did you mean 'temperature'?")
    with pytest.raises(UnsupportedOptionError, match="temprature") as caught:
        encode(ask(temprature=1, on_unsupported="error"))
    assert "temperature" in (caught.value.hint or "")


def test_provider_options_and_extra_body_are_sent_as_they_are_and_win() -> None:
    body = sent(
        temperature=0.1,
        provider_options={"openai": {"service_tier": "flex"}, "claude": {"x": 1}},
        extra_body={"temperature": 0.9, "n": 2},
    )
    assert body == {"temperature": 0.9, "service_tier": "flex", "n": 2}


def test_extra_body_adds_to_an_object_that_an_option_made() -> None:
    body = sent("vllm", "m", thinking=False, extra_body={"chat_template_kwargs": {"x": 1}})
    assert body == {"chat_template_kwargs": {"enable_thinking": False, "x": 1}}


def test_extra_headers_and_timeout_travel_with_the_call() -> None:
    call = encode(ask(extra_headers={"X-Trace": "1"}, timeout=3.5))
    assert (call.headers, call.timeout, call.path) == ((("x-trace", "1"),), 3.5, "chat/completions")


def test_a_stream_asks_for_usage_where_the_server_understands_it() -> None:
    assert sent(stream=True) == {"stream": True, "stream_options": {"include_usage": True}}
    assert sent("mistral", "m", stream=True) == {"stream": True}
    assert encode(ask(stream=True)).stream


def test_anythingllm_always_gets_the_temperature_it_computes_with() -> None:
    assert sent("anythingllm", "m") == {"temperature": 0.7}
    assert sent("anythingllm", "m", temperature=0.1) == {"temperature": 0.1}


# -- thinking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "model", "thinking", "expected", "told"),
    [
        ("openai", "gpt-5.2", True, {"reasoning_effort": "medium"}, []),
        ("openai", "gpt-5.2", False, {"reasoning_effort": "none"}, []),
        ("openai", "gpt-5.2", 1000, {"reasoning_effort": "low"}, [("changed", "thinking")]),
        ("openai", "gpt-5.2", 30000, {"reasoning_effort": "high"}, [("changed", "thinking")]),
        ("openai", "gpt-4o", True, {}, [("dropped", "thinking")]),
        ("deepseek", "m", 0, {"thinking": {"type": "disabled"}}, []),
        ("ollama", "m", False, {"reasoning_effort": "none"}, []),
        ("vllm", "m", True, {"chat_template_kwargs": {"enable_thinking": True}}, []),
        ("vllm", "m", False, {"chat_template_kwargs": {"enable_thinking": False}}, []),
        ("vllm", "m", 512, {"chat_template_kwargs": {"enable_thinking": True}}, [("changed", "thinking")]),
        (
            "llamacpp",
            "m",
            512,
            {"chat_template_kwargs": {"enable_thinking": True}, "thinking_budget_tokens": 512},
            [],
        ),
        ("deepseek", "m", True, {"thinking": {"type": "enabled"}}, []),
        ("deepseek", "m", False, {"thinking": {"type": "disabled"}}, []),
        ("deepseek", "m", 512, {"thinking": {"type": "enabled"}}, [("changed", "thinking")]),
        ("fireworks", "m", 512, {"thinking": {"type": "enabled", "budget_tokens": 512}}, []),
        ("openrouter", "m", True, {"reasoning": {"enabled": True}}, []),
        ("openrouter", "m", 512, {"reasoning": {"enabled": True, "max_tokens": 512}}, []),
        ("together", "m", False, {"reasoning": {"enabled": False}}, []),
        (
            "gemini",
            "m",
            512,
            {"extra_body": {"google": {"thinking_config": {"include_thoughts": True, "thinking_budget": 512}}}},
            [],
        ),
        ("gemini", "m", False, {"reasoning_effort": "none"}, []),
        ("mistral", "m", True, {"reasoning_effort": "high"}, []),
        ("groq", "qwen/qwen3-32b", True, {"reasoning_effort": "default"}, []),
        (
            "groq",
            "qwen/qwen3-32b",
            1000,
            {"reasoning_effort": "default"},
            [("changed", "thinking"), ("changed", "effort")],
        ),
        ("groq", "m", True, {}, []),  # it thinks anyway
        ("lmstudio", "m", False, {}, [("dropped", "thinking")]),
        ("lmstudio", "m", 512, {}, [("dropped", "thinking")]),
        ("openai-compatible", "m", True, {}, [("dropped", "thinking")]),
    ],
)
def test_thinking_is_switched_in_each_servers_way(
    profile: str, model: str, thinking: Any, expected: Any, told: Any
) -> None:
    assert sent(profile, model, thinking=thinking) == expected
    assert said(ask(model=model, thinking=thinking), profile) == told


@pytest.mark.parametrize(
    ("profile", "model", "effort", "expected", "told"),
    [
        ("openai", "gpt-5.2", "xhigh", {"reasoning_effort": "xhigh"}, []),
        ("openai", "gpt-5-mini", "none", {"reasoning_effort": "minimal"}, [("changed", "effort")]),
        ("openai", "o4-mini", "max", {"reasoning_effort": "high"}, [("changed", "effort")]),
        ("openai", "gpt-4o", "low", {}, [("dropped", "effort")]),
        ("lmstudio", "m", "high", {"reasoning_effort": "high"}, []),
        ("ollama", "m", "xhigh", {"reasoning_effort": "high"}, [("changed", "effort")]),
        ("openrouter", "m", "low", {"reasoning": {"effort": "low"}}, []),
        ("deepseek", "m", "none", {"thinking": {"type": "disabled"}}, []),
        ("deepseek", "m", "medium", {"reasoning_effort": "medium"}, []),
        ("groq", "qwen/qwen3-32b", "none", {"reasoning_effort": "none"}, []),
        ("groq", "qwen/qwen3-32b", "low", {"reasoning_effort": "default"}, [("changed", "effort")]),
        ("groq", "qwen/qwen3-32b", "high", {"reasoning_effort": "default"}, [("changed", "effort")]),
        ("mistral", "m", "minimal", {"reasoning_effort": "high"}, [("changed", "effort")]),
        ("mistral", "m", "low", {"reasoning_effort": "high"}, [("changed", "effort")]),
        ("mistral", "m", "none", {"reasoning_effort": "none"}, []),
        ("xai", "grok-4.3", "minimal", {"reasoning_effort": "low"}, [("changed", "effort")]),
    ],
)
def test_effort_is_sent_or_replaced_by_the_nearest_one(
    profile: str, model: str, effort: str, expected: Any, told: Any
) -> None:
    assert sent(profile, model, effort=effort) == expected
    assert said(ask(model=model, effort=effort), profile) == told


def test_an_explicit_effort_wins_over_what_thinking_stands_for() -> None:
    assert sent("openai", "gpt-5.2", thinking=True, effort="low") == {"reasoning_effort": "low"}
    assert sent("openai", "gpt-5.2", thinking=9999, effort="low") == {"reasoning_effort": "low"}


@pytest.mark.parametrize(
    ("profile", "thinking", "effort", "expected", "told"),
    [
        ("openrouter", 2000, "high", {"reasoning": {"enabled": True, "max_tokens": 2000}}, [("dropped", "effort")]),
        ("openrouter", True, "high", {"reasoning": {"enabled": True, "effort": "high"}}, []),
        ("fireworks", 512, "low", {"thinking": {"type": "enabled", "budget_tokens": 512}}, [("dropped", "effort")]),
        ("gemini", True, "low", {"reasoning_effort": "low"}, [("dropped", "thinking")]),
    ],
)
def test_of_a_budget_and_an_effort_the_more_precise_one_is_sent(
    profile: str, thinking: bool | int, effort: str, expected: Any, told: Any
) -> None:
    assert sent(profile, "m", thinking=thinking, effort=effort) == expected
    assert said(ask(model="m", thinking=thinking, effort=effort), profile) == told


def test_gemini_gets_a_budget_without_an_effort() -> None:
    config = {"include_thoughts": True, "thinking_budget": 512}
    expected = {"extra_body": {"google": {"thinking_config": config}}}
    assert sent("gemini", "m", thinking=512, effort="high") == expected


@pytest.mark.parametrize(
    ("profile", "value", "expected", "told"),
    [
        ("openai", True, {}, []),
        ("openai", "24h", {"prompt_cache_retention": "24h"}, []),
        ("openai", "5m", {}, [("changed", "prompt_caching")]),
        ("deepseek", False, {}, [("dropped", "prompt_caching")]),
        ("llamacpp", False, {"cache_prompt": False}, []),
        ("llamacpp", "5m", {"cache_prompt": True}, [("changed", "prompt_caching")]),
        ("openai-compatible", True, {}, [("dropped", "prompt_caching")]),
    ],
)
def test_prompt_caching_is_asked_for_where_there_is_a_way(profile: str, value: Any, expected: Any, told: Any) -> None:
    assert sent(profile, prompt_caching=value) == expected
    assert said(ask(model="gpt-4o", prompt_caching=value), profile) == told
