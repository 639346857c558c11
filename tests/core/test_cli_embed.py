"""`unified-llm embed`."""

from __future__ import annotations

import pytest

from testkit.cli import run_cli, scripted_provider
from unified_llm.providers.base import LLMProvider
from unified_llm.providers.registry import PROVIDER_CONFIGS, register_provider
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse


def test_people_get_a_summary() -> None:
    result = run_cli("embed", "first text", "second text", "-p", "offline")
    assert result.code == 0
    heading, *rows = result.out.splitlines()
    assert heading.startswith("2 texts, ")
    assert "dimensions" in heading
    assert rows[0].startswith("  first text: [")
    assert len(rows) == 2
    assert len(result.out) < 400


def test_json_holds_every_number() -> None:
    result = run_cli("embed", "a", "b", "-m", "offline:", "--dimensions", "16", "--json")
    assert result.json["dimensions"] == 16
    assert [len(v) for v in result.json["embeddings"]] == [16, 16]
    assert result.json["provider"] == "offline"
    assert result.out.count("\n") == 1


def test_each_line_of_stdin_is_a_text_and_blank_ones_are_noted() -> None:
    result = run_cli("embed", "-p", "offline", "--json", input="one\n\ntwo\n")
    assert len(result.json["embeddings"]) == 2
    assert "1 blank line" in result.err


def test_equal_texts_have_equal_vectors() -> None:
    first, second = run_cli("embed", "same", "same", "-p", "offline", "--json").json["embeddings"]
    assert first == second


def test_many_texts_are_summarised() -> None:
    result = run_cli("embed", *[f"text {i}" for i in range(30)], "-p", "offline")
    assert "and 20 more" in result.out


def test_the_model_goes_to_the_provider() -> None:
    with scripted_provider() as provider:
        result = run_cli("embed", "a", "-m", "scripted:vectors", "--json")
    assert result.json["model"] == "vectors"
    assert provider.requests[0].body["model"] == "vectors"


@pytest.mark.parametrize("argv", [(), ("",)])
def test_no_text_is_wrong_usage(argv: tuple[str, ...]) -> None:
    result = run_cli("embed", *argv, "-p", "offline")
    assert result.code == 2
    assert result.err.startswith("error: ")


class _Mute(LLMProvider):
    name = "mute"

    def __init__(self, **_: object) -> None: ...

    def chat(self, request: ChatRequest) -> ChatResponse:
        return ChatResponse("ok")


def test_a_provider_without_embeddings_says_what_to_use_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    register_provider("mute", _Mute)
    try:
        result = run_cli("embed", "a", "-p", "mute")
    finally:
        del PROVIDER_CONFIGS["mute"]
    assert result.code == 2
    assert "no embeddings" in result.err
    assert "--model local:" in result.err
