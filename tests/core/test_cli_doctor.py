"""`unified-llm doctor`: what it finds, what it never shows, and what it advises."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from testkit.cli import run_cli
from testkit.wire_server import HANG, RESET, WireServer, free_port, json_reply, reply
from unified_llm.cli.doctor_advice import next_steps, problems
from unified_llm.cli.doctor_report import KeyState, Report
from unified_llm.cli.extras import extras
from unified_llm.cli.probes import probe_all, server_addresses
from unified_llm.detection import Detection

OFFLINE = Detection("offline", "nothing else was found")


@pytest.fixture(autouse=True)
def an_empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model, no configuration and no server but those of the test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("UNIFIED_LLM_CONFIG", str(tmp_path / "config.json"))


def report(**found: object) -> Report:
    values = {"extras": [], "keys": [], "servers": [], "local_models": [], "auto": OFFLINE} | found
    return Report(**values)  # type: ignore[arg-type]  # the test names what matters to it


class TestCommand:
    def test_it_always_exits_with_0(self) -> None:
        result = run_cli("doctor")
        assert result.code == 0
        for title in ("Packages", "Keys", "Servers", "Models on this machine", "Next"):
            assert f"\n{title}\n" in result.out

    def test_a_key_is_shown_by_its_variable_and_never_by_its_value(self, monkeypatch: pytest.MonkeyPatch) -> None:
        key = "sk-ant-api03-" + "verysecret" * 4
        monkeypatch.setenv("ANTHROPIC_API_KEY", key)
        people, data = run_cli("doctor"), run_cli("doctor", "--json")
        assert "environment: ANTHROPIC_API_KEY" in people.out
        (claude,) = [k for k in data.json["keys"] if k["provider"] == "claude"]
        assert claude == {"provider": "claude", "set": True, "source": "environment", "variable": "ANTHROPIC_API_KEY"}
        for text in (people.out, people.err, data.out, data.err):
            assert key not in text
            assert key[-12:] not in text

    def test_json_is_one_object_with_everything(self) -> None:
        found = run_cli("doctor", "--json").json
        assert found.keys() >= {"version", "python", "auto", "extras", "keys", "servers", "local_models", "next"}
        assert {e["extra"] for e in found["extras"]} >= {"claude", "lmstudio", "local"}

    def test_a_configuration_file_that_is_no_json_is_one_problem(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{half", encoding="utf-8")
        found = run_cli("doctor", "--json")
        assert found.code == 0
        assert sum("config.json" in p for p in found.json["problems"]) == 1

    def test_strict_fails_when_a_configured_server_is_silent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
        result = run_cli("doctor", "--strict")
        assert result.code == 1
        assert "openai-compatible is configured at" in result.out

    def test_a_provider_chosen_by_mistake_is_a_problem_not_a_crash(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNIFIED_LLM_PROVIDER", "cluade")
        result = run_cli("doctor")
        assert result.code == 0
        assert "unknown provider 'cluade'" in result.out


class TestProbes:
    def test_each_server_is_told_for_what_it_is(self) -> None:
        listing = json_reply({"object": "list", "data": [{"id": "a"}, {"id": "b"}]})
        with (
            WireServer(listing) as good,
            WireServer(json_reply({"error": "no key"}, 401)) as locked,
            WireServer(reply(200, b"<html>hello</html>")) as other,
            WireServer([RESET]) as broken,
            WireServer([HANG]) as silent,
        ):
            servers = {"good": good, "locked": locked, "other": other, "broken": broken, "silent": silent}
            addresses = {name: (f"{server.url}/v1", True) for name, server in servers.items()}
            addresses |= {"absent": (f"http://127.0.0.1:{free_port()}", False), "odd": ("localhost:1", True)}
            started = time.monotonic()
            states = {s.name: s for s in probe_all(addresses, 0.5)}
            assert time.monotonic() - started < 1
        assert {name: s.state for name, s in states.items()} == {
            "good": "answers",
            "locked": "wants a key",
            "other": "not a model server",
            "broken": "nothing listens",
            "silent": "no answer in time",
            "absent": "nothing listens",
            "odd": "bad address",
        }
        assert states["good"].models == 2
        assert states["good"].latency_ms is not None
        assert 0 < states["good"].latency_ms < 500
        assert good.requests[0].target == "/v1/models"
        assert not {"authorization", "x-api-key"} & good.requests[0].headers.keys()

    def test_an_address_without_a_path_is_asked_under_v1(self) -> None:
        with WireServer(json_reply({"data": []})) as server:
            (state,) = probe_all({"x": (server.url, True)})
        assert (state.state, state.models) == ("answers", 0)
        assert server.requests[0].target == "/v1/models"

    def test_user_and_password_of_an_address_are_not_shown(self) -> None:
        (state,) = probe_all({"x": (f"http://me:hunter2secret@127.0.0.1:{free_port()}/v1?key=abc", True)})
        assert "hunter2" not in str(state.to_dict())
        assert "key=abc" not in str(state.to_dict())

    def test_local_servers_and_configured_addresses_are_asked_and_vendors_are_not(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://10.0.0.1/v1")
        addresses = server_addresses()
        assert addresses["openai"] == ("http://10.0.0.1/v1", True)
        assert addresses["lmstudio"] == ("http://127.0.0.1:1234/v1", False)
        assert any(":11434" in url for url, _ in addresses.values())
        assert "claude" not in addresses


class TestAdvice:
    def test_with_nothing_it_names_three_ways_to_a_model(self) -> None:
        steps = " ".join(next_steps(report()))
        for way in ("ANTHROPIC_API_KEY", "LM Studio", "unified-llm models pull"):
            assert way in steps
        assert problems(report()) == ["no language model was found: only the offline provider can answer"]

    def test_with_a_model_it_says_how_to_talk_to_it(self) -> None:
        found = report(auto=Detection("claude", "a key for claude"))
        assert next_steps(found) == ['unified-llm chat "Hello"']
        assert problems(found) == []

    def test_a_key_without_its_package_is_a_problem_with_a_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("unified_llm.cli.doctor_advice.installed", lambda name: name != "anthropic")
        found = report(keys=[KeyState("claude", "environment", "ANTHROPIC_API_KEY")])
        assert any("anthropic is not installed" in p for p in problems(found))
        assert next_steps(found)[0] == 'pip install "unified-llm[claude]"'

    def test_a_server_that_runs_beside_the_chosen_one_is_mentioned(self) -> None:
        with WireServer(json_reply({"data": [{"id": "llama3"}]})) as server:
            servers = probe_all({"ollama": (f"{server.url}/v1", False), "llamacpp": (f"{server.url}/v1", False)})
        steps = next_steps(report(servers=servers, auto=Detection("claude", "a key for claude")))
        assert any("--model llamacpp:" in s for s in steps)
        assert any(server.url in s or "--model ollama:" in s for s in steps)


def test_extras_come_with_their_versions() -> None:
    found = {e.name: e for e in extras()}
    assert "all" not in found
    assert found["claude"].packages.keys() == {"anthropic"}
    assert found["local"].command == 'pip install "unified-llm[local]"'


def test_a_server_that_hangs_does_not_hold_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer([HANG]) as server:
        monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", f"{server.url}/v1")
        started = time.monotonic()
        found = run_cli("doctor", "--json").json
    assert time.monotonic() - started < 4
    (state,) = [s for s in found["servers"] if s["name"] == "openai-compatible"]
    assert state["state"] == "no answer in time"
