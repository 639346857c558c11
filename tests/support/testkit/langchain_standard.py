"""What a model has to answer for LangChain's standard tests, where an improvised answer would not do.

The tests ask for one particular thing now and then (``magic_function(3)``, a joke as JSON). A double that improvises
answers valid for the schema, but not that one; `answers_for` says what to script.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["SERDES", "Wanted", "answers_for"]

SERDES = "langchain_core.load only loads classes of its own list; test_chat_settings round-trips with an allow-list"

_JOKE = '{"setup": "Why do cats sit on keyboards?", "punchline": "To watch the mouse."}'


@dataclass(frozen=True)
class Wanted:
    """One answer: a text, or a call of `tool`."""

    text: str = ""
    tool: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


_MAGIC = Wanted(tool="magic_function", arguments={"input": 3})
_ANSWERS = {
    "test_tool_calling": [_MAGIC, _MAGIC],
    "test_tool_calling_async": [_MAGIC, _MAGIC],
    "test_json_mode": [Wanted(_JOKE)] * 4,
    "test_agent_loop": [Wanted(tool="get_weather", arguments={"location": "San Francisco"}), Wanted("It is sunny.")],
    "test_unicode_tool_call_integration": [
        Wanted(tool="unicode_customer", arguments={"customer_name": "你好啊集团", "description": "a company"}),
        Wanted(tool="unicode_customer", arguments={"customer_name": "こんにちは株式会社", "description": "a company"}),
    ],
}


def answers_for(test: str) -> list[Wanted]:
    """The answers to script for a standard test, by its name (parameters in brackets are ignored)."""
    return _ANSWERS.get(test.partition("[")[0], [])
