"""What is kept beside a key reaches the service, each field in its place; what a service cannot use is said."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import keyring
import pytest
from keyring.backend import KeyringBackend

from testkit.wire_server import Request, WireServer, json_reply
from unified_llm import (
    PROVIDER_CONFIGS,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    LLMProvider,
    MissingCredentialError,
    ProviderConfig,
    UnifiedLLM,
    provider_settings,
)
from unified_llm.credentials import CHAIN
from unified_llm.drivers.anthropic_sdk import AnthropicSDKDriver
from unified_llm.providers.claude import ClaudeProvider
from unified_llm.providers.registry import create_provider

KEY = "sk-planted-0123456789"
SAID = {"role": "assistant", "content": "ok"}
ANSWER = {"id": "x", "model": "m", "choices": [{"index": 0, "message": SAID, "finish_reason": "stop"}]}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5",
    "content": [{"type": "text", "text": "ok"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 9, "output_tokens": 2},
}
CLOUD = ("AWS_REGION", "AWS_DEFAULT_REGION", "CLOUD_ML_REGION", "ANTHROPIC_VERTEX_PROJECT_ID")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provider_settings, "_told", set())
    monkeypatch.setenv("UNIFIED_LLM_CONFIG", str(tmp_path / "config.json"))
    for name in (*CLOUD, "OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "SCALEWAY_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def keep(tmp_path: Path, provider: str, **fields: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({provider: {"api_key": KEY, **fields}}), encoding="utf-8")
    path.chmod(0o600)


def asked(server: WireServer, provider: str, **options: Any) -> Request:
    with UnifiedLLM(provider, model=options.pop("model", "m"), **options) as llm:
        llm.chat("x")
    return server.requests[-1]


def test_organization_and_project_are_headers_of_openai(tmp_path: Path) -> None:
    with WireServer(json_reply(ANSWER)) as server:
        keep(tmp_path, "openai", base_url=f"{server.url}/v1", organization_id="org-1", project_id="proj_1")
        sent = asked(server, "openai").headers
        assert (sent["openai-organization"], sent["openai-project"]) == ("org-1", "proj_1")
        sent = asked(server, "openai", project_id="proj_2").headers
        assert (sent["openai-organization"], sent["openai-project"]) == ("org-1", "proj_2")


def test_the_api_version_is_in_every_address_of_azure(tmp_path: Path) -> None:
    with WireServer(json_reply(ANSWER)) as server:
        keep(tmp_path, "azure", base_url=server.url, api_version="preview")
        assert asked(server, "azure").target == "/openai/v1/chat/completions?api-version=preview"
        keep(tmp_path, "azure", base_url=server.url)
        assert asked(server, "azure").target == "/openai/v1/chat/completions"


def test_a_dated_version_is_refused_where_the_address_is_that_of_v1() -> None:
    with pytest.raises(ConfigurationError, match="before v1") as caught:
        create_provider("azure", api_key="k", base_url="https://x.openai.azure.com", api_version="2024-10-21")
    assert "preview" in str(caught.value.hint)
    create_provider("azure", api_key="k", base_url="https://gateway.example/az", api_version="2024-10-21")


def test_the_project_of_scaleway_is_in_the_address(tmp_path: Path) -> None:
    keep(tmp_path, "scaleway", project_id="1a2b-3c")
    with UnifiedLLM("scaleway", model="m") as llm:
        assert "https://api.scaleway.ai/1a2b-3c/v1" in repr(llm._router.provider())


def test_where_the_address_was_given_the_project_in_the_file_is_said_to_be_unused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with WireServer(json_reply(ANSWER)) as server, caplog.at_level(logging.WARNING, "unified_llm"):
        keep(tmp_path, "scaleway", project_id="1a2b-3c")
        assert asked(server, "scaleway", base_url=f"{server.url}/v1").target == "/v1/chat/completions"
    assert "scaleway has no use for project_id" in caplog.text


def test_region_and_project_reach_claude_on_vertex(tmp_path: Path) -> None:
    keep(tmp_path, "claude", region="europe-west1", project_id="p1")
    with WireServer(json_reply(MESSAGE)) as server:
        there: dict[str, Any] = {"platform": "vertex", "sdk_options": {"access_token": KEY}}
        sent = asked(server, "claude", model="claude-sonnet-5-5", base_url=f"{server.url}/v1", **there)
        place = "/v1/projects/p1/locations/europe-west1/publishers/anthropic/models"
        assert sent.target == f"{place}/claude-sonnet-5-5:rawPredict"
        assert sent.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("platform", ["bedrock", "aws"])
def test_the_region_reaches_the_client_of_amazon(
    tmp_path: Path, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_AWS_API_KEY"):  # so that nothing else is looked for
        monkeypatch.setenv(name, "token-0123456789")
    monkeypatch.setenv("ANTHROPIC_AWS_WORKSPACE_ID", "w1")
    keep(tmp_path, "claude", region="eu-west-3")
    with UnifiedLLM("claude", model="m", platform=platform) as llm:
        assert region_of(llm) == "eu-west-3"
    with UnifiedLLM("claude", model="m", platform=platform, sdk_options={"aws_region": "us-east-1"}) as llm:
        assert region_of(llm) == "us-east-1"
    with UnifiedLLM("claude", model="m", platform=platform, region="us-west-2") as llm:
        assert region_of(llm) == "us-west-2"


def region_of(llm: UnifiedLLM) -> Any:
    """The region of the SDK's own client, as it was made."""
    driver = cast("ClaudeProvider", llm._router.provider()).driver
    assert isinstance(driver, AnthropicSDKDriver)
    assert driver.settings.api_key is None, "the key of the API is no key of the cloud"
    return driver._open_line().client.aws_region


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path, "claude", region="eu-west-3")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")  # read by the SDK itself
    with UnifiedLLM("claude", model="m", platform="bedrock") as llm:
        assert region_of(llm) == "eu-north-1"


@pytest.mark.parametrize(
    ("provider", "field", "options"),
    [
        ("groq", "organization_id", {}),
        ("mistral", "region", {}),
        ("openai", "api_version", {}),
        ("claude", "region", {}),
        ("claude", "project_id", {"platform": "bedrock"}),
        ("ollama", "project_id", {}),
        ("offline", "region", {}),
    ],
)
def test_a_field_without_use_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, provider: str, field: str, options: dict[str, Any]
) -> None:
    keep(tmp_path, provider, **{field: "there"})
    with caplog.at_level(logging.WARNING, "unified_llm"):
        for _ in range(2):
            UnifiedLLM(provider, **options)
    said = [record.getMessage() for record in caplog.records]
    assert [f"{provider} has no use for {field}" in text for text in said] == [True]
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("provider", "options"),
    [
        ("groq", {"organization_id": "o"}),
        ("openai", {"api_version": "preview"}),
        ("openai", {"organization_id": 5}),
        ("openai", {"organization_id": "a\nb"}),
        ("llamacpp", {"organization_id": "o"}),
        ("claude", {"region": "eu-west-3"}),
        ("claude", {"platform": "foundry", "region": "eu-west-3"}),
        ("claude", {"platform": "bedrock", "region": "eu-west-3", "sdk_options": {"aws_region": "eu-west-1"}}),
    ],
    ids=str,
)
def test_given_explicitly_a_field_that_cannot_be_used_is_an_error(provider: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_provider(provider, api_key="k", **options)
    assert caught.value.hint


def test_places_of_your_own_may_give_them_too() -> None:
    class Vault:
        label = "vault"

        def get(self, provider: str, names: Sequence[str]) -> Mapping[str, str]:
            return {"api_key": KEY, "base_url": f"{server.url}/v1", "organization_id": "org-9"}

    with WireServer(json_reply(ANSWER)) as server:
        CHAIN.insert(1, Vault())
        try:
            sent = asked(server, "openai").headers
        finally:
            del CHAIN[1]
        assert (sent["openai-organization"], sent["authorization"]) == ("org-9", f"Bearer {KEY}")


def test_a_bearer_token_of_claude_stays_one_beside_a_file_of_your_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-0123456789")
    with WireServer(json_reply(MESSAGE)) as server:
        path = tmp_path / "own.json"
        asked(server, "claude", base_url=server.url, transport="http", config_path=path)
        assert "x-api-key" not in server.requests[-1].headers
        assert server.requests[-1].headers["authorization"] == "Bearer token-0123456789"


def test_a_bearer_token_in_a_file_of_your_own_is_sent_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"anthropic_auth_token": "token-0123456789"}), encoding="utf-8")
    own.chmod(0o600)
    with WireServer(json_reply(MESSAGE)) as server:
        sent = asked(server, "claude", base_url=server.url, transport="http", config_path=own).headers
    assert "x-api-key" not in sent
    assert sent["authorization"] == "Bearer token-0123456789"


def test_a_file_of_your_own_stands_in_the_place_of_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for config in PROVIDER_CONFIGS.values():
        for name in config.env:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LMSTUDIO_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.delenv("UNIFIED_LLM_PROVIDER", raising=False)
    keep(tmp_path, "mistral")  # in the usual file
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"groq": {"api_key": KEY}}), encoding="utf-8")
    own.chmod(0o600)
    with UnifiedLLM(config_path=own) as llm:
        assert "groq" in llm.available_providers
        assert "mistral" not in llm.available_providers
        assert llm._router.current_name() == "groq"
        with pytest.raises(MissingCredentialError) as caught:
            llm.set_provider("mistral")
        assert str(own) in str(caught.value.hint)
    with UnifiedLLM() as llm:
        assert llm._router.current_name() == "mistral"


def test_a_provider_of_yours_is_given_its_key_from_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(LLMProvider):
        name = "mine"

        def __init__(self, api_key: str | None = None, region: str = "here") -> None:
            self.key, self.region = api_key, region

        def chat(self, request: ChatRequest) -> ChatResponse:
            raise NotImplementedError

    monkeypatch.setitem(PROVIDER_CONFIGS, "mine", ProviderConfig(Mine, env=("MINE_KEY",)))
    keep(tmp_path, "mine", region="there")
    made = cast("Mine", UnifiedLLM("mine")._router.provider())
    assert (made.key, made.region) == (KEY, "there")
    made = cast("Mine", UnifiedLLM("mine", region="given")._router.provider())
    assert made.region == "given"


def test_a_keyring_is_asked_once_for_a_key_and_what_is_beside_it() -> None:
    class Counting(KeyringBackend):
        priority = 1
        asked = 0

        def get_password(self, service: str, username: str) -> str | None:
            self.asked += 1
            return json.dumps({"api_key": KEY, "organization_id": "org-7"}) if username == "openai" else None

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

        def delete_password(self, service: str, username: str) -> None:
            raise NotImplementedError

    before, mine = keyring.get_keyring(), Counting()  # type: ignore[no-untyped-call]  # keyring is half typed
    keyring.set_keyring(mine)
    try:
        with WireServer(json_reply(ANSWER)) as server:
            sent = asked(server, "openai", base_url=f"{server.url}/v1").headers
    finally:
        keyring.set_keyring(before)
    assert (sent["authorization"], sent["openai-organization"]) == (f"Bearer {KEY}", "org-7")
    assert mine.asked == 1
