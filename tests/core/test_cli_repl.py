"""The conversation in the terminal, its commands and its history (in this process, with typed lines)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testkit.cli import CliResult, run_cli, scripted_provider
from unified_llm import Message
from unified_llm.testing import Cut, Failure, Reply, ToolCall


def talk(*lines: str, argv: tuple[str, ...] = ("-m", "scripted:m1")) -> CliResult:
    """Type these lines in a conversation, then Ctrl-D."""
    return run_cli("chat", *argv, input="".join(f"{line}\n" for line in lines), typing=True)


def roles(request: object) -> list[str]:
    return [m["role"] for m in request.messages]  # type: ignore[attr-defined]


def test_the_history_goes_along() -> None:
    with scripted_provider("Hello Ann.", "You are Ann.") as provider:
        result = talk("I am Ann", "Who am I?")
    assert result.code == 0
    assert result.out == "Hello Ann.\nYou are Ann.\n"
    assert roles(provider.requests[1]) == ["user", "assistant", "user"]


def test_a_failed_message_is_reported_and_leaves_no_trace() -> None:
    with scripted_provider(Failure(status=429, message="slow down"), Reply("x y z", cut=Cut(after=1)), "Fine.") as p:
        result = talk("one", "two", "three", argv=("-m", "scripted:", "--retries", "0"))
    assert result.code == 0
    assert result.err.count("error: ") == 2
    assert roles(p.requests[2]) == ["user"]


def test_empty_lines_are_not_sent() -> None:
    with scripted_provider("ok") as provider:
        talk("", "   ", "Hi")
    assert len(provider.requests) == 1


def test_three_quotes_hold_several_lines() -> None:
    with scripted_provider("ok") as provider:
        talk('"""first', "", 'third"""')
    assert provider.requests[0].prompt == "first\n\nthird"


def test_two_slashes_send_one() -> None:
    with scripted_provider("ok") as provider:
        talk("//help me")
    assert provider.requests[0].prompt == "/help me"


def test_the_first_attachment_is_sent_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("milk", encoding="utf-8")
    with scripted_provider("one", "two") as provider:
        talk("What?", "And?", argv=("-m", "scripted:", "-f", str(tmp_path / "a.txt")))
    assert "milk" in provider.requests[0].prompt
    assert provider.requests[1].prompt == "And?"


def test_tools_work_in_a_conversation(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("def now() -> str:\n    return 'noon'\n", encoding="utf-8")
    with scripted_provider(ToolCall("now", {}), "It is noon.", "As I said.") as provider:
        talk("Time?", "Again?", argv=("-m", "scripted:", "--tools", str(tmp_path / "t.py")))
    assert roles(provider.requests[2]) == ["user", "assistant", "tool", "assistant", "user"]


class TestCommands:
    def test_help_names_every_command(self) -> None:
        from unified_llm.cli.repl import COMMANDS

        with scripted_provider():
            shown = talk("/help").err
        assert all(f"/{name}" in shown for name in COMMANDS if name != "exit")

    @pytest.mark.parametrize("word", ["/quit", "/exit"])
    def test_quit_leaves(self, word: str) -> None:
        with scripted_provider() as provider:
            assert talk(word, "not sent").code == 0
        assert not provider.requests

    def test_an_unknown_command_is_not_sent_and_guessed(self) -> None:
        with scripted_provider() as provider:
            result = talk("/modle x")
        assert "did you mean /model?" in result.err
        assert not provider.requests

    def test_model_is_shown_and_changed_in_mid_conversation(self) -> None:
        with scripted_provider("one", "two") as provider:
            result = talk("Hi", "/model", "/model m2", "/model", "And?")
        assert [r.body["model"] for r in provider.requests] == ["m1", "m2"]
        assert roles(provider.requests[1]) == ["user", "assistant", "user"]
        assert "model: scripted:m1" in result.err
        assert "model: scripted:m2" in result.err

    def test_model_changes_the_provider_too(self) -> None:
        with scripted_provider("one") as first, scripted_provider("two", name="other") as second:
            talk("Hi", "/model other:m9", "And?")
        assert len(first.requests) == 1
        assert second.requests[0].body["model"] == "m9"
        assert roles(second.requests[0]) == ["user", "assistant", "user"]

    def test_a_model_that_cannot_be_used_leaves_the_old_one(self) -> None:
        with scripted_provider("still here") as provider:
            result = talk("/model claude:claude-sonnet-5-5", "Hi")
        assert "ANTHROPIC_API_KEY" in result.err
        assert provider.requests[0].body["model"] == "m1"

    def test_system_is_set_shown_and_removed(self) -> None:
        with scripted_provider("one", "two") as provider:
            result = talk("/system Be brief.", "Hi", "/system", "/system -", "And?")
        assert provider.requests[0].system == "Be brief."
        assert not provider.requests[1].system
        assert "system prompt: Be brief." in result.err

    def test_clear_forgets_but_keeps_the_system_prompt(self) -> None:
        with scripted_provider("one", "two") as provider:
            talk("Hi", "/clear", "And?", argv=("-m", "scripted:", "-s", "Be brief."))
        assert provider.requests[1].system == "Be brief."
        assert [r for r in roles(provider.requests[1]) if r != "system"] == ["user"]

    def test_attach_adds_to_the_next_message(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("milk", encoding="utf-8")
        with scripted_provider("one", "two") as provider:
            result = talk(f"/attach {tmp_path / 'a.txt'}", "What?", "/attach nowhere.txt", "And?")
        assert "milk" in provider.requests[0].prompt
        assert provider.requests[1].prompt == "And?"
        assert "cannot read nowhere.txt" in result.err

    def test_save_writes_markdown_and_json_and_overwrites_nothing(self, tmp_path: Path) -> None:
        markdown, data = tmp_path / "talk.md", tmp_path / "talk.json"
        with scripted_provider("Hello."):
            result = talk("Hi", f"/save {markdown}", f"/save {data}", f"/save {markdown}", "/save")
        assert markdown.read_text(encoding="utf-8") == "## user\n\nHi\n\n## assistant\n\nHello.\n"
        messages = [Message.from_dict(m) for m in json.loads(data.read_text(encoding="utf-8"))]
        assert [(m.role, m.text) for m in messages] == [("user", "Hi"), ("assistant", "Hello.")]
        assert f"{markdown} exists" in result.err
        assert "/save needs a file name" in result.err


def test_the_prompt_is_not_written_into_a_file() -> None:
    with scripted_provider("Hello."):
        result = talk("Hi")
    assert ">" not in result.out
    assert "> " in result.err
