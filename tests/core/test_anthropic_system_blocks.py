"""A block of the system prompt that the caller wrote in Claude's own form is sent as it is."""

from __future__ import annotations

from testkit.claude_double import ClaudeDouble
from unified_llm import Message, Native, Text, UnifiedLLM

MARKED = {"type": "text", "text": "A long manual.", "cache_control": {"type": "ephemeral"}}


def test_a_cache_breakpoint_in_the_system_prompt_is_kept(claude_double: ClaudeDouble) -> None:
    system = Message("system", [Text("Be kind."), Text("A long manual.", native=Native("anthropic", MARKED))])
    with UnifiedLLM("claude", claude_double.key, base_url=claude_double.url) as llm:
        llm.chat([system, Message("user", "Hi")], model="claude-haiku-5-5")
    assert claude_double.last["system"] == [{"type": "text", "text": "Be kind."}, MARKED]


def test_a_plain_system_prompt_is_sent_as_a_string(claude_double: ClaudeDouble) -> None:
    with UnifiedLLM("claude", claude_double.key, base_url=claude_double.url) as llm:
        llm.chat("Hi", model="claude-haiku-5-5", system="Be kind.")
    assert claude_double.last["system"] == "Be kind."
