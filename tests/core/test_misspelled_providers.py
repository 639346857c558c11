"""A misspelled provider before a model is refused; a model id with a colon goes to the provider somebody chose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testkit.wire_server import WireServer, json_reply
from unified_llm import UnifiedLLM, UnknownProviderError, compare, compare_async

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


TAGGED = (
    *(
        "qwen3:4b",
        "llama3.2:latest",
        "ft:gpt-4o:org",
        "mixtral:8x7b",
        "mixtral:mine",
        "deepseek-r1:1.5b",
        "gemma3:12b-it",
    ),
    *(
        "llama-pro:8b",
        "llama:mine",
        "mistral-nemo:12b-instruct-q4_K_M",
        "grok-2:latest",
        "gpt-oss:120b-cloud",
        "nobody:x",
    ),
    *("gemma3n:e4b", "kimi-k2:1t-cloud", "smollm:135m", "deepseek-v3:671b", "mistrallite:v0.1"),
)


def test_ids_of_models_go_to_a_chosen_server_wherever_they_are_named() -> None:
    with WireServer(json_reply(ANSWER)) as server:
        with UnifiedLLM("openai-compatible", model="m", base_url=server.url, fallbacks=TAGGED) as llm:
            for model in TAGGED:
                llm.chat("x", model=model)
            compare("x", TAGGED, llm=llm)
        sent = [request.json()["model"] for request in server.requests]
        assert sent[: len(TAGGED)] == list(TAGGED)
        assert sorted(sent[len(TAGGED) :]) == sorted(TAGGED)


TYPOS = [("cladue:claude-sonnet-5-5", "claude"), ("opnai:gpt-5-mini", "openai"), ("Mistrl:mistral-small", "mistral")]


@pytest.mark.parametrize(("ref", "nearest"), TYPOS)
async def test_a_chosen_server_does_not_get_what_was_meant_for_another(ref: str, nearest: str) -> None:
    prefix = ref.partition(":")[0]
    with WireServer(json_reply({"error": {"message": "boom"}}, 500)) as server:
        llm = UnifiedLLM("openai-compatible", model="m", base_url=server.url, max_retries=0)
        calls: list[Any] = [
            lambda: UnifiedLLM("openai-compatible", model=ref, base_url=server.url),
            lambda: UnifiedLLM("openai-compatible", model="m", base_url=server.url, fallbacks=[ref]),
            lambda: UnifiedLLM(fallbacks=[ref]),
            lambda: llm.chat("x", fallbacks=[ref]),
            lambda: llm.stream("x", fallbacks=[ref]).get_response(),
            lambda: llm.chat("x", model=ref),
            lambda: llm.embed("x", ref),
            lambda: compare("x", ["m", ref], llm=llm),
            lambda: llm.set_provider("ollama", model=ref),
        ]
        for call in calls:
            with pytest.raises(UnknownProviderError) as caught:
                call()
            check(caught.value, prefix, nearest)
        with pytest.raises(UnknownProviderError):
            await llm.chat_async("x", fallbacks=[ref])
        with pytest.raises(UnknownProviderError):
            await llm.chat_async("x", model=ref)
        with pytest.raises(UnknownProviderError):
            await compare_async("x", ["m", ref], llm=llm)
        await llm.aclose()
        assert server.requests == []


def test_an_id_like_a_misspelled_provider_goes_to_the_provider_written_before_it() -> None:
    with WireServer(json_reply(ANSWER)) as server:
        for llm in (
            UnifiedLLM("openai-compatible", model="openai-compatible:cladue:x", base_url=server.url),
            UnifiedLLM(model="openai-compatible:cladue:x", base_url=server.url),
        ):
            with llm:
                llm.chat("x")
                llm.chat("x", model="openai-compatible:cladue:x")
        assert {request.json()["model"] for request in server.requests} == {"cladue:x"}
        assert len(server.requests) == 4


def test_a_provider_chosen_by_the_environment_is_no_place_for_typos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_LLM_PROVIDER", "offline")
    with pytest.raises(UnknownProviderError, match="cladue"):
        UnifiedLLM().chat("x", model="cladue:claude-sonnet-5-5")
    assert UnifiedLLM().chat("x", model="qwen3:4b").model == "qwen3:4b"


def test_the_command_line_says_so_too() -> None:
    command = [sys.executable, "-m", "unified_llm", "chat", "-m", "claud:foo", "hi"]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "did you mean 'claude'?" in done.stderr
