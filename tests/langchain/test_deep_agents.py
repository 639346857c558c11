"""Smoke test of `deepagents`: files, a tool and a subagent, over strict doubles. Skipped where it is not installed."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_unified_llm import ChatUnifiedLLM
from testkit.claude_double import ClaudeDouble, answer, text, tool_use
from testkit.openai_double import Call, OpenAIDouble, Say

deepagents = pytest.importorskip("deepagents")

QUESTION: Any = {"messages": [("user", "How is Paris?")]}
STEPS: list[tuple[str, dict[str, Any]]] = [
    ("write_file", {"file_path": "/notes.md", "content": "Look at Paris."}),
    ("weather", {"city": "Paris"}),
    ("task", {"description": "Check that.", "subagent_type": "general-purpose"}),
]


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It is sunny in {city}."


def check(result: dict[str, Any]) -> None:
    said = [message.text for message in result["messages"] if message.type == "tool"]
    assert said[1:] == ["It is sunny in Paris.", "Checked."]
    assert list(result["files"]) == ["/notes.md"]
    assert result["messages"][-1].text == "Sunny."


async def test_a_deep_agent_writes_a_file_asks_a_subagent_and_answers_sync_and_async(
    claude_double: ClaudeDouble,
) -> None:
    replies = [*(answer(tool_use(name, arguments)) for name, arguments in STEPS), answer(text("Checked."))]
    claude_double.script([*replies, answer(text("Sunny."))] * 2)
    llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=claude_double.key, base_url=claude_double.url)
    agent = deepagents.create_deep_agent(llm, [weather])
    check(agent.invoke(QUESTION))
    check(await agent.ainvoke(QUESTION))
    await llm.aclose()


def test_a_deep_agent_runs_on_a_local_server_by_one_changed_string() -> None:
    says = [*(Say(calls=[Call(name, arguments)]) for name, arguments in STEPS), Say("Checked."), Say("Sunny.")]
    with OpenAIDouble("lmstudio").script(*says) as double:
        llm = ChatUnifiedLLM(model="lmstudio:double-1", base_url=double.url)
        check(deepagents.create_deep_agent(llm, [weather]).invoke(QUESTION))
