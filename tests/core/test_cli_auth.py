"""`unified-llm auth`: keys are kept, listed, removed and tried, and never shown."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backends.null
import keyring.errors
import pytest
from keyring.backend import KeyringBackend

from testkit.cli import CliResult, Terminal, run_cli
from testkit.wire_server import WireServer, free_port, json_reply
from unified_llm.cli.exits import ExitCode

KEY = "sk-planted-0123456789abcdef"


class MemoryKeyring(KeyringBackend):
    """A keyring that lives as long as the test."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # keyring is half typed
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture(autouse=True)
def memory_keyring() -> Iterator[MemoryKeyring]:
    before, backend = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.json"
    monkeypatch.setenv("UNIFIED_LLM_CONFIG", str(path))
    return path


def auth(*argv: str, input: str = "") -> CliResult:
    result = run_cli("auth", *argv, input=input)
    assert KEY not in result.out + result.err
    return result


def test_a_key_from_a_pipe_is_kept_for_this_user_alone(config: Path) -> None:
    result = auth("set", "claude", "--stdin", "--base-url", "http://127.0.0.1:9", input=f"{KEY}\n")
    assert result.code == 0
    assert str(config) in result.err
    assert json.loads(config.read_text()) == {"claude": {"api_key": KEY, "base_url": "http://127.0.0.1:9"}}
    if os.name == "posix":
        assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_a_key_can_go_to_the_keyring(memory_keyring: MemoryKeyring, config: Path) -> None:
    assert auth("set", "openai", "--stdin", "--source", "keyring", input=KEY).code == 0
    assert json.loads(memory_keyring.kept["unified_llm", "openai"]) == {"api_key": KEY}
    assert not config.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals are POSIX")
def test_at_a_terminal_the_key_is_asked_for_and_not_shown(config: Path) -> None:
    with Terminal("auth", "set", "claude", env={"UNIFIED_LLM_CONFIG": str(config)}) as terminal:
        shown = terminal.wait_for("(it is not shown): ")
        terminal.type(f"{KEY}\n")
        assert terminal.wait_end() == 0
        assert KEY not in shown + terminal.seen
    assert json.loads(config.read_text())["claude"]["api_key"] == KEY


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals are POSIX")
def test_ctrl_d_at_the_question_is_no_key(config: Path) -> None:
    with Terminal("auth", "set", "claude", env={"UNIFIED_LLM_CONFIG": str(config)}) as terminal:
        terminal.wait_for("(it is not shown): ")
        terminal.type("\x04")
        shown = terminal.wait_for("no key was given")
        assert terminal.wait_end() == ExitCode.USAGE
        assert "defect" not in shown + terminal.seen
    assert not config.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("set", "openai", "KEY"),
        ("test", "openai", "KEY"),
        ("remove", "openai", "KEY"),
        ("set", "--source", "KEY", "openai"),
        ("KEY",),
    ],
)
@pytest.mark.parametrize("key", [KEY, "PLANTEDwithoutaform"])
def test_a_key_on_the_command_line_is_not_repeated(words: tuple[str, ...], key: str, config: Path) -> None:
    argv = [key if word == "KEY" else word for word in words]
    for result in (auth(*argv), auth(*argv, "--json")):
        assert result.code == ExitCode.USAGE
        assert key not in result.out + result.err
        assert "--stdin" in result.err
    assert not config.exists()


@pytest.mark.parametrize("command", ["set", "test", "remove"])
def test_a_key_in_the_place_of_the_provider_is_not_repeated(command: str) -> None:
    key = "PLANTEDwithoutaform0123456789abcd"
    result = auth(command, key, "--json")
    assert result.code == ExitCode.CONFIGURATION
    assert key not in result.out + result.err
    assert "auth set PROVIDER" in result.err


def test_a_misspelled_word_is_repeated() -> None:
    result = auth("sett", "openai")
    assert "'sett'" in result.err
    assert "--help" in result.err


@pytest.mark.parametrize("address", ["http://user:pw-12345@127.0.0.1:9/v1", "127.0.0.1:9", "http://h/v1/models"])
def test_an_address_that_no_call_could_use_is_refused_at_once(address: str, config: Path) -> None:
    result = auth("set", "openai", "--stdin", "--base-url", address, input=KEY)
    assert result.code == ExitCode.CONFIGURATION
    assert "base_url" in result.err
    assert "pw-12345" not in result.err
    assert not config.exists()


def test_a_keyring_that_is_switched_off_is_told(config: Path) -> None:
    keyring.set_keyring(keyring.backends.null.Keyring())  # type: ignore[no-untyped-call]  # keyring is half typed
    result = auth("set", "claude", "--stdin", "--source", "keyring", input=KEY)
    assert result.code == ExitCode.CONFIGURATION
    assert "does not keep it" in result.err


def test_without_a_terminal_nobody_is_asked() -> None:
    result = auth("set", "claude", input=KEY)
    assert result.code == ExitCode.USAGE
    assert "--stdin" in result.err


@pytest.mark.parametrize("key", ["", "  \n", "two\nlines", "schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_and_nothing_is_written(key: str, config: Path) -> None:
    assert auth("set", "claude", "--stdin", input=key).code == ExitCode.CONFIGURATION
    assert not config.exists()


def test_a_new_key_replaces_the_old_one_in_every_form_of_the_file(config: Path) -> None:
    for content in (
        {"anthropic_api_key": "sk-old-aaaaaaaaaaaa"},
        {"anthropic": {"api_key": "sk-old-aaaaaaaaaaaa"}},
        {"providers": {"claude": {"api_key": "sk-old-aaaaaaaaaaaa"}}},
    ):
        config.write_text(json.dumps(content))
        config.chmod(0o600)
        assert auth("set", "anthropic", "--stdin", input=KEY).code == 0
        from unified_llm.credentials import CredentialManager

        key = CredentialManager().get_api_key("claude")
        assert key is not None
        assert key.get_secret_value() == KEY
        assert auth("remove", "claude").code == 0
        assert CredentialManager().get_api_key("claude") is None


def test_a_key_that_another_source_hides_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-other-0123456789")
    assert "ANTHROPIC_API_KEY" in auth("set", "claude", "--stdin", input=KEY).err
    assert "ANTHROPIC_API_KEY" in auth("remove", "claude").err


def test_the_list_names_provider_and_source(monkeypatch: pytest.MonkeyPatch) -> None:
    auth("set", "claude", "--stdin", input=KEY)
    auth("set", "groq", "--stdin", "--source", "keyring", input=KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    expected = [("claude", "configuration file"), ("openai", "environment"), ("groq", "keyring")]
    assert auth("list").out == "".join(f"{name}\t{source}\n" for name, source in expected)
    listed = auth("list", "--json").json["credentials"]
    assert listed == [{"provider": name, "source": source} for name, source in expected]


def test_an_empty_list_says_how_to_fill_it() -> None:
    result = auth("list")
    assert (result.code, result.out) == (0, "")
    assert "auth set" in result.err


def test_removing_tells_what_was_there() -> None:
    auth("set", "claude", "--stdin", input=KEY)
    auth("set", "claude", "--stdin", "--source", "keyring", input=KEY)
    assert auth("remove", "claude", "--source", "config", "--json").json == {
        "provider": "claude",
        "removed": True,
        "left": "keyring",
    }
    assert auth("remove", "claude").err == "forgot claude\n"
    assert auth("remove", "claude").err == "nothing was kept for claude\n"


@pytest.mark.parametrize("command", ["set", "remove", "test"])
def test_an_unknown_provider_is_named(command: str) -> None:
    result = auth(command, "clade")
    assert result.code == ExitCode.CONFIGURATION
    assert "did you mean 'claude'" in result.err


def test_a_provider_without_keys_is_refused() -> None:
    assert auth("set", "offline", "--stdin", input=KEY).code == ExitCode.USAGE


def test_a_broken_file_is_reported_and_kept(config: Path) -> None:
    config.write_text(f'{{"claude": {{"api_key": "{KEY}"')
    for command in (("set", "claude", "--stdin"), ("list",), ("remove", "claude")):
        result = auth(*command, input=KEY)
        assert result.code == ExitCode.CONFIGURATION
        assert "line 1" in result.err
    assert config.read_text() == f'{{"claude": {{"api_key": "{KEY}"'


def test_a_good_key_is_tried_with_a_list_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(json_reply({"object": "list", "data": [{"id": "m1"}, {"id": "m2"}]})) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        result = auth("test", "openai")
        assert result.code == 0
        assert "2 models" in result.out
        assert "OPENAI_API_KEY" in result.out
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert auth("test", "openai", "--json").json["source"] == "environment"


def test_a_model_can_be_asked_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    message = {"role": "assistant", "content": "hi"}
    answer = {"id": "c", "model": "m1", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    with WireServer(json_reply(answer)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        assert "m1 answers" in auth("test", "openai", "--model", "m1").out
        assert [r.target for r in server.requests] == ["/v1/chat/completions"]


def test_a_refused_key_says_so_with_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = json_reply({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}, 401)
    with WireServer(refusal) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        result = auth("test", "openai", "--debug")
        assert result.code == ExitCode.FAILED
        assert "HTTP 401" in result.err
        assert len(server.requests) == 1


def test_a_missing_key_and_an_absent_server_have_their_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert auth("test", "openai").code == ExitCode.CONFIGURATION
    monkeypatch.setenv("LMSTUDIO_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    assert auth("test", "lmstudio").code == ExitCode.RETRY
