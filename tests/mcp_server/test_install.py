"""``install``: adds the server to a client's configuration, harms nothing else in it, and takes it out again."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from unified_llm.errors import ConfigurationError
from unified_llm_mcp import main
from unified_llm_mcp.clients import CLIENTS
from unified_llm_mcp.install import install as prepare


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with nothing in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path / "AppData"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def install(*arguments: str) -> int:
    return main(["install", *arguments])


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def config_of(client: str) -> Path:
    return CLIENTS[client].path()


@pytest.mark.parametrize("client", CLIENTS)
def test_the_server_is_added_where_the_client_looks(client: str) -> None:
    assert install("--client", client, "--", "--model", "claude:") == 0
    server = read(config_of(client))[CLIENTS[client].key]["llm"]
    assert server["command"] == sys.executable
    assert server["args"] == ["-m", "unified_llm_mcp", "--model", "claude:"]
    assert server.get("type", "stdio") == "stdio"
    assert ("type" in server) == CLIENTS[client].typed


@pytest.mark.parametrize("client", CLIENTS)
def test_undo_leaves_no_trace_where_there_was_no_file(client: str, home: Path) -> None:
    install("--client", client)
    assert install("--client", client, "--undo") == 0
    assert not config_of(client).exists()
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_everything_else_in_the_file_stays_and_is_backed_up(capsys: pytest.CaptureFixture[str]) -> None:
    path = config_of("cursor")
    path.parent.mkdir()
    text = '{\n    "other": {"ü": [1, 2]},\n    "mcpServers": {\n        "mine": {"command": "x"}\n    }\n}\n'
    path.write_text(text, encoding="utf-8")
    path.chmod(0o640)
    assert install("--client", "cursor") == 0
    after = read(path)
    assert after["other"] == {"ü": [1, 2]}
    assert list(after["mcpServers"]) == ["mine", "llm"]
    assert '\n    "other"' in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    backup = path.with_name("mcp.json.before-unified-llm")
    assert backup.read_text(encoding="utf-8") == text
    assert str(backup) in capsys.readouterr().out


def test_undo_takes_out_only_ours_and_keeps_what_was_added_since() -> None:
    path = config_of("cursor")
    path.parent.mkdir()
    path.write_text('{"mcpServers": {"mine": {"command": "x"}}}', encoding="utf-8")
    install("--client", "cursor")
    changed = read(path)
    changed["mcpServers"]["later"] = {"command": "y"}
    path.write_text(json.dumps(changed), encoding="utf-8")
    assert install("--client", "cursor", "--undo") == 0
    assert read(path) == {"mcpServers": {"mine": {"command": "x"}, "later": {"command": "y"}}}


def test_installing_again_replaces_our_entry_and_keeps_the_first_backup() -> None:
    path = config_of("cursor")
    path.parent.mkdir()
    path.write_text("{}", encoding="utf-8")
    install("--client", "cursor")
    install("--client", "cursor", "--", "--tools", "chat")
    assert read(path)["mcpServers"]["llm"]["args"][-1] == "chat"
    assert path.with_name("mcp.json.before-unified-llm").read_text(encoding="utf-8") == "{}"


def test_a_server_of_somebody_else_under_the_name_is_kept_unless_told_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = config_of("cursor")
    path.parent.mkdir()
    theirs = {"mcpServers": {"llm": {"command": "theirs"}}}
    path.write_text(json.dumps(theirs), encoding="utf-8")
    assert install("--client", "cursor") == 2
    assert "--replace" in capsys.readouterr().err
    assert read(path) == theirs
    assert install("--client", "cursor", "--replace") == 0
    assert install("--client", "cursor", "--undo") == 0
    assert read(path) == theirs


def test_undo_of_what_is_not_there_or_not_ours_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert install("--client", "cursor", "--undo") == 2
    assert "no server of ours" in capsys.readouterr().err
    path = config_of("cursor")
    path.parent.mkdir()
    path.write_text('{"mcpServers": {"llm": {"command": "theirs"}}}', encoding="utf-8")
    assert install("--client", "cursor", "--undo") == 2
    assert "theirs" in path.read_text(encoding="utf-8")


def test_a_dry_run_shows_the_change_without_values_and_writes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "sk-ant-REDACTED-abcdefgh"
    assert install("--client", "lmstudio", "--env", f"ANTHROPIC_API_KEY={key}", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert '+      "command"' in shown
    assert "ANTHROPIC_API_KEY" in shown
    assert key not in shown
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("client", "reference"),
    [("claude-code", "${API_KEY}"), ("cursor", "${env:API_KEY}"), ("vscode", "${input:API_KEY}")],
)
def test_a_variable_without_a_value_is_looked_up_by_the_client(client: str, reference: str) -> None:
    assert install("--client", client, "--env", "API_KEY", "--env", "REGION=eu") == 0
    config = read(config_of(client))
    assert config[CLIENTS[client].key]["llm"]["env"] == {"API_KEY": reference, "REGION": "eu"}
    if client == "vscode":
        assert config["inputs"] == [
            {"type": "promptString", "id": "API_KEY", "description": "API_KEY", "password": True}
        ]


@pytest.mark.parametrize("client", ["claude-desktop", "lmstudio"])
def test_a_client_that_looks_nothing_up_needs_the_value(client: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert install("--client", client, "--env", "API_KEY") == 2
    assert "--env API_KEY=VALUE" in capsys.readouterr().err
    assert install("--client", client, "--env", "API_KEY=secret-value") == 0
    path = config_of(client)
    assert read(path)["mcpServers"]["llm"]["env"] == {"API_KEY": "secret-value"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("client", "file"), [("claude-code", ".mcp.json"), ("cursor", ".cursor/mcp.json"), ("vscode", ".vscode/mcp.json")]
)
def test_a_project_has_a_file_of_its_own(client: str, file: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    assert install("--client", client, "--project", str(project)) == 0
    assert "llm" in read(project / file)[CLIENTS[client].key]


def test_a_client_without_project_files_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert install("--client", "lmstudio", "--project") == 2
    assert "no configuration of a project" in capsys.readouterr().err


@pytest.mark.parametrize("text", ['{"servers": {}} // a comment', "[1]", '{"servers": []}', "\x00"])
def test_a_file_that_cannot_be_edited_safely_is_left_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = config_of("vscode")
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert install("--client", "vscode") == 2
    assert path.read_text(encoding="utf-8") == text
    assert str(path) in capsys.readouterr().err


def test_a_file_with_comments_gets_advice_what_to_add_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    path = config_of("vscode")
    path.parent.mkdir(parents=True)
    path.write_text("// mine\n{}", encoding="utf-8")
    install("--client", "vscode")
    assert '{"servers": {"llm": {"command":' in capsys.readouterr().err


def test_a_configuration_that_is_a_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}", encoding="utf-8")
    path = config_of("cursor")
    path.parent.mkdir()
    path.symlink_to(real)
    assert install("--client", "cursor") == 0
    assert path.is_symlink()
    assert "llm" in read(real)["mcpServers"]


def test_line_ends_and_empty_files_are_respected() -> None:
    path = config_of("cursor")
    path.parent.mkdir()
    path.write_bytes(b'{\r\n  "a": 1\r\n}\r\n')
    install("--client", "cursor")
    assert b'\r\n  "mcpServers"' in path.read_bytes()
    assert b"\n\n" not in path.read_bytes().replace(b"\r", b"")
    path.write_text("", encoding="utf-8")
    assert install("--client", "cursor") == 0


def test_uvx_can_be_chosen_as_the_command() -> None:
    assert install("--client", "cursor", "--command", "uvx") == 0
    server = read(config_of("cursor"))["mcpServers"]["llm"]
    assert Path(server["command"]).name == "uvx"
    assert server["args"] == ["unified-llm-mcp"]
    assert install("--client", "cursor", "--undo") == 0


@pytest.mark.parametrize("variable", ["A B=1", "1X=2", "\u00c9=1", "=1"])
def test_a_strange_variable_name_is_refused(variable: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert install("--client", "cursor", "--env", variable) == 2
    assert "no name of a variable" in capsys.readouterr().err


def given(text: str, client: str = "cursor") -> Path:
    """A configuration that is there before the first installation."""
    path = config_of(client)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def test_a_server_put_there_after_an_undo_comes_back_too() -> None:
    path = given('{"mcpServers": {}}')
    install("--client", "cursor")
    install("--client", "cursor", "--undo")
    precious = {"mcpServers": {"llm": {"command": "my-own", "args": ["precious"]}}}
    given(json.dumps(precious))
    install("--client", "cursor", "--replace")
    install("--client", "cursor", "--undo")
    assert read(path) == precious


def test_servers_replaced_one_after_the_other_all_come_back() -> None:
    path = given('{"mcpServers": {"a": {"command": "first"}}}')
    install("--client", "cursor", "--name", "a", "--replace")
    config = read(path)
    config["mcpServers"]["b"] = {"command": "second"}
    given(json.dumps(config))
    install("--client", "cursor", "--name", "b", "--replace")
    install("--client", "cursor", "--name", "a", "--undo")
    install("--client", "cursor", "--name", "b", "--undo")
    assert read(path) == {"mcpServers": {"a": {"command": "first"}, "b": {"command": "second"}}}


def test_a_server_that_was_taken_out_by_hand_does_not_come_back() -> None:
    path = given('{"mcpServers": {"llm": {"command": "old"}}}')
    install("--client", "cursor", "--replace")
    path.unlink()
    install("--client", "cursor")
    install("--client", "cursor", "--undo")
    assert "old" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        '\ufeff{\r\n\t"mcpServers": {\r\n\t\t"o": {"command": "x", "args": ["a", "b"]}\r\n\t}\r\n}',
        '{"n": 1.10, "mcpServers": {"o": {"command": "x"}}}',
        '{"a": "\\ud83d", "mcpServers": {}}',
        "{}",
        "",
    ],
)
def test_undo_gives_every_byte_back(text: str) -> None:
    path = given(text)
    assert install("--client", "cursor") == 0
    assert path.read_bytes().startswith(b"\xef\xbb\xbf") == text.startswith("\ufeff")
    assert install("--client", "cursor", "--undo") == 0
    assert path.read_bytes() == text.encode()


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"a": 1e999}', '{"a": NaN}', '{"mcpServers": {"x": {}, "x": {}}}', "[" * 100_000]
)
def test_a_file_that_would_lose_something_is_left_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = given(text)
    assert install("--client", "cursor") == 2
    assert path.read_bytes() == text.encode()
    assert "add by hand" in capsys.readouterr().err


@pytest.mark.parametrize(
    "server",
    [
        {"command": "x", "env": {"A": "${env:A}", "PIN": "open sesame"}},
        {"command": "x", "args": ["--password", "open sesame", "--pin=open sesame", "open sesame"]},
        {"url": "https://user:opensesame@x", "headers": {"X-Auth": "open sesame"}},
    ],
)
@pytest.mark.parametrize("name", ["llm", "other"])
def test_a_dry_run_shows_no_secret_of_any_server(
    name: str, server: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    given(json.dumps({"token": "open sesame", "mcpServers": {name: server}}))
    arguments = ["--client", "cursor", "--env", "KEY=open sesame", "--replace"]
    assert install(*arguments, "--dry-run", "--", "--model", "claude:") == 0
    shown = capsys.readouterr().out
    assert "sesame" not in shown
    assert "KEY" in shown
    assert "claude:" in shown
    install(*arguments)
    capsys.readouterr()
    assert install("--client", "cursor", "--undo", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "sesame" not in shown
    assert "-" in shown


def test_undo_takes_out_the_inputs_that_only_our_entry_asked_for() -> None:
    theirs = {
        "servers": {"mine": {"command": "x", "env": {"A": "${input:SHARED}"}}},
        "inputs": [{"type": "promptString", "id": "SHARED", "description": "mine"}],
    }
    path = given(json.dumps(theirs), "vscode")
    install("--client", "vscode", "--env", "SHARED", "--env", "OURS")
    assert [one["id"] for one in read(path)["inputs"]] == ["SHARED", "OURS"]
    changed = read(path) | {"later": 1}
    given(json.dumps(changed), "vscode")
    install("--client", "vscode", "--undo")
    assert read(path) == theirs | {"later": 1}


def test_undo_leaves_no_empty_list_of_inputs() -> None:
    path = given('{"servers": {}}', "vscode")
    install("--client", "vscode", "--env", "OURS")
    install("--client", "vscode", "--undo")
    assert read(path) == {"servers": {}}


@pytest.mark.parametrize("inputs", [None, {}, "x"])
def test_inputs_that_are_no_list_are_refused(inputs: object, capsys: pytest.CaptureFixture[str]) -> None:
    given(json.dumps({"inputs": inputs}), "vscode")
    assert install("--client", "vscode", "--env", "K") == 2
    assert "inputs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("server", "ours"),
    [
        ({"command": "x", "args": None}, False),
        ({"command": "x", "args": 5}, False),
        ({"command": "x", "args": [None]}, False),
        ({"command": "node", "args": ["/home/me/src/my-unified-llm-mcp"]}, False),
        ({"command": "my-unified-llm-mcp"}, False),
        ({"command": "uvx", "args": ["unified-llm", "chat"]}, False),
        ("uvx unified-llm-mcp", False),
        ({"command": "uvx", "args": ["unified-llm", "mcp"]}, True),
        ({"command": "/home/me/.local/bin/unified-llm", "args": ["mcp", "--model", "x"]}, True),
        ({"command": "uvx", "args": ["unified-llm-mcp@latest"]}, True),
        ({"command": "uvx", "args": ["--with", "unified-llm[local]", "unified-llm-mcp[local]>=0.1"]}, True),
        ({"command": "C:\\bin\\unified-llm-mcp.exe"}, True),
        ({"command": "python3", "args": ["-m", "unified_llm_mcp"]}, True),
    ],
)
def test_only_entries_that_start_this_server_are_taken_for_ours(server: object, ours: bool) -> None:
    path = given(json.dumps({"other": 1, "mcpServers": {"llm": server}}))
    assert install("--client", "cursor", "--undo") == (0 if ours else 2)
    assert ("llm" in read(path).get("mcpServers", {})) is not ours


def test_a_backup_that_cannot_be_read_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    path = given("{}")
    install("--client", "cursor")
    backup = path.with_name("mcp.json.before-unified-llm")
    backup.write_text("{broken", encoding="utf-8")
    assert install("--client", "cursor", "--undo") == 2
    assert str(backup) in capsys.readouterr().err
    assert "llm" in read(path)["mcpServers"]


def test_a_folder_that_cannot_be_made_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "file").write_text("", encoding="utf-8")
    assert install("--client", "cursor", "--config", str(home / "file" / "mcp.json")) == 2
    assert "cannot" in capsys.readouterr().err


def test_a_file_that_changes_meanwhile_is_left_to_who_changed_it() -> None:
    path = given("{}")
    change = prepare(CLIENTS["cursor"], path, "llm", ["x"], [])
    given('{"theirs": 1}')
    with pytest.raises(ConfigurationError, match="changed meanwhile"):
        change.apply()
    assert read(path) == {"theirs": 1}


@pytest.mark.parametrize("arguments", [["--modle", "x"], ["--max-tokens", "many"]])
def test_arguments_that_the_server_does_not_take_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        install("--client", "cursor", "--", *arguments)
    assert arguments[0] in capsys.readouterr().err
    assert not config_of("cursor").exists()


@pytest.mark.parametrize("arguments", [["--http"], ["--token-file", "x"], ["--max-tokens", "0"], ["--tools", "chta"]])
def test_arguments_that_make_no_sense_in_a_client_are_refused(arguments: list[str]) -> None:
    assert install("--client", "cursor", "--", *arguments) == 2
    assert not config_of("cursor").exists()


@pytest.mark.parametrize("option", [["--allow-dir", "."], ["--allow-dir=."], ["--allow-d", "."]])
def test_a_folder_is_not_another_one_where_the_client_starts_the_server(
    option: list[str], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert install("--client", "cursor", "--", *option) == 2
    assert f"--allow-dir {home.resolve()}" in capsys.readouterr().err
    assert not config_of("cursor").exists()
    assert install("--client", "cursor", "--", "--allow-dir", str(home)) == 0
