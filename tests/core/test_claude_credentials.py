"""Which credential Claude gets, and that the SDK's own chain is neither shadowed nor imported to find out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from testkit.claude_calls import request
from testkit.claude_double import ClaudeDouble
from unified_llm import ConfigurationError, InvalidBaseURLError, MissingCredentialError
from unified_llm.credentials import Secret
from unified_llm.providers.claude import ClaudeProvider
from unified_llm.providers.claude_credentials import ClaudeCredential, find_claude_credential


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and no variable of the SDK."""
    for name in ("PROFILE", "CONFIG_DIR", "FEDERATION_RULE_ID", "ORGANIZATION_ID", "IDENTITY_TOKEN", "CUSTOM_HEADERS"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write_profile(home: Path, name: str = "default") -> None:
    folder = home / ".config" / "anthropic" / "configs"
    folder.mkdir(parents=True)
    (folder / f"{name}.json").write_text("{}", encoding="utf-8")


def test_nothing_found_is_an_error_at_construction_that_names_the_variables() -> None:
    with pytest.raises(MissingCredentialError) as caught:
        ClaudeProvider()
    assert caught.value.hint is not None
    assert "ANTHROPIC_API_KEY" in caught.value.hint
    assert caught.value.provider == "claude"


def test_an_explicit_key_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from-env-123")
    assert find_claude_credential("given-1234", {}).key == Secret("given-1234")
    assert find_claude_credential(None, {}).key == Secret("from-env-123")


def test_a_bearer_token_is_a_token_and_a_key_wins_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-12345")
    assert find_claude_credential(None, {}) == ClaudeCredential(token=Secret("token-12345"))
    assert find_claude_credential("key-12345", {}) == ClaudeCredential(key=Secret("key-12345"))


def test_profiles_on_disk_and_in_the_environment_are_left_to_the_sdk(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not find_claude_credential(None, {})
    write_profile(home)
    assert find_claude_credential(None, {}) == ClaudeCredential(sdk=True)
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(home / "elsewhere"))
    assert not find_claude_credential(None, {})
    monkeypatch.setenv("ANTHROPIC_PROFILE", "work")
    assert find_claude_credential(None, {}) == ClaudeCredential(sdk=True)


def test_an_active_profile_pointer_is_left_to_the_sdk(home: Path) -> None:
    folder = home / ".config" / "anthropic"
    folder.mkdir(parents=True)
    (folder / "active_config").write_text("work\n", encoding="utf-8")
    assert find_claude_credential(None, {}).sdk


def test_workload_identity_is_left_to_the_sdk_when_it_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_FEDERATION_RULE_ID", "fr_1")
    monkeypatch.setenv("ANTHROPIC_ORGANIZATION_ID", "org_1")
    assert not find_claude_credential(None, {})
    monkeypatch.setenv("ANTHROPIC_IDENTITY_TOKEN", "jwt")
    assert find_claude_credential(None, {}).sdk


def test_options_for_the_sdk_win_over_a_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from-env-123")
    assert find_claude_credential(None, {"profile": "work"}) == ClaudeCredential(sdk=True)


def test_what_we_predict_is_what_the_sdk_finds(home: Path) -> None:
    from anthropic.lib.credentials import default_credentials

    assert default_credentials() is None
    assert not find_claude_credential(None, {})


def test_looking_for_credentials_does_not_import_the_sdk(home: Path) -> None:
    import subprocess

    code = (
        "import sys; from unified_llm.providers.claude_credentials import find_claude_credential as f; f(None, {}); "
        "assert 'anthropic' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr


def test_a_server_of_ones_own_needs_no_key_and_gets_no_authorization(claude_double: ClaudeDouble) -> None:
    from unified_llm import AuthenticationError

    for transport in ("sdk", "http"):
        provider = ClaudeProvider(base_url=claude_double.url, transport=transport)
        with pytest.raises(AuthenticationError, match="required"):
            provider.chat(request("x"))
        provider.close()
        sent = claude_double.requests[-1].headers
        assert "authorization" not in sent
        assert "x-api-key" not in sent


def test_a_server_of_ones_own_gets_the_key_in_both_headers(claude_double: ClaudeDouble) -> None:
    for transport in ("sdk", "http"):
        provider = ClaudeProvider(api_key=claude_double.key, base_url=claude_double.url, transport=transport)
        provider.chat(request("x"))
        provider.close()
        sent = claude_double.requests[-1].headers
        assert sent["authorization"] == f"Bearer {claude_double.key}"
        assert sent["x-api-key"] == claude_double.key


def test_a_token_from_the_environment_travels_as_bearer(
    claude_double: ClaudeDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", claude_double.key)
    for transport in ("sdk", "http"):
        provider = ClaudeProvider(base_url=claude_double.url, transport=transport)
        provider.chat(request("x"))
        provider.close()
        assert claude_double.requests[-1].headers["authorization"] == f"Bearer {claude_double.key}"
        assert "x-api-key" not in claude_double.requests[-1].headers


def test_the_address_may_come_from_the_environment(
    claude_double: ClaudeDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", claude_double.url + "/v1")
    provider = ClaudeProvider(api_key=claude_double.key)
    assert provider.base_url == claude_double.url
    assert provider.chat(request("Hi")) == "You said: Hi"
    provider.close()


def test_profiles_need_the_sdk(home: Path) -> None:
    write_profile(home)
    with pytest.raises(ConfigurationError, match="SDK only"):
        ClaudeProvider(transport="http")


def test_a_broken_profile_is_a_credential_error_at_the_first_call(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_PROFILE", "nowhere")
    provider = ClaudeProvider()
    with pytest.raises(MissingCredentialError, match="cannot log in"):
        provider.chat(request("x"))


def test_options_the_sdk_does_not_know_are_a_configuration_error() -> None:
    provider = ClaudeProvider(api_key="k-12345", sdk_options={"colour": "red"})
    with pytest.raises(ConfigurationError, match="colour"):
        provider.chat(request("x"))


@pytest.mark.parametrize("address", ["api.anthropic.com", "ftp://x", "https://x/v1/messages", ""])
def test_an_address_that_cannot_be_is_refused(address: str) -> None:
    with pytest.raises(InvalidBaseURLError) as caught:
        ClaudeProvider(api_key="k", base_url=address)
    assert caught.value.hint


def test_an_unknown_transport_and_a_bad_timeout_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="carrier"):
        ClaudeProvider(api_key="k", transport="carrier pigeon")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="timeout"):
        ClaudeProvider(api_key="k", timeout=-1, transport="http")


def test_no_repr_shows_the_key() -> None:
    provider = ClaudeProvider(api_key="sk-ant-secret-value-1", base_url="https://proxy.example/v1")
    shown = repr(provider) + repr(provider.driver) + repr(vars(provider))
    assert "secret-value" not in shown
    assert repr(provider) == "ClaudeProvider(base_url='https://proxy.example', transport='sdk')"
