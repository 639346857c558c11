"""The example: one agent script, four backends, one changed string."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from testkit.claude_double import ClaudeDouble, answer, text, tool_use
from testkit.openai_double import Call, OpenAIDouble, Say

AGENT = Path(__file__).parents[2] / "integrations" / "langchain-unified-llm" / "examples" / "agent.py"


def test_one_script_runs_on_four_backends(
    claude_double: ClaudeDouble, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main: Any = runpy.run_path(str(AGENT))["main"]
    claude_double.script([answer(tool_use("get_weather", {"city": "Paris"})), answer(text("Sunny."))])
    says = [Say(calls=[Call("get_weather", {"city": "Paris"})]), Say("Sunny.")]
    with OpenAIDouble("lmstudio").script(says) as lmstudio, OpenAIDouble().script(says) as other:
        monkeypatch.setenv("ANTHROPIC_API_KEY", claude_double.key)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", claude_double.url)
        monkeypatch.setenv("LMSTUDIO_BASE_URL", lmstudio.url)
        backends = {
            "anthropic": ("claude:claude-haiku-5-5",),
            "lmstudio": ("lmstudio:double-1",),
            "openai-compatible": ("double-1", other.url),
            "offline": ("offline",),
        }
        for vendor, arguments in backends.items():
            main(*arguments)
            said = capsys.readouterr().out
            assert "21 degrees, sunny in Paris" in said
            assert f"answered by {vendor}" in said
