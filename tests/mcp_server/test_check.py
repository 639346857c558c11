"""``check``: starts the server and calls every tool once."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from unified_llm_mcp import main
from unified_llm_mcp.check import _said_chat, check


async def test_every_tool_is_called_once_and_says_what_it_found() -> None:
    outcomes = {outcome.step: outcome for outcome in await check(["--model", "offline:", "--embed-model", "offline:"])}
    assert list(outcomes) == ["start", "list_models", "chat", "embed", "get_response"]
    assert all(outcome.ok for outcome in outcomes.values())
    assert "offline" in outcomes["chat"].said
    assert "numbers" in outcomes["embed"].said


async def test_a_step_that_fails_says_why_and_the_others_go_on() -> None:
    outcomes = {outcome.step: outcome for outcome in await check(["--model", "openai:gpt-5-mini"])}
    assert not outcomes["chat"].ok
    assert "OPENAI_API_KEY" in outcomes["chat"].said
    assert outcomes["get_response"].ok


async def test_a_chat_that_only_became_a_handle_is_no_success() -> None:
    with pytest.raises(RuntimeError, match="not answered in time"):
        _said_chat({"status": "running", "text": ""})


async def test_a_server_that_does_not_start_is_said() -> None:
    (outcome,) = await check(["--tools", "fly"])
    assert (outcome.step, outcome.ok) == ("start", False)


def test_the_command_prints_a_line_for_each_step_and_fails_when_one_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check", "--", "--model", "offline:", "--tools", "chat,get_response"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["ok", "start"],
        ["ok", "chat"],
        ["ok", "get_response"],
    ]
    assert main(["check", "--", "--model", "openai:x", "--tools", "chat"]) == 1
    assert "FAIL chat" in capsys.readouterr().out


async def test_the_console_script_and_the_module_are_the_same_command() -> None:
    script = Path(sys.executable).with_name("unified-llm-mcp")
    for command in ([str(script)], [sys.executable, "-m", "unified_llm_mcp"]):
        process = await asyncio.create_subprocess_exec(
            *command, "--version", stdout=asyncio.subprocess.PIPE, env={"PATH": os.defpath}
        )
        output, _ = await process.communicate()
        assert (process.returncode, output) == (0, b"0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--", "--http"], "leave out --http"),
        (["--", "--tools", "fly"], "unknown tool 'fly'"),
        (["--seconds", "0"], "--seconds must be greater than 0"),
        (["--seconds", "nan"], "--seconds must be greater than 0"),
    ],
)
def test_what_could_not_be_checked_is_said_at_once(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("check", 2)])
def test_what_is_no_argument_of_a_server_that_serves_is_answered_like_by_the_server(argument: str, code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", "--", argument])
    assert ended.value.code == code
