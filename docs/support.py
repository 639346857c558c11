"""What each provider can do, from the profiles and the classes themselves, and the test that proves each yes.

`update.py` writes the table of docs/support.md with it; tests/core/test_support.py runs the proofs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Literal, TypeAlias

from unified_llm import PROVIDER_CONFIGS, LLMProvider
from unified_llm.profiles import PROFILES, Profile

__all__ = ["FEATURES", "Answer", "answer", "proof", "proof_list", "support_table"]

Answer: TypeAlias = Literal["yes", "no", "unknown"]

FEATURES: dict[str, str] = {
    "chat": "chat",
    "stream": "streaming",
    "tools": "tool calls",
    "forced_tool": "a named tool forced",
    "schema": "JSON Schema enforced",
    "images": "images",
    "documents": "PDF files",
    "audio": "sound",
    "thinking": "thinking read",
    "embeddings": "embeddings",
    "models": "model list",
    "count_tokens": "tokens counted",
}
"""Name of a feature (and of its test) to the head of its column."""

# Providers without a profile of their own.
_SPECIAL: dict[str, dict[str, Answer]] = {
    "claude": {"documents": "yes", "thinking": "yes", "embeddings": "no"},
    "local": {"images": "no", "thinking": "unknown", "embeddings": "yes"},
    "offline": {"images": "no", "thinking": "yes", "embeddings": "yes"},
}
# What a profile would answer yes to, and nobody could check.
_NOT_CHECKED = {("gemini", "thinking"), ("perplexity", "models"), ("perplexity", "thinking")}

_LOCAL = "tests/core/test_local_provider.py::test_"
_OFFLINE = "tests/core/test_offline_answers.py::test_"
_WEBUI = "tests/core/test_lollms_wire.py::test_"
_ELSEWHERE: dict[str, dict[str, str]] = {
    "local": {
        "chat": _LOCAL + "a_chat_with_the_default_model_has_text_usage_and_costs_nothing",
        "stream": _LOCAL + "a_stream_says_the_same_as_the_whole_answer",
        "tools": _LOCAL + "a_tool_is_called_and_its_result_answered",
        "forced_tool": _LOCAL + "a_named_tool_is_the_one_that_is_called",
        "schema": _LOCAL + "structured_output_is_enforced_by_the_engine",
        "embeddings": _LOCAL + "a_gguf_embedding_model_embeds_in_order_and_in_batches",
        "models": _LOCAL + "models_are_listed_with_what_their_headers_say",
        "count_tokens": _LOCAL + "tokens_are_counted_by_the_models_own_tokenizer",
    },
    "offline": {
        "chat": _OFFLINE + "a_chat_costs_nothing_and_reports_its_usage",
        "stream": _OFFLINE + "every_kind_of_call_gives_the_same_answer",
        "tools": _OFFLINE + "tools_are_called_by_a_simple_rule",
        "forced_tool": _OFFLINE + "tools_are_called_by_a_simple_rule",
        "schema": _OFFLINE + "a_pydantic_class_comes_back_filled",
        "thinking": _OFFLINE + "it_thinks_when_asked_to",
        "embeddings": _OFFLINE + "embeddings_have_the_dimensions_asked_for",
        "models": _OFFLINE + "the_models_are_listed",
        "count_tokens": "tests/core/test_offline_tokens.py::test_a_prompt_counts_texts_messages_media_and_tools",
    },
    "lollms-webui": {
        "chat": _WEBUI + "a_stream_of_webui_is_lines_of_json_without_an_end_mark",
        "stream": _WEBUI + "a_stream_of_webui_is_lines_of_json_without_an_end_mark",
        "embeddings": _WEBUI + "webui_embeds_one_text_after_the_other",
        "models": _WEBUI + "webui_lists_its_models_and_the_one_that_answers",
    },
    "lmstudio": {
        "count_tokens": "tests/core/test_lmstudio_sdk_models.py"
        "::test_tokens_of_a_prompt_are_counted_with_its_template_and_tools"
    },
    "llamacpp": {
        "count_tokens": "tests/core/test_llamacpp_server_extras.py"
        "::test_the_tokens_of_a_prompt_are_those_that_a_chat_is_charged_for"
    },
}


def answer(provider: str, feature: str) -> Answer:
    """Whether `provider` has `feature`, by what the code says of it."""
    if (provider, feature) in _NOT_CHECKED:
        return "unknown"
    known = _SPECIAL.get(provider, {}).get(feature)
    if known is not None:
        return known
    if feature == "count_tokens":
        return _said(_class_of(provider).count_tokens is not LLMProvider.count_tokens)
    if feature == "embeddings":
        return _profile_of(provider).embeddings
    return _said(_BY_PROFILE[feature](_profile_of(provider)))


def _said(value: bool) -> Answer:
    return "yes" if value else "no"


def _profile_of(provider: str) -> Profile:
    """The profile of its usual dialect."""
    name = PROVIDER_CONFIGS[provider].profile
    return PROFILES.get(f"{name}-native", PROFILES[name])


def _class_of(provider: str) -> type[LLMProvider]:
    factory = PROVIDER_CONFIGS[provider].factory
    if isinstance(factory, str):
        module, _, name = factory.partition(":")
        factory = getattr(importlib.import_module(module), name)
    if not isinstance(factory, type):
        raise TypeError(f"{provider} is made by {factory!r}, which is no class")
    return factory


_BY_PROFILE: dict[str, Callable[[Profile], bool]] = {
    "chat": lambda p: True,
    "stream": lambda p: True,
    "tools": lambda p: p.tools,
    "forced_tool": lambda p: p.tools and p.tool_choice != "none",
    "schema": lambda p: p.structured == "json_schema",
    "images": lambda p: p.images,
    "documents": lambda p: p.files,
    "audio": lambda p: p.audio,
    "thinking": lambda p: p.thinking != "none" or p.think_tags,
    "models": lambda p: True,
}


def proof(provider: str, feature: str) -> str:
    """Node id of the test that proves a yes."""
    found = _ELSEWHERE.get(provider, {}).get(feature)
    return found or f"tests/core/test_support.py::test_{feature}[{provider}]"


def support_table() -> str:
    """One row per provider, one column per feature."""
    head = ["| provider | " + " | ".join(FEATURES.values()) + " |", "|---" * (len(FEATURES) + 1) + "|"]
    return "\n".join([*head, *map(_row, PROVIDER_CONFIGS)])


def _row(provider: str) -> str:
    cells = (answer(provider, feature) for feature in FEATURES)
    return f"| `{provider}` | " + " | ".join("?" if c == "unknown" else c for c in cells) + " |"


def proof_list() -> str:
    """Where the proofs are that are not in tests/core/test_support.py."""
    return "\n".join(
        f"- `{provider}`, {FEATURES[feature]}: `{proof(provider, feature)}`"
        for provider, proofs in _ELSEWHERE.items()
        for feature in proofs
        if answer(provider, feature) == "yes"
    )
