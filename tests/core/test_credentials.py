"""Four sources, one order; nothing shows, nothing is created by reading, nothing is lost by writing."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keyring
import keyring.backends.null
import keyring.errors
import pytest
from keyring.backend import KeyringBackend
from pydantic import SecretBytes, SecretStr

from testkit.wire_server import WireServer, json_reply
from unified_llm import ConfigurationError, MissingCredentialError, ModelConfig, UnifiedLLM, UnifiedLLMError
from unified_llm.credentials import (
    ConfigFileSource,
    CredentialManager,
    CredentialSource,
    DotEnvSource,
    Secret,
    file_lock,
    find_key,
    missing_key,
    secret,
)

KEY = "sk-planted-0123456789"


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


class NoKeyring(KeyringBackend):
    """A machine without any keyring."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        raise keyring.errors.NoKeyringError

    def set_password(self, service: str, username: str, password: str) -> None:
        raise keyring.errors.NoKeyringError

    def delete_password(self, service: str, username: str) -> None:
        raise keyring.errors.NoKeyringError


@pytest.fixture(autouse=True)
def memory_keyring() -> Iterator[MemoryKeyring]:
    before, mine = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(mine)
    yield mine
    keyring.set_keyring(before)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home" / "config.json"
    monkeypatch.setenv("UNIFIED_LLM_CONFIG", str(path))
    return path


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    path.chmod(0o600)


def test_the_order_is_explicit_environment_file_keyring(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = CredentialManager()
    seen: list[tuple[str | None, CredentialSource | None]] = []

    def look() -> None:
        key = manager.get_api_key("claude")
        seen.append((key.get_secret_value() if key else None, manager.credential_source("claude")))

    look()
    manager.set_api_key("claude", "from-keyring", CredentialSource.KEYRING)
    look()
    manager.set_api_key("claude", "from-file", CredentialSource.CONFIG_FILE)
    look()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from-environment")
    look()
    manager.set_api_key("claude", "given")
    look()
    assert seen == [
        (None, None),
        ("from-keyring", CredentialSource.KEYRING),
        ("from-file", CredentialSource.CONFIG_FILE),
        ("from-environment", CredentialSource.ENV),
        ("given", CredentialSource.EXPLICIT),
    ]


@pytest.mark.parametrize(
    "content",
    [
        {"anthropic_api_key": KEY},
        {"claude_api_key": KEY},
        {"anthropic_api_key": {"api_key": KEY}},
        {"ANTHROPIC_API_KEY": KEY},
        {"claude": {"api_key": KEY}},
        {"providers": {"anthropic": {"api_key": KEY}}},
    ],
)
def test_flat_and_nested_files_are_read(config: Path, content: dict[str, Any]) -> None:
    write(config, content)
    found = find_key("claude", None, ("ANTHROPIC_API_KEY",))
    assert found == Secret(KEY)


def test_other_fields_come_along(config: Path) -> None:
    write(
        config, {"openai": {"api_key": KEY, "base_url": "https://x.example/v1", "organization_id": "o", "shoe": "42"}}
    )
    assert CredentialManager().get_credentials("openai") == {
        "api_key": Secret(KEY),
        "base_url": "https://x.example/v1",
        "organization_id": "o",
    }


def test_reading_never_creates_a_file(config: Path) -> None:
    assert CredentialManager().get_configured_providers() == []
    assert not config.parent.exists()


def test_writing_keeps_the_rest_of_the_file_and_the_mode_is_0600(config: Path) -> None:
    write(config, {"note": "mine", "openai_api_key": "other-key-1234"})
    CredentialManager().set_api_key("claude", KEY, "configuration file")
    assert json.loads(config.read_text()) == {
        "note": "mine",
        "openai_api_key": "other-key-1234",
        "claude": {"api_key": KEY},
    }
    assert config.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in config.parent.iterdir()] == ["config.json"]


def test_a_changed_file_is_read_again(config: Path) -> None:
    manager = CredentialManager()
    write(config, {"claude": {"api_key": "first-key"}})
    assert manager.get_api_key("claude") == Secret("first-key")
    write(config, {"claude": {"api_key": "second-key!"}})
    assert manager.get_api_key("claude") == Secret("second-key!")


def test_a_half_written_file_is_kept_and_the_error_says_where(config: Path) -> None:
    broken = '{"claude": {"api_key": "' + KEY
    write(config, broken)
    with pytest.raises(ConfigurationError, match="line 1, column") as caught:
        CredentialManager().set_api_key("openai", "another", "configuration file")
    assert KEY not in f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    assert config.read_text() == broken


@pytest.mark.parametrize("content", ["[1, 2]", '"text"'])
def test_a_file_that_is_no_object_is_an_error(config: Path, content: str) -> None:
    write(config, content)
    with pytest.raises(ConfigurationError, match="not an object"):
        CredentialManager().get_api_key("claude")


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_file_others_can_read_is_warned_about(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(config, {"claude": {"api_key": KEY}})
    config.chmod(0o644)
    with caplog.at_level(logging.WARNING, "unified_llm"):
        CredentialManager().get_api_key("claude")
    assert "chmod 600" in caplog.text
    assert KEY not in caplog.text


def test_without_a_keyring_backend_reading_finds_nothing_and_writing_explains(config: Path) -> None:
    keyring.set_keyring(NoKeyring())  # type: ignore[no-untyped-call]  # as above
    manager = CredentialManager()
    assert manager.get_api_key("claude") is None
    with pytest.raises(ConfigurationError, match="NoKeyringError"):
        manager.set_api_key("claude", KEY, CredentialSource.KEYRING)


def test_credentials_can_be_cleared_everywhere_or_in_one_place(config: Path) -> None:
    manager = CredentialManager()
    manager.set_api_key("claude", KEY, CredentialSource.KEYRING)
    manager.set_api_key("claude", KEY, CredentialSource.CONFIG_FILE)
    assert manager.clear_credentials("claude", CredentialSource.CONFIG_FILE)
    assert manager.credential_source("claude") is CredentialSource.KEYRING
    assert manager.keyring.stored() == ["claude"]
    assert manager.clear_credentials("claude")
    assert not manager.is_provider_configured("claude")
    assert manager.keyring.stored() == []
    assert not manager.clear_credentials("claude")


@pytest.mark.parametrize("bad", ["", "  ", None])
def test_an_empty_key_is_refused(bad: str | None, config: Path) -> None:
    with pytest.raises(ConfigurationError, match="empty"):
        CredentialManager().set_api_key("claude", bad)


@pytest.mark.parametrize("bad", ["sk-a\nb", "sk-a\rb", "clé-secrète"])
def test_a_key_that_cannot_be_a_header_is_refused_without_showing_it(bad: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        secret(bad)
    assert bad not in str(caught.value)


def test_unknown_fields_and_the_environment_are_refused_as_targets(config: Path) -> None:
    with pytest.raises(ConfigurationError, match="api_kye"):
        CredentialManager().save_credentials("claude", {"api_kye": KEY})
    with pytest.raises(ConfigurationError, match="environment"):
        CredentialManager().set_api_key("claude", KEY, CredentialSource.ENV)


def test_a_secret_does_not_show_and_does_not_travel() -> None:
    hidden = secret(SecretStr(KEY))
    assert hidden is not None
    assert KEY not in f"{hidden!r} {hidden} {[hidden]}"
    assert copy.deepcopy(hidden) is hidden
    with pytest.raises(TypeError):
        pickle.dumps(hidden)


def test_a_dot_env_file_is_read_only_when_asked(tmp_path: Path, config: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"# keys\nexport ANTHROPIC_API_KEY='{KEY}'  \nOTHER=x # note\n", encoding="utf-8")
    assert find_key("claude", None, ("ANTHROPIC_API_KEY",)) is None
    assert find_key("claude", None, ("ANTHROPIC_API_KEY",), chain=[DotEnvSource(file)]) == Secret(KEY)
    assert DotEnvSource(tmp_path / "none").get("claude", ("ANTHROPIC_API_KEY",)) == {}


def test_the_missing_key_error_names_the_variable_and_every_other_source(config: Path) -> None:
    text = str(missing_key("claude", ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")))
    for said in ("ANTHROPIC_API_KEY", "api_key=", str(config), "keyring"):
        assert said in text


def test_a_write_that_fails_leaves_the_old_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(config, {"claude": {"api_key": "old-key-12"}})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="No space") as caught:
        ConfigFileSource().save("claude", {"api_key": KEY})
    assert caught.value.hint
    assert json.loads(config.read_text()) == {"claude": {"api_key": "old-key-12"}}
    assert [p.name for p in config.parent.iterdir()] == ["config.json"]


# -- keyrings that fail -----------------------------------------------------------------------------------------------


class LockedKeyring(MemoryKeyring):
    """It can be read, and refuses to forget."""

    def delete_password(self, service: str, username: str) -> None:
        raise keyring.errors.PasswordDeleteError(f"locked: {KEY}")


class BrokenKeyring(KeyringBackend):
    """Its service is gone, and the backend passes on what the system said."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        raise OSError(f"dbus gone {KEY}")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise OSError(f"dbus gone {password}")

    def delete_password(self, service: str, username: str) -> None:
        raise OSError("dbus gone")


def test_a_keyring_that_refuses_to_forget_is_an_error_that_says_what_to_do(config: Path) -> None:
    keyring.set_keyring(LockedKeyring())
    manager = CredentialManager()
    manager.set_api_key("openai", KEY, CredentialSource.KEYRING)
    with pytest.raises(ConfigurationError, match="PasswordDeleteError") as caught:
        manager.clear_credentials("openai")
    assert "unlock" in str(caught.value.hint)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert manager.get_api_key("openai") == Secret(KEY)


def test_a_keyring_whose_service_is_gone_has_nothing(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    keyring.set_keyring(BrokenKeyring())  # type: ignore[no-untyped-call]  # as above
    with caplog.at_level(logging.DEBUG, "unified_llm"), pytest.raises(MissingCredentialError):
        UnifiedLLM("mistral")
    assert "OSError" in caplog.text
    assert KEY not in caplog.text
    manager = CredentialManager()
    assert manager.credential_source("mistral") is None
    assert manager.clear_credentials("mistral") is False
    with pytest.raises(ConfigurationError, match="OSError") as caught:
        manager.set_api_key("mistral", KEY, CredentialSource.KEYRING)
    assert KEY not in "".join(traceback.format_exception(caught.value))


# -- files under several writers, behind links, and unreadable ones ---------------------------------------------------

NAMES = ("openai", "claude", "mistral", "groq", "deepseek", "xai", "together", "fireworks")


def test_parallel_writers_in_threads_lose_nothing(config: Path) -> None:
    start = threading.Barrier(len(NAMES))

    def keep(name: str) -> None:
        start.wait(10)
        for field in ("api_key", "base_url", "region"):
            CredentialManager().save_credentials(name, {field: KEY})

    with ThreadPoolExecutor(len(NAMES)) as pool:
        list(pool.map(keep, NAMES))
    fields = dict.fromkeys(("api_key", "base_url", "region"), KEY)
    assert json.loads(config.read_text()) == dict.fromkeys(NAMES, fields)
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]


def test_parallel_writers_in_processes_lose_nothing(config: Path) -> None:
    code = f"""
import sys
from unified_llm.credentials import ConfigFileSource
sys.stdin.read(1)
for number in range(20):
    ConfigFileSource().save(sys.argv[1] + str(number), {{"api_key": {KEY!r}}})
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, name], stdin=subprocess.PIPE) for name in NAMES[:3]]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"x")
        writer.stdin.close()
    for writer in writers:
        writer.wait(50)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(json.loads(config.read_text())) == 60


def test_a_writer_that_never_ends_is_an_error(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_lock, "WAIT_SECONDS", 0.05)
    config.parent.mkdir()
    with file_lock.locked(config):
        raised: list[BaseException] = []

        def save() -> None:
            try:
                ConfigFileSource().save("claude", {"api_key": KEY})
            except ConfigurationError as exc:
                raised.append(exc)

        thread = threading.Thread(target=save)
        thread.start()
        thread.join(20)
    assert "written by somebody else" in str(raised[0])
    ConfigFileSource().save("claude", {"api_key": KEY})


def test_a_lock_that_a_dead_process_left_holds_nobody_back(config: Path) -> None:
    config.parent.mkdir()
    (config.parent / ".config.json.lock").touch()
    ConfigFileSource().save("claude", {"api_key": KEY})
    assert json.loads(config.read_text()) == {"claude": {"api_key": KEY}}


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_is_followed(config: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "real.json"
    write(target, {"groq": {"api_key": "gsk-1234567890"}})
    config.parent.mkdir()
    config.symlink_to(Path("..") / "dotfiles" / "real.json")
    manager = CredentialManager()
    manager.set_api_key("claude", KEY, CredentialSource.CONFIG_FILE)
    assert config.is_symlink()
    assert json.loads(target.read_text())["claude"] == {"api_key": KEY}
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert manager.clear_credentials("claude")
    assert config.is_symlink()
    assert json.loads(target.read_text()) == {"groq": {"api_key": "gsk-1234567890"}}


def test_a_dot_env_that_cannot_be_read_is_an_error_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read") as caught:
        DotEnvSource(tmp_path).get("claude", ("ANTHROPIC_API_KEY",))
    assert str(tmp_path) in caught.value.message
    file = tmp_path / ".env"
    file.write_bytes(f"ANTHROPIC_API_KEY={KEY}\nNAME=J\xe9r\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match="line 2, column 7") as caught:
        DotEnvSource(file).get("claude", ("ANTHROPIC_API_KEY",))
    assert KEY not in "".join(traceback.format_exception(caught.value))
    file.write_bytes(b"\xef\xbb\xbfANTHROPIC_API_KEY=" + KEY.encode())  # as Windows writes it
    assert DotEnvSource(file).get("claude", ("ANTHROPIC_API_KEY",)) == {"api_key": KEY}


def test_a_configuration_file_that_cannot_be_read_is_an_error_with_its_place(config: Path) -> None:
    config.parent.mkdir()
    config.write_bytes(b'{"claude": {\n"api_key": "\xff"}}')
    with pytest.raises(ConfigurationError, match="line 2, column 13"):
        CredentialManager().get_api_key("claude")
    config.unlink()
    config.mkdir()
    with pytest.raises(ConfigurationError, match="cannot read"):
        CredentialManager().get_api_key("claude")


def test_a_file_in_the_place_of_the_folder_is_an_error_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot write"):
        ConfigFileSource(tmp_path / "file" / "config.json").save("claude", {"api_key": KEY})


# -- values of the wrong kind -----------------------------------------------------------------------------------------


def test_bytes_are_the_key_they_spell() -> None:
    assert secret(b"abc") == Secret("abc")
    assert secret(SecretBytes(b"abc")) == Secret("abc")
    with pytest.raises(ConfigurationError, match="outside ASCII"):
        secret(b"\xff\xfe")


@pytest.mark.parametrize("value", [5, True, ["k"], {"api_key": KEY}, object()], ids=type)
def test_a_key_that_is_no_text_is_refused_by_its_kind(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"is {type(value).__name__}") as caught:
        secret(value)
    assert KEY not in str(caught.value)


def test_a_source_may_be_named_and_an_unknown_one_is_an_error_of_the_tree(config: Path) -> None:
    manager = CredentialManager()
    manager.set_api_key("claude", KEY, "config_file")
    assert manager.credential_source("claude") == "configuration file"
    for call in (
        lambda: CredentialSource("vault"),
        lambda: manager.set_api_key("claude", KEY, "vault"),
        lambda: manager.save_credentials("claude", {"api_key": KEY}, "vault"),
        lambda: manager.clear_credentials("claude", "vault"),
    ):
        with pytest.raises(ConfigurationError, match="vault") as caught:
            call()
        assert "'keyring'" in str(caught.value.hint)
    with pytest.raises(ConfigurationError, match="region is int"):
        manager.save_credentials("claude", {"region": 5})


def test_a_pickled_config_keeps_the_headers_its_call_needs_and_what_comes_back_has_none_of_them() -> None:
    config = ModelConfig(extra_headers={"authorization": f"Bearer {KEY}"})
    assert KEY not in repr(config)
    assert pickle.loads(pickle.dumps(config)) == config
    assert "keep such a pickle like a key" in " ".join(str(ModelConfig.__doc__).split())
    response = UnifiedLLM("offline", config=config).chat("x")
    assert KEY.encode() not in pickle.dumps(response)
    with WireServer(json_reply({"error": {"message": f"bad key {KEY}"}}, 401)) as server:
        llm = UnifiedLLM(base_url=server.url, model="m", config=config)
        with pytest.raises(UnifiedLLMError) as caught:
            llm.chat("x")
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in pickle.dumps(caught.value)


# -- names ------------------------------------------------------------------------------------------------------------

ALIASES_IN_USE = [("grok", "xai"), ("lm-studio", "lmstudio"), ("azure_openai", "azure"), ("llama.cpp", "llamacpp")]


@pytest.mark.parametrize(("alias", "name"), [*ALIASES_IN_USE, ("anthropic", "claude"), (" OpenAI", "openai")])
def test_the_manager_knows_a_provider_by_every_name_of_it(
    alias: str, name: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = CredentialManager()
    manager.set_api_key(alias, KEY, CredentialSource.CONFIG_FILE)
    assert json.loads(config.read_text()) == {name: {"api_key": KEY}}
    assert manager.get_api_key(name) == manager.get_api_key(alias) == Secret(KEY)
    assert manager.clear_credentials(alias, CredentialSource.CONFIG_FILE)
    manager.set_api_key(alias, KEY)
    assert manager.credential_source(name) is CredentialSource.EXPLICIT
    assert manager.clear_credentials(name)
    monkeypatch.setenv(manager.variables(alias)[0], KEY)
    assert manager.credential_source(alias) is CredentialSource.ENV


@pytest.mark.parametrize(("alias", "name"), ALIASES_IN_USE)
def test_a_file_may_use_any_name_of_a_provider_and_a_new_key_replaces_that(alias: str, name: str, config: Path) -> None:
    for content in ({alias: {"api_key": "old-key-12"}}, {f"{alias}_api_key": "old-key-12"}):
        write(config, content)
        manager = CredentialManager()
        assert find_key(name, None, ()) == Secret("old-key-12")
        manager.set_api_key(name, KEY, CredentialSource.CONFIG_FILE)
        assert find_key(name, None, ()) == Secret(KEY)
        assert manager.clear_credentials(name)
        assert json.loads(config.read_text()) == {}


def test_names_of_your_own_are_taken_as_they_are(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", KEY)
    manager = CredentialManager(names={"Mine": ["MINE"], "anthropic": []})
    assert manager.get_api_key("Mine") == Secret(KEY)
    assert manager.get_configured_providers() == ["Mine"]


# -- what a file says and nobody understands --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"openai": KEY}, "openai."),
        ({"openai": {"apikey": KEY}}, "openai.apikey."),
        ({"openai": {"api_key": 5}}, "openai.api_key."),
        ({"openai_api_key": 5}, "openai_api_key."),
        ({"providers": {"openai": {"api_key": KEY, "organisation_id": "o"}}}, "openai.organisation_id."),
    ],
)
def test_an_entry_that_is_not_understood_is_named_once(
    content: dict[str, Any], named: str, config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(config, content)
    source = ConfigFileSource()
    for _ in range(2):
        source.get("openai", ("OPENAI_API_KEY",))
        source.get("claude", ())
    assert len(caplog.records) == 1
    assert f"left out: {named} " in caplog.text
    assert str(config) in caplog.text
    assert KEY not in caplog.text
    write(config, {**content, "note": "changed"})
    source.get("openai", ())
    assert len(caplog.records) == 2


def test_notes_blank_fields_and_other_forms_of_the_file_are_no_reason_to_warn(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(config, {"note": "x", "openai": {"api_key": "", "base_url": None}, "openai_api_key": KEY, "providers": []})
    assert CredentialManager().get_api_key("openai") == Secret(KEY)
    assert not caplog.records


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": ' + "9" * 5_000 + "}"], ids=["brackets", "digits"])
def test_json_that_python_cannot_hold_is_an_error_of_the_tree(content: str, config: Path) -> None:
    write(config, content)
    with pytest.raises(ConfigurationError, match="is not valid JSON"):
        CredentialManager().get_api_key("openai")
    assert config.read_text() == content


# -- what an error carries along --------------------------------------------------------------------------------------


def carried(error: BaseException | None) -> str:
    """All that can be reached from an exception: its text, its causes and contexts, and the variables of its frames."""
    said: list[object] = []
    while error is not None:
        said += [repr(error), vars(error), getattr(error, "doc", ""), getattr(error, "object", "")]
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "credentials" in frame.f_code.co_filename and frame.f_code.co_filename != __file__:
                said.append(frame.f_locals)
        error = error.__cause__ or error.__context__
    return repr(said)


def test_an_unreadable_file_is_not_carried_along_by_its_error(config: Path, tmp_path: Path) -> None:
    write(config, '{"claude": {"api_key": "' + KEY)
    with pytest.raises(ConfigurationError, match="line 1, column") as caught:
        ConfigFileSource().get("claude", ())
    assert KEY not in carried(caught.value)
    config.write_bytes(b'{"claude": {"api_key": "' + KEY.encode() + b'\xff"}}')
    with pytest.raises(ConfigurationError, match="not UTF-8: line 1, column 46") as caught:
        ConfigFileSource().get("claude", ())
    assert caught.value.message.startswith(f"{config} is not UTF-8")
    assert KEY not in carried(caught.value)


def test_what_a_keyring_said_is_not_carried_along(config: Path) -> None:
    keyring.set_keyring(BrokenKeyring())  # type: ignore[no-untyped-call]  # as above
    source = CredentialManager().keyring
    with pytest.raises(ConfigurationError, match="OSError") as caught:
        source.save("claude", {"api_key": KEY})
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_a_manager_with_keys_does_not_show_them_and_does_not_travel(config: Path) -> None:
    write(config, {"claude": {"api_key": KEY}})
    manager = CredentialManager()
    manager.set_api_key("openai", KEY)
    assert manager.get_api_key("claude") == manager.get_api_key("openai") == Secret(KEY)
    assert KEY not in repr(vars(manager))
    with pytest.raises(TypeError, match="not serialised"):
        pickle.dumps(manager)
    assert KEY.encode() not in pickle.dumps(manager.file)
    assert pickle.loads(pickle.dumps(manager.file)).get("claude", ()) == {"api_key": KEY}


# -- machines without a home folder, or with a keyring that is switched off -------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="homes are looked up in the POSIX user database")
def test_without_a_home_folder_there_is_no_file_to_read_and_none_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def nobody(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "UNIFIED_LLM_CONFIG", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    manager = CredentialManager()
    assert "~/.unified_llm" in repr(manager)
    assert manager.get_api_key("openai") is None
    UnifiedLLM("openai", api_key=KEY, model="m").close()
    for name in ("openai", "claude"):
        with pytest.raises(MissingCredentialError, match="no API key"):
            UnifiedLLM(name, model="m").chat("x")
    with pytest.raises(ConfigurationError, match="no such home folder") as caught:
        manager.set_api_key("openai", KEY, CredentialSource.CONFIG_FILE)
    assert "UNIFIED_LLM_CONFIG" in str(caught.value.hint)
    assert not Path("~").exists()


def test_a_configuration_in_the_home_of_nobody_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_LLM_CONFIG", "~nobody-of-that-name/x.json")
    assert CredentialManager().get_api_key("openai") is None
    with pytest.raises(ConfigurationError, match="no such home folder"):
        ConfigFileSource().save("openai", {"api_key": KEY})


def test_a_keyring_that_is_switched_off_does_not_pretend_to_keep(config: Path) -> None:
    keyring.set_keyring(keyring.backends.null.Keyring())  # type: ignore[no-untyped-call]  # as above
    with pytest.raises(ConfigurationError, match=r"keyring\.backends\.null\.Keyring\) does not keep it") as caught:
        CredentialManager().set_api_key("claude", KEY, CredentialSource.KEYRING)
    assert "configuration file" in str(caught.value.hint)


def test_a_keyring_is_asked_only_when_it_may_have_the_answer(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(MemoryKeyring):
        def __init__(self) -> None:
            super().__init__()
            self.asked: list[str] = []

        def get_password(self, service: str, username: str) -> str | None:
            self.asked.append(username)
            return super().get_password(service, username)

    mine = Counting()
    keyring.set_keyring(mine)
    manager = CredentialManager()
    manager.set_api_key("groq", KEY, CredentialSource.KEYRING)
    manager.set_api_key("claude", KEY)
    write(config, {"mistral": {"api_key": KEY}})
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    mine.asked.clear()
    assert [manager.get_api_key(name) for name in ("claude", "openai", "mistral")] == [Secret(KEY)] * 3
    assert mine.asked == []
    assert set(manager.get_configured_providers()) == {"claude", "openai", "mistral", "groq"}
    assert mine.asked == ["__providers__"]
    assert manager.get_api_key("groq") == Secret(KEY)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("OPENAI_API_KEY='ab' # comment", "ab"),
        ('OPENAI_API_KEY="ab"# comment', "ab"),
        ("export\tOPENAI_API_KEY = ab\t# comment", "ab"),
        ("OPENAI_API_KEY=a#b", "a#b"),
        ("OPENAI_API_KEY='a # b'", "a # b"),
        ("OPENAI_API_KEY='a\"b", "'a\"b"),
        ("OPENAI_API_KEY=# nothing", None),
        ("# OPENAI_API_KEY=ab", None),
    ],
)
def test_a_line_of_a_dot_env_is_taken_as_a_shell_takes_it(
    line: str, value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / ".env").write_text(f"{line}\n", encoding="utf-8")
    found = DotEnvSource("~/.env").get("openai", ("OPENAI_API_KEY",))
    assert found == ({} if value is None else {"api_key": value})
