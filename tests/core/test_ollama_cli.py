"""`unified-llm` with Ollama: downloads through it, its models in the list, a chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testkit.cli import run_cli
from testkit.ollama_double import OllamaDouble
from testkit.wire_server import free_port

LAYERS: list[dict[str, Any]] = [
    {"status": "pulling manifest"},
    {"status": "pulling aaaaaaaaaaaa", "digest": "sha256:" + "a" * 64, "total": 2_000_000, "completed": 1_000_000},
    {"status": "pulling aaaaaaaaaaaa", "digest": "sha256:" + "a" * 64, "total": 2_000_000, "completed": 2_000_000},
    {"status": "success"},
]


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaDouble]:
    with OllamaDouble() as server:
        monkeypatch.setenv("OLLAMA_BASE_URL", server.url)
        yield server


def test_a_download_shows_its_progress_and_what_to_do_next(double: OllamaDouble) -> None:
    double.pulls.append(LAYERS)
    result = run_cli("models", "pull", "ollama:qwen3:0.6b")
    assert (result.code, result.out) == (0, "ollama:qwen3:0.6b\n")
    assert "aaaaaaaaaaaa: 1.0 of 2.0 MB" in result.err
    assert 'next: unified-llm chat --model ollama:qwen3:0.6b "Hello"' in result.err
    assert run_cli("chat", "Hi", "--model", "ollama:qwen3:0.6b").out.strip() == "Echo: Hi"


def test_json_names_the_model(double: OllamaDouble) -> None:
    double.pulls.append(LAYERS)
    assert run_cli("models", "pull", "ollama:qwen3:0.6b", "--json").json == {"ref": "ollama:qwen3:0.6b", "kind": "chat"}


def test_a_model_that_is_not_in_the_registry_is_an_error(double: OllamaDouble) -> None:
    result = run_cli("models", "pull", "ollama:no-such")
    assert (result.code, result.out) == (1, "")
    assert "the registry has no such model" in result.err
    assert "ollama.com/library" in result.err


def test_without_a_server_it_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", f"http://127.0.0.1:{free_port()}")
    result = run_cli("models", "pull", "ollama:qwen3")
    assert result.code != 0
    assert "connection refused" in result.err


def test_its_models_are_listed_with_what_they_can(double: OllamaDouble) -> None:
    listed = run_cli("models", "list", "--provider", "ollama", "--json").json
    (tiny,) = [m for m in listed["models"] if m["id"] == "tiny:latest"]
    assert (tiny["loaded"], tiny["context_window"], tiny["quantization"]) == (True, 4096, "Q4_K_M")
