"""`unified-llm models list`: every provider at once, partial results, and the cache that completion reads."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from testkit.cli import run_cli, scripted_provider
from testkit.wire_server import HANG, Answer, WireServer, free_port, json_reply, reply
from unified_llm.cli.concurrently import gather
from unified_llm.cli.model_cache import cached_models, remember_models
from unified_llm.providers.registry import PROVIDER_CONFIGS, register_provider


@pytest.fixture(autouse=True)
def nothing_else_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of this machine are not asked, and the cache of completion is the test's own."""
    monkeypatch.setenv("UNIFIED_LLM_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("LMSTUDIO", "LLAMACPP"):
        monkeypatch.setenv(f"{name}_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")


def models_reply(*ids: str) -> Answer:
    return json_reply({"object": "list", "data": [{"id": i, "object": "model"} for i in ids]})


def test_a_pipe_gets_tabs_and_no_heading() -> None:
    with scripted_provider(models=["m1", "m2"]):
        result = run_cli("models", "list", "-p", "scripted")
    assert result.code == 0
    assert [line.split("\t")[0] for line in result.out.splitlines()] == ["offline:m1", "offline:m2"]


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with scripted_provider(models=["m1"]):
        result = run_cli("models", "list", "-p", "scripted", terminal=True)
    assert result.out.splitlines()[0].startswith("MODEL")
    assert "offline:m1" in result.out
    assert "\t" not in result.out


def test_the_providers_that_answer_are_listed_and_the_others_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(models_reply("qwen", "nomic")) as good, WireServer(json_reply({"error": "x"}, 500)) as bad:
        monkeypatch.setenv("LLAMACPP_BASE_URL", f"{good.url}/v1")
        monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", f"{bad.url}/v1")
        result = run_cli("models", "list", "--json")
    assert result.code == 0
    refs = [m["ref"] for m in result.json["models"]]
    assert {"llamacpp:qwen", "llamacpp:nomic"} <= set(refs)
    assert result.json["errors"]["openai-compatible"]["status"] == 500
    assert result.json["errors"]["lmstudio"]["type"] == "APIConnectionError"


def test_servers_that_do_not_run_are_one_line() -> None:
    result = run_cli("models", "list")
    assert result.code == 0
    (line,) = [line for line in result.err.splitlines() if "lmstudio" in line]
    assert line.startswith("not running: ")
    assert "llamacpp" in line


def test_another_program_at_a_default_address_counts_as_not_running(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(reply(404, b"not found")) as server:
        register_provider(
            "homelab", replace(PROVIDER_CONFIGS["llamacpp"], base_url=f"{server.url}/v1", base_url_env=None)
        )
        try:
            result = run_cli("models", "list")
        finally:
            del PROVIDER_CONFIGS["homelab"]
    (line,) = [line for line in result.err.splitlines() if "homelab" in line]
    assert line.startswith("not running: ")


def test_a_provider_that_hangs_costs_its_limit_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer([HANG]) as server:
        monkeypatch.setenv("LLAMACPP_BASE_URL", f"{server.url}/v1")
        started = time.monotonic()
        result = run_cli("models", "list", "--timeout", "0.5", "--json")
    assert time.monotonic() - started < 5
    assert result.json["errors"]["llamacpp"]["type"] == "APITimeoutError"
    assert "offline" in {m["provider"] for m in result.json["models"]}


def test_all_tells_why_other_providers_cannot_be_used() -> None:
    result = run_cli("models", "list", "--all")
    assert "claude: no API key for claude" in result.err
    assert "openai-compatible: no address: OPENAI_COMPATIBLE_BASE_URL is not set" in result.err


def test_hundreds_of_models_are_shortened_for_people_only() -> None:
    with scripted_provider(models=[f"m{i}" for i in range(50)]):
        short = run_cli("models", "list", "-p", "scripted")
        full = run_cli("models", "list", "-p", "scripted", "--all")
        data = run_cli("models", "list", "-p", "scripted", "--json")
    assert len(short.out.splitlines()) == 20
    assert "scripted has 30 more: --all lists them" in short.err
    assert len(full.out.splitlines()) == len(data.json["models"]) == 50


def test_the_one_provider_asked_for_fails_with_its_own_error() -> None:
    result = run_cli("models", "list", "-p", "llamacpp")
    assert result.code == 4
    assert "provider llamacpp" in result.err
    assert run_cli("models", "list", "-p", "claude").code == 3
    assert run_cli("models", "list", "-p", "nobody").code == 3


def test_a_base_url_is_an_openai_compatible_server() -> None:
    with WireServer(models_reply("phi")) as server:
        result = run_cli("models", "list", "--base-url", f"{server.url}/v1")
    assert result.out.startswith("openai-compatible:phi")


def test_what_was_listed_is_remembered_for_completion() -> None:
    with scripted_provider(models=["m1", "m2"]):
        run_cli("models", "list", "-p", "scripted")
    assert cached_models()["scripted"] == ["m1", "m2"]


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("UNIFIED_LLM_CACHE_DIR", str(tmp_path / "file"))
    result = run_cli("models", "list", "-p", "offline", "-v")
    assert result.code == 0
    assert "was not kept" in result.err


class TestCache:
    def test_providers_are_replaced_one_by_one(self) -> None:
        remember_models({"a": ["1"], "b": ["2"]})
        remember_models({"b": ["3"]})
        assert cached_models() == {"a": ["1"], "b": ["3"]}

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": [1, null]}'])
    def test_what_is_no_cache_is_an_empty_one(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "models.json").write_text(content, encoding="utf-8")
        assert cached_models() in ({}, {"a": []})


class TestGather:
    def test_results_errors_and_latecomers_are_told_apart(self) -> None:
        forever = threading.Event()

        def fail() -> str:
            raise ValueError("no")

        found = gather({"good": lambda: "yes", "bad": fail, "slow": lambda: str(forever.wait(30))}, 0.3)
        forever.set()
        assert found["good"] == "yes"
        assert isinstance(found["bad"], ValueError)
        assert isinstance(found["slow"], TimeoutError)

    def test_it_returns_when_the_last_answer_is_there(self) -> None:
        started = time.monotonic()
        assert gather({"a": lambda: 1, "b": lambda: 2}, 30) == {"a": 1, "b": 2}
        assert time.monotonic() - started < 5

    def test_nothing_to_do_is_nothing_found(self) -> None:
        assert gather({}, 1) == {}
