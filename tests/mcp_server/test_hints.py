"""What is said to do is something that a model, or the person who runs the server, can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.mcp_clients import in_memory
from testkit.probe_provider import ProbeProvider
from unified_llm import UnifiedLLM
from unified_llm.errors import MissingDependencyError, StreamInterruptedError
from unified_llm_mcp import Settings, build_server
from unified_llm_mcp.failures import failure_of
from unified_llm_mcp.hints import for_callers


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (None, None),
        ("check the address", "check the address"),
        ("set ANTHROPIC_API_KEY; or pass api_key=...; or put it there", "set ANTHROPIC_API_KEY; put it there"),
        ("the text is in .partial; ask again or relax the schema", "ask again or relax the schema"),
        ("pass model='...' (see list_models() or `unified-llm models list`)", None),
        ("raise deadline=, or add fallbacks=[...]", None),
        (
            "wait (see retry_after) or send fewer requests; a retry policy does it for you",
            "wait or send fewer requests",
        ),
        ("the answer was cut by max_tokens: raise it", "the answer was cut by max_tokens: raise it"),
    ],
)
def test_what_only_a_python_programmer_can_do_is_left_out(hint: str | None, told: str | None) -> None:
    assert for_callers(hint) == told


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("the connection broke: try again; .partial holds what arrived", "the connection broke: try again"),
        ("see the log of the server", "see the log of the server; call it again"),
        (None, "call it again"),
    ],
)
def test_a_call_that_was_interrupted_is_to_be_made_again_which_is_said_once(hint: str | None, told: str) -> None:
    assert failure_of(StreamInterruptedError("it broke", hint=hint), ["chat"]).hint == told


def test_the_home_folder_of_the_server_is_not_told() -> None:
    assert for_callers(f"look into {Path.home()}/.config") == "look into ~/.config"


def test_what_is_to_be_installed_is_installed_where_the_server_runs() -> None:
    told = str(for_callers('pip install "unified-llm[local]"; or use transport="http"'))
    assert told.startswith("whoever runs the server")
    assert 'uvx "unified-llm-mcp[local]"' in told
    assert "transport" not in told


async def test_a_missing_package_is_told_so_in_results_and_lists() -> None:
    class Missing(ProbeProvider):
        async def list_models_async(self):  # type: ignore[no-untyped-def]  # always raises
            raise MissingDependencyError("it is not there", hint='pip install "unified-llm[local]", or use x="y"')

    provider = Missing()
    provider.error = MissingDependencyError("it is not there", hint='pip install "unified-llm[local]"; x="y"')
    async with in_memory(build_server(UnifiedLLM(provider=provider), Settings())) as client:
        chat = await client.call("chat", prompt="x")
        listed = await client.call("list_models")
    assert "whoever runs the server" in chat.text
    assert "whoever runs the server" in listed.structured["errors"]["probe"]
    assert 'x="y"' not in chat.text + listed.text


async def test_an_attachment_that_cannot_be_read_is_named_as_the_caller_named_it(tmp_path: Path) -> None:
    (tmp_path / "real-place").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real-place")
    server = build_server(UnifiedLLM(provider=ProbeProvider()), Settings(allow_dirs=(tmp_path,)))
    async with in_memory(server) as client:
        result = await client.call("chat", prompt="x", attachments=[str(tmp_path / "link" / "absent")])
    assert "link/absent" in result.text
    assert "real-place" not in result.text
