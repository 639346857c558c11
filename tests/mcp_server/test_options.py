"""Options that make no sense are refused before anything is served, each with what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from unified_llm_mcp import main
from unified_llm_mcp.cli import _http_settings, _parser, _settings

OAUTH = [
    *("--oauth-issuer", "https://id.example.org"),
    *("--oauth-jwks", "https://id.example.org/jwks"),
    *("--oauth-resource", "https://llm.example.org/mcp"),
]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-spend", "-1"], "max_spend_usd must be 0 or more"),
        (["--max-spend", "nan"], "max_spend_usd"),
        (["--max-wait", "nan"], "max_wait"),
        (["--timeout", "0"], "timeout must be greater than 0"),
        (["--max-tokens", "0"], "max_tokens"),
        (["--max-concurrency", "-3"], "max_concurrency"),
        (["--allow-dir", "/nonexistent/folder"], "/nonexistent/folder is no folder"),
        (["--allow-dir", __file__], "is no folder"),
        (["--http", "--port", "99999"], "99999 is no port"),
        (["--http", "--port", "-1"], "-1 is no port"),
        (["--http", "--path", "mcp"], "'mcp' cannot be the path"),
        (["--http", "--path", "/mcp/{name}"], "cannot be the path"),
        (["--port", "9000"], "--port is for HTTP"),
        (["--token-file", "/nonexistent/tokens"], "--token-file is for HTTP"),
        (["--oauth-issuer", "https://id.example.org"], "--oauth-issuer is for HTTP"),
        (["--http", "--oauth-issuer", "https://id.example.org"], "--oauth-jwks"),
        (["--http", "--oauth-scope", "llm"], "--oauth-issuer"),
        (["--http", *OAUTH, "--oauth-issuer", "notaurl"], "'notaurl', is no URL"),
        (["--http", *OAUTH, "--oauth-resource", "x y"], "'x y', is no URL"),
        (["--http", *OAUTH, "--oauth-jwks", "https://[x"], "keys is no URL"),
        (["--http", "--host", "0.0.0.0"], "UNIFIED_LLM_MCP_TOKEN"),
        (["--http", "--allowed-host", ""], "'' is no value of the header Host"),
        (["--http", "--allowed-host", "*"], "'*' is no value"),
        (["--http", "--allowed-host", "*.example.org"], "'*.example.org' is no value"),
        (["--http", "--allowed-host", "https://llm.example.org"], "'https://llm.example.org' is no value"),
        (["--http", "--allowed-origin", "*"], "'*' is no value of the header Origin"),
        (["--http", "--allowed-origin", "app.example.org"], "'app.example.org' is no value"),
        (["--http", "--allowed-origin", "https://app.example.org/"], "without a path"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_a_hint(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "→" in shown.err
    assert shown.out == ""


def test_the_endpoint_cannot_be_where_no_token_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-0123456789ab", encoding="utf-8")
    assert main(["--http", "--token-file", str(tokens), "--path", "/health"]) == 2
    assert "without a token" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "two words", "x" * 33, "a/b"])
def test_a_name_that_some_client_refuses_is_not_installed(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "mcp.json"
    assert main(["install", "--client", "cursor", "--config", str(config), "--name", name]) == 2
    assert "no name that every client takes" in capsys.readouterr().err
    assert not config.exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_closed_standard_streams_are_said(closed: str) -> None:
    command = ["sh", "-c", f'exec "$0" -m unified_llm_mcp {closed}', sys.executable]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", timeout=30, check=False
    )
    assert done.returncode == 2
    assert "is closed" in done.stderr
    assert "Traceback" not in done.stderr


def test_lifetimes_and_sizes_are_options() -> None:
    parser = _parser()
    given = parser.parse_args(
        [
            *("--heartbeat", "2", "--conversation-ttl", "60", "--result-ttl", "30", "--max-attachment-bytes", "1000"),
            *("--http", "--max-body-bytes", "2000"),
        ]
    )
    settings = _settings(given)
    assert (settings.heartbeat, settings.conversation_ttl, settings.result_ttl) == (2, 60, 30)
    assert settings.max_attachment_bytes == 1000
    assert _http_settings(given).max_body_bytes == 2000
