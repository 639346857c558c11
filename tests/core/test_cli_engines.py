"""The command line against what it is for: a real llama.cpp server, and the strict double of the Claude API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testkit.claude_double import ClaudeDouble, answer, failure, tool_use
from testkit.cli import run_cli
from testkit.llama import LlamaServer


class TestLlamaCpp:
    @pytest.fixture(autouse=True)
    def configured(self, llama_server: LlamaServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("LLAMACPP_BASE_URL", llama_server.v1_url)
        monkeypatch.setenv("UNIFIED_LLM_CACHE_DIR", str(tmp_path))

    def test_a_prompt_is_answered(self, llama_server: LlamaServer) -> None:
        result = run_cli("chat", "What is rain?", "-p", "llamacpp", "--max-tokens", "12", "--temperature", "0", "-v")
        assert result.code == 0
        assert result.out.strip()
        assert "llamacpp:" in result.err

    def test_the_stream_and_the_whole_answer_agree(self) -> None:
        options = ("chat", "What is rain?", "-p", "llamacpp", "--max-tokens", "12", "--temperature", "0", "--json")
        events = run_cli(*options, "--stream").events
        whole = run_cli(*options).json
        assert events[-1]["response"]["text"] == whole["text"]
        assert whole["usage"]["output_tokens"] > 0

    def test_a_schema_is_obeyed(self) -> None:
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
        result = run_cli("chat", "Is it?", "-p", "llamacpp", "--max-tokens", "40", "--schema", json.dumps(schema))
        assert result.code == 0
        assert json.loads(result.out)["ok"] in (True, False)

    def test_its_model_is_listed(self, llama_server: LlamaServer) -> None:
        result = run_cli("models", "list", "-p", "llamacpp")
        assert result.out.split("\t")[0] == f"llamacpp:{llama_server.model}"

    def test_doctor_sees_it_and_says_how_to_use_it(self, llama_server: LlamaServer) -> None:
        found = run_cli("doctor", "--json").json
        (state,) = [s for s in found["servers"] if s["name"] == "llamacpp"]
        assert state["state"] == "answers"
        assert state["models"] == 1
        assert any("llamacpp" in step for step in found["next"])

    def test_texts_are_embedded(self, llama_embedding_server: LlamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LLAMACPP_BASE_URL", llama_embedding_server.v1_url)
        result = run_cli("embed", "a", "b", "-p", "llamacpp", "-m", llama_embedding_server.model, "--json")
        assert result.code == 0
        assert [len(v) for v in result.json["embeddings"]] == [64, 64]


class TestClaude:
    @pytest.fixture(autouse=True)
    def configured(self, claude_double: ClaudeDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", claude_double.key)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", claude_double.url)

    def test_a_key_is_enough(self, claude_double: ClaudeDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LMSTUDIO_BASE_URL", "http://127.0.0.1:9/v1")
        claude_double.script([answer("Hello")])
        result = run_cli("chat", "Hi")
        assert (result.code, result.out) == (0, "Hello\n")
        assert result.err == "using claude: a key for claude\n"

    def test_tools_run_in_a_loop(self, claude_double: ClaudeDouble, tmp_path: Path) -> None:
        tools = tmp_path / "clock.py"
        tools.write_text('def now(zone: str) -> str:\n    """Time."""\n    return "noon"\n', encoding="utf-8")
        claude_double.script([answer(tool_use("now", {"zone": "UTC"})), answer("It is noon.")])
        result = run_cli("chat", "What time is it?", "-m", "claude:", "--tools", str(tools))
        assert (result.code, result.out) == (0, "It is noon.\n")
        sent = claude_double.requests[-1].body
        assert [m["role"] for m in sent["messages"]] == ["user", "assistant", "user"]
        assert sent["messages"][-1]["content"][0]["type"] == "tool_result"

    def test_an_overload_is_exit_code_4(self, claude_double: ClaudeDouble) -> None:
        claude_double.script([failure(529)])
        result = run_cli("chat", "Hi", "-p", "claude", "--retries", "0")
        assert result.code == 4
        assert "HTTP 529" in result.err

    def test_a_wrong_key_is_named_and_not_shown(
        self, claude_double: ClaudeDouble, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-wrongwrongwrongwrong1234")
        result = run_cli("chat", "Hi", "-p", "claude")
        claude_double.violations.clear()  # the wrong key is the point
        assert result.code == 1
        assert "HTTP 401" in result.err
        assert "wrongwrong" not in result.err
