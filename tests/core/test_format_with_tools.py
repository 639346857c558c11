"""Tools and a response format in one request, on servers whose grammar would leave no room for a tool call."""

from __future__ import annotations

from typing import Any

import pytest

from testkit.openai_double import OpenAIDouble
from unified_llm import UnifiedLLM

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("provider", ["llamacpp", "lmstudio", "ollama"])
def test_the_format_is_asked_for_in_the_prompt_while_tools_may_be_called(provider: str) -> None:
    options: dict[str, Any] = {"dialect": "openai"} if provider == "ollama" else {}  # it has one of its own, too
    with OpenAIDouble(provider) as double, UnifiedLLM(provider, base_url=double.url, model="m", **options) as llm:
        response = llm.chat("Where?", tools=[TOOL], response_format=SCHEMA)
        llm.chat("Where?", response_format=SCHEMA)
    both, alone = (r.body for r in double.requests if r.path == "/chat/completions")
    assert "response_format" not in both
    assert both["tools"]
    assert '"city"' in both["messages"][0]["content"]
    assert "response_format" in [a.what for a in response.adjustments]
    assert alone["response_format"]["json_schema"]["schema"] == SCHEMA


def test_a_server_that_does_both_is_asked_for_both() -> None:
    with (
        OpenAIDouble("openai", api_key="k") as double,
        UnifiedLLM("openai", "k", base_url=double.url, model="m") as llm,
    ):
        llm.chat("Where?", tools=[TOOL], response_format=SCHEMA)
    assert {"tools", "response_format"} <= set(double.requests[-1].body)
