"""Profiles are data: complete, consistent, and applied to models by rules."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from unified_llm.profiles import EFFORTS, PROFILES, ModelRule, Profile, profile_named
from unified_llm.providers.registry import PROVIDER_CONFIGS
from unified_llm.requests import ModelConfig

WANTED = [
    "openai", "openai-compatible", "llamacpp", "lmstudio", "ollama", "vllm", "sglang", "groq", "mistral", "deepseek",
    "gemini", "openrouter", "xai", "together", "fireworks", "perplexity", "azure", "scaleway", "open-webui",
    "anythingllm", "lollms", "lollms-webui",
]  # fmt: skip


@pytest.mark.parametrize("name", WANTED)
def test_there_is_a_row_for_every_server_we_know(name: str) -> None:
    assert PROFILES[name].name == name
    assert PROVIDER_CONFIGS[name].profile == name


def test_every_provider_has_a_profile_that_exists() -> None:
    assert {row.profile for row in PROVIDER_CONFIGS.values()} <= set(PROFILES)


def test_a_server_without_a_row_is_treated_as_any_compatible_one() -> None:
    assert profile_named("brand-new") is PROFILES["openai-compatible"]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_rows_name_options_that_exist(profile: Profile) -> None:
    options = set(ModelConfig.option_names())
    named = profile.unsupported | profile.unsupported_while_thinking
    for rule in profile.models:
        named |= rule.unsupported | rule.unsupported_while_thinking
        assert set(rule.changes) <= {f.name for f in fields(Profile)}
        re.compile(rule.pattern)
    assert named <= options


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_rows_do_not_contradict_themselves(profile: Profile) -> None:
    assert profile.efforts
    assert set(profile.efforts) <= {*EFFORTS, "default"}
    assert profile.thinking_on is None or profile.thinking_on in profile.efforts
    assert profile.embedding_batch > 0
    assert not (profile.reasoning_required and profile.reasoning_back != "field")
    assert not (profile.structured == "json_object" and not profile.json_object)
    assert not profile.base_path.startswith("/")


def test_rules_are_applied_in_order_to_the_models_they_name() -> None:
    profile = Profile(
        "p",
        unsupported=frozenset({"top_k"}),
        models=(
            ModelRule("^big", unsupported=frozenset({"seed"}), changes={"max_tokens_field": "a"}),
            ModelRule("big-2", unsupported_while_thinking=frozenset({"top_p"}), changes={"max_tokens_field": "b"}),
        ),
    )
    assert profile.for_model("small").unsupported == {"top_k"}
    first, second = profile.for_model("BIG-1"), profile.for_model("big-2")
    assert first.unsupported == {"top_k", "seed"}
    assert second.unsupported_while_thinking == {"top_p"}
    assert (first.max_tokens_field, second.max_tokens_field) == ("a", "b")
    assert profile.for_model("big-2") is second


def test_a_learned_rule_wins_over_the_others() -> None:
    profile = PROFILES["openai"].with_rule(ModelRule("^gpt-5$", changes={"system_role": "system"}))
    assert profile.for_model("gpt-5").system_role == "system"
    assert PROFILES["openai"].for_model("gpt-5").system_role == "developer"


@pytest.mark.parametrize(
    ("model", "thinking_only", "always"),
    [
        ("gpt-5.2", True, False),
        ("gpt-5-mini-2025-08-07", True, False),
        ("gpt-6", True, False),
        ("openai/gpt-5", True, False),
        ("gpt-5-chat-latest", False, False),
        ("gpt-4o", False, False),
        ("o3-mini", False, True),
        ("o4-mini-2025-04-16", False, True),
        ("foo1", False, False),
        ("gpt-4o-mini", False, False),
    ],
)
def test_openai_models_that_refuse_sampling_are_recognised(model: str, thinking_only: bool, always: bool) -> None:
    profile = PROFILES["openai"].for_model(model)
    assert ("temperature" in profile.unsupported_while_thinking) is thinking_only
    assert ("temperature" in profile.unsupported) is always
