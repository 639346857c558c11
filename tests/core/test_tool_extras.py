"""Fields that only one provider has for its tools: they reach that provider, and are recorded elsewhere."""

from __future__ import annotations

from testkit.claude_double import ClaudeDouble
from testkit.openai_double import OpenAIDouble
from unified_llm import Tool, UnifiedLLM
from unified_llm.tools import normalize_tool

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
ANTHROPIC = {
    "name": "weather",
    "description": "Tells it.",
    "input_schema": SCHEMA,
    "cache_control": {"type": "ephemeral"},
}


def test_fields_beside_an_anthropic_definition_are_kept_and_survive_the_openai_shape() -> None:
    tool = normalize_tool(ANTHROPIC)
    assert tool.extras == {"cache_control": {"type": "ephemeral"}}
    assert normalize_tool(tool.to_dict()).extras == tool.extras


def test_a_tool_without_such_fields_has_none_and_its_dictionary_is_the_plain_openai_shape() -> None:
    tool = Tool("weather", "Tells it.", SCHEMA)
    assert tool.extras is None
    assert set(tool.to_dict()) == {"type", "function"}
    assert normalize_tool(tool.to_dict()).extras is None


def test_claude_gets_the_fields_in_the_tool_itself(claude_double: ClaudeDouble) -> None:
    with UnifiedLLM("claude", claude_double.key, base_url=claude_double.url) as llm:
        llm.chat("Rain?", model="claude-haiku-5-5", tools=[ANTHROPIC])
    assert claude_double.last["tools"] == [ANTHROPIC]


def test_a_server_of_the_openai_dialect_does_not_get_them_and_the_response_says_so() -> None:
    with OpenAIDouble() as double, UnifiedLLM("openai-compatible", base_url=double.url, model="m") as llm:
        response = llm.chat("Rain?", tools=[ANTHROPIC])
    assert "cache_control" not in str(double.requests[-1].body)
    assert [a.what for a in response.adjustments] == ["tools[weather]"]
