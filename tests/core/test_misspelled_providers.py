"""A misspelled provider before a model is refused; a model id with a colon goes to the provider somebody chose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testkit.wire_server import WireServer, json_reply
from unified_llm import UnifiedLLM, UnknownProviderError

SAID = {"role": "assistant", "content": "ok"}
ANSWER = {"model": "m", "choices": [{"index": 0, "message": SAID}], "message": SAID, "done": True}  # OpenAI's, Ollama's


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which detection finds nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("UNIFIED_LLM_CONFIG", str(tmp_path / "none.json"))
    for name in ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "LLAMA_CACHE", "UNIFIED_LLM_MODELS"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("LMSTUDIO_BASE_URL", "http://127.0.0.1:9/v1")


def check(error: UnknownProviderError, prefix: str, nearest: str) -> None:
    assert f"unknown provider {prefix!r}" in error.message
    assert f"did you mean {nearest!r}?" in str(error.hint)
    assert "is the id of a model" in str(error.hint)


@pytest.mark.parametrize(
    ("ref", "nearest"), [("claud:foo", "claude"), ("Opnai:gpt-5", "openai"), ("olama:qwen3:4b", "ollama")]
)
async def test_it_does_not_go_to_the_offline_provider(ref: str, nearest: str) -> None:
    prefix = ref.partition(":")[0]
    calls: list[Any] = [
        lambda: UnifiedLLM(model=ref).chat("x"),
        lambda: UnifiedLLM().chat("x", model=ref),
        lambda: UnifiedLLM().stream("x", model=ref).get_response(),
        lambda: UnifiedLLM().embed("x", ref),
        lambda: UnifiedLLM(embed_model=ref).embed("x"),
    ]
    for call in calls:
        with pytest.raises(UnknownProviderError) as caught:
            call()
        check(caught.value, prefix, nearest)
    with pytest.raises(UnknownProviderError):
        await UnifiedLLM().chat_async("x", model=ref)
    with pytest.raises(UnknownProviderError):
        await UnifiedLLM().embed_async("x", ref)


def test_it_does_not_go_to_a_provider_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abc-0123456789")
    with WireServer(json_reply(ANSWER)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/v1")
        with UnifiedLLM() as llm:
            with pytest.raises(UnknownProviderError) as caught:
                llm.chat("x", model="claud:foo")
            assert "openai:claud:foo" in str(caught.value.hint)
            assert server.requests == []
            llm.chat("x", model="ft:gpt-4o-mini:acme")
        assert server.requests[0].json()["model"] == "ft:gpt-4o-mini:acme"


def test_it_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_LLM_MODEL", "claud:foo")
    with pytest.raises(UnknownProviderError) as caught:
        UnifiedLLM().chat("x")
    check(caught.value, "claud", "claude")


@pytest.mark.parametrize(
    "given",
    [{"provider": "ollama"}, {"provider": "openai-compatible"}, {}, {"provider": "auto"}],
    ids=["ollama", "compatible", "address alone", "environment"],
)
def test_a_server_that_was_chosen_gets_ids_with_colons(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    with WireServer(json_reply(ANSWER)) as server:
        if given.get("provider") == "auto":
            monkeypatch.setenv("UNIFIED_LLM_PROVIDER", "llamacpp")
            monkeypatch.setenv("LLAMACPP_BASE_URL", server.url + "/v1")
        else:
            given = given | {"base_url": server.url + "/v1"}
        with UnifiedLLM(**given) as llm:  # type: ignore[arg-type]  # texts only
            for model in ("qwen3:4b", "llama3:8b", "mixtral:8x7b"):
                llm.chat("x", model=model)
        sent = [
            r.json()["model"]
            for r in server.requests
            if r.method == "POST" and r.target.endswith(("completions", "api/chat"))
        ]
        assert sent == ["qwen3:4b", "llama3:8b", "mixtral:8x7b"]


def test_the_command_line_says_so_too() -> None:
    command = [sys.executable, "-m", "unified_llm", "chat", "-m", "claud:foo", "hi"]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "did you mean 'claude'?" in done.stderr
