"""Shell completion: provider names and cached model ids, without asking anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.cli import run_cli
from unified_llm.cli.model_cache import remember_models


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_LLM_CACHE_DIR", str(tmp_path))
    remember_models({"claude": ["claude-opus-5", "claude-sonnet-5-5"], "lmstudio": ["qwen/qwen3-8b"]})


def bash_completions(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """What bash is offered for the last of `words`."""
    monkeypatch.setenv("_UNIFIED_LLM_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    result = run_cli()
    assert result.err == ""
    return result.out.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("unified-llm", "do"), ["doctor"]),
        (("unified-llm", "chat", "-p", "lm"), ["lmstudio"]),
        (("unified-llm", "chat", "--provider", "off"), ["offline"]),
        (("unified-llm", "chat", "-m", "lm"), ["lmstudio:qwen/qwen3-8b"]),
        (("unified-llm", "chat", "-m", "loc"), ["local:"]),
        (("unified-llm", "chat", "-m", "claude:claude-s"), ["claude:claude-sonnet-5-5"]),
        (("unified-llm", "chat", "-p", "claude", "-m", "claude-o"), ["claude-opus-5"]),
        (("unified-llm", "chat", "-m", "claude", ":", "claude-o"), ["claude-opus-5"]),
        (("unified-llm", "chat", "-m", "nothing-like-it"), []),
    ],
)
def test_words_are_completed(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], offered: list[str]) -> None:
    assert bash_completions(monkeypatch, *words) == offered


def test_completion_survives_a_broken_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text("{half", encoding="utf-8")
    assert "claude:" in bash_completions(monkeypatch, "unified-llm", "chat", "-m", "c")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_shown(shell: str) -> None:
    env = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "unified_llm", "--show-completion", shell],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "unified-llm" in done.stdout
    assert "_UNIFIED_LLM_COMPLETE" in done.stdout


def test_a_real_bash_completes_a_model(tmp_path: Path) -> None:
    script = tmp_path / "completion.sh"
    env = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = subprocess.run(
        [sys.executable, "-m", "unified_llm", "--show-completion", "bash"],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    script.write_text(shown.stdout, encoding="utf-8")
    # The function calls its first argument: a stand-in for the installed command, which may not be on the PATH here.
    command = tmp_path / "unified-llm"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m unified_llm "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    code = (
        f"source {script}; COMP_WORDS=(unified-llm chat -m lm); COMP_CWORD=3; "
        f'_unified_llm_completion {command}; echo "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "lmstudio:qwen/qwen3-8b"
