"""`unified-llm chat` with one prompt: what is asked, what is written where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.cli import run_cli, scripted_provider
from unified_llm.codecs.base import CodecContext
from unified_llm.profiles import Profile
from unified_llm.testing import Cut, Failure, Reply

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)


def test_the_answer_goes_to_stdout_with_one_line_end() -> None:
    with scripted_provider("Hello, you."):
        result = run_cli("chat", "Hi", "-m", "scripted:")
    assert (result.code, result.out, result.err) == (0, "Hello, you.\n", "")


def test_an_answer_that_ends_its_line_gets_no_second_line_end() -> None:
    with scripted_provider("Hello.\n"):
        assert run_cli("chat", "Hi", "-m", "scripted:").out == "Hello.\n"


def test_several_words_are_one_prompt() -> None:
    with scripted_provider("ok") as provider:
        run_cli("chat", "why", "is", "the sky", "blue?", "-p", "scripted")
    assert provider.requests[0].prompt == "why is the sky blue?"


def test_bytes_of_an_argument_that_are_no_text_are_replaced() -> None:
    with scripted_provider("ok") as provider:
        run_cli("chat", "caf\udce9", "-m", "scripted:", "-s", "\udcff")
    assert provider.requests[0].prompt == "caf\ufffd"
    assert provider.requests[0].system == "\ufffd"


def test_the_options_reach_the_request() -> None:
    with scripted_provider("ok") as provider:
        run_cli(
            "chat", "Hi", "-m", "scripted:some-model", "--system", "Be brief.", "--temperature", "0.25",
            "--max-tokens", "17", "--effort", "low",
        )  # fmt: skip
    request = provider.requests[0]
    assert request.system == "Be brief."
    assert request.body["model"] == "some-model"
    assert request.body["temperature"] == 0.25
    assert 17 in (request.body.get("max_tokens"), request.body.get("max_completion_tokens"))
    assert request.body["stream"] is True


def test_no_stream_asks_for_the_whole_answer_at_once() -> None:
    with scripted_provider("Hello.") as provider:
        result = run_cli("chat", "Hi", "-m", "scripted:", "--no-stream")
    assert result.out == "Hello.\n"
    assert not provider.requests[0].body.get("stream")


class TestStdin:
    def test_alone_it_is_the_prompt(self) -> None:
        with scripted_provider("ok") as provider:
            run_cli("chat", "-m", "scripted:", input="What is this?\n")
        assert provider.requests[0].prompt.strip() == "What is this?"

    def test_with_a_prompt_it_is_appended_between_fences(self) -> None:
        with scripted_provider("ok") as provider:
            run_cli("chat", "Summarise", "-m", "scripted:", input="line 1\nline 2\n")
        assert provider.requests[0].prompt == "Summarise\n\nInput:\n```\nline 1\nline 2\n```"

    def test_fences_inside_it_do_not_end_the_fence(self) -> None:
        with scripted_provider("ok") as provider:
            run_cli("chat", "Summarise", "-m", "scripted:", input="````\ncode\n````")
        assert provider.requests[0].prompt.endswith("`````\n````\ncode\n````\n`````")

    def test_a_device_such_as_dev_null_is_no_input(self) -> None:
        with Path(os.devnull).open(encoding="utf-8") as null:
            done = subprocess.run(
                [sys.executable, "-m", "unified_llm", "chat", "-p", "offline"],
                stdin=null,
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 2
        assert "there is no prompt" in done.stderr

    @pytest.mark.parametrize("given", ["", " \n\n"])
    def test_nothing_to_ask_is_wrong_usage(self, given: str) -> None:
        result = run_cli("chat", "-p", "offline", input=given)
        assert result.code == 2
        assert result.err.startswith("error: there is no prompt")

    def test_a_byte_order_mark_is_left_out(self) -> None:
        with scripted_provider("ok") as provider:
            run_cli("chat", "-m", "scripted:", input="\ufeffHi".encode())
        assert provider.requests[0].prompt == "Hi"

    def test_utf_16_with_its_mark_is_read(self) -> None:
        with scripted_provider("ok") as provider:
            run_cli("chat", "-m", "scripted:", input="Grüße".encode("utf-16"))
        assert provider.requests[0].prompt == "Grüße"

    def test_bytes_that_are_no_text_are_replaced_and_noted(self) -> None:
        with scripted_provider("ok") as provider:
            result = run_cli("chat", "-m", "scripted:", input=b"caf\xe9 latin-1")
        assert provider.requests[0].prompt == "caf\ufffd latin-1"
        assert "stdin is not UTF-8 (byte 3)" in result.err

    def test_binary_data_is_refused_with_a_way_out(self) -> None:
        result = run_cli("chat", "What is it?", "-p", "offline", input=PNG)
        assert result.code == 2
        assert "--image -" in result.err


class TestAttachments:
    def test_an_image_comes_before_the_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(PNG)
        with scripted_provider("ok") as provider:
            run_cli("chat", "What?", "-m", "scripted:", "-i", str(tmp_path / "a.png"))
        kinds = [part["type"] for part in provider.requests[0].messages[-1]["content"]]
        assert kinds == ["image_url", "text"]

    def test_an_image_may_be_piped_in(self) -> None:
        with scripted_provider("ok") as provider:
            result = run_cli("chat", "What?", "-m", "scripted:", "--image", "-", input=PNG)
        assert result.code == 0
        assert provider.requests[0].messages[-1]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")

    def test_a_text_file_becomes_part_of_the_prompt(self, tmp_path: Path) -> None:
        (tmp_path / "notes.md").write_text("remember the milk\n", encoding="utf-8")
        with scripted_provider("ok") as provider:
            run_cli("chat", "What?", "-m", "scripted:", "-f", str(tmp_path / "notes.md"))
        assert provider.requests[0].prompt == "File notes.md:\n```\nremember the milk\n```\n\nWhat?"

    def test_a_pdf_stays_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.4\n%\xe2\xe3\n")
        with scripted_provider("ok") as provider:
            run_cli("chat", "What?", "-m", "scripted:", "-f", str(tmp_path / "paper.pdf"))
        part = provider.requests[0].messages[-1]["content"][0]
        assert part["type"] == "file"
        assert part["file"]["filename"] == "paper.pdf"

    def test_files_alone_are_a_prompt(self, tmp_path: Path) -> None:
        (tmp_path / "q.txt").write_text("Who are you?", encoding="utf-8")
        with scripted_provider("ok") as provider:
            assert run_cli("chat", "-m", "scripted:", "-f", str(tmp_path / "q.txt")).code == 0
        assert "Who are you?" in provider.requests[0].prompt

    def test_a_file_that_is_not_there_is_named(self) -> None:
        result = run_cli("chat", "What?", "-p", "offline", "-f", "no/such/file.txt")
        assert result.code == 2
        assert "no/such/file.txt" in result.err

    def test_an_image_that_is_none_is_refused_before_anything_is_sent(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_text("not an image", encoding="utf-8")
        with scripted_provider("ok") as provider:
            result = run_cli("chat", "What?", "-m", "scripted:", "-i", str(tmp_path / "a.png"))
        assert result.code == 2
        assert "no image" in result.err
        assert not provider.requests

    def test_stdin_can_be_attached_once(self) -> None:
        assert run_cli("chat", "What?", "-p", "offline", "-i", "-", "-f", "-", input=PNG).code == 2


class TestJson:
    def test_the_answer_is_one_object(self) -> None:
        with scripted_provider("Hello."):
            result = run_cli("chat", "Hi", "-m", "scripted:m1", "--json")
        assert result.code == 0
        assert result.out.count("\n") == 1
        assert result.json["text"] == "Hello."
        assert result.json["model"] == "m1"
        assert result.json["finish_reason"] == "stop"
        assert result.json["usage"]["total_tokens"] > 0

    def test_with_stream_each_event_is_one_line(self) -> None:
        with scripted_provider(Reply("One two three.", thinking="hmm")):
            result = run_cli("chat", "Hi", "-m", "scripted:", "--json", "--stream")
        kinds = [event["type"] for event in result.events]
        assert kinds[0] == "start"
        assert kinds[-1] == "end"
        assert "thinking_delta" in kinds
        text = "".join(e["text"] for e in result.events if e["type"] == "text_delta")
        assert text == result.events[-1]["response"]["text"] == "One two three."

    def test_without_a_prompt_it_never_starts_a_conversation(self) -> None:
        result = run_cli("chat", "--json", "-p", "offline", typing=True)
        assert result.code == 2
        assert "there is no prompt" in result.json["error"]["message"]

    def test_an_error_is_an_object_on_stdout_and_a_block_on_stderr(self) -> None:
        with scripted_provider(Failure(status=429, message="slow down", headers={"retry-after": "7"})):
            result = run_cli("chat", "Hi", "-m", "scripted:", "--json", "--retries", "0")
        assert result.code == 4
        error = result.json["error"]
        assert error["type"] == "RateLimitError"
        assert error["status"] == 429
        assert error["retry_after"] == 7
        assert error["retryable"] is True
        assert error["exit_code"] == 4
        assert result.err.startswith("error: ")

    def test_a_cut_stream_ends_with_an_error_line_that_holds_the_partial_text(self) -> None:
        with scripted_provider(Reply("One two three four.", cut=Cut(after=2))):
            result = run_cli("chat", "Hi", "-m", "scripted:", "--json", "--stream")
        assert result.code == 4
        assert result.events[-1]["error"]["type"] == "StreamInterruptedError"
        assert "One two three four.".startswith(result.events[-1]["error"]["partial"]["text"])

    def test_an_encoding_that_is_not_utf_8_gets_valid_json(self) -> None:
        with scripted_provider("Grüße 日本"):
            result = run_cli("chat", "Hi", "-m", "scripted:", "--json", encoding="latin-1")
        assert result.json["text"] == "Grüße 日本"


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "code"), [(400, 1), (401, 1), (403, 1), (404, 1), (413, 1), (429, 4), (500, 4), (503, 4), (529, 4)]
    )
    def test_each_status_has_its_exit_code(self, status: int, code: int) -> None:
        with scripted_provider(Failure(status=status, message="no")):
            result = run_cli("chat", "Hi", "-m", "scripted:", "--retries", "0")
        assert result.code == code
        assert f"HTTP {status}" in result.err
        assert "Traceback" not in result.err

    def test_a_missing_key_names_the_variable_and_is_exit_code_3(self) -> None:
        result = run_cli("chat", "Hi", "-p", "claude")
        assert result.code == 3
        assert "ANTHROPIC_API_KEY" in result.err
        assert "unified-llm doctor" in result.err
        assert "api_key=" not in result.err

    def test_an_unknown_provider_is_guessed(self) -> None:
        result = run_cli("chat", "Hi", "-p", "cluade")
        assert result.code == 3
        assert "did you mean 'claude'" in result.err
        assert "--base-url" in result.err

    def test_two_providers_that_disagree_are_refused(self) -> None:
        assert run_cli("chat", "Hi", "-p", "offline", "-m", "claude:x").code == 3

    def test_a_bad_base_url_is_exit_code_3(self) -> None:
        assert run_cli("chat", "Hi", "--base-url", "127.0.0.1:8080", "-m", "x").code == 3

    @pytest.mark.parametrize("argv", [("--temperature", "9"), ("--thinking", "perhaps"), ("--thinking", "-1")])
    def test_an_impossible_value_is_wrong_usage(self, argv: tuple[str, ...]) -> None:
        result = run_cli("chat", "Hi", "-p", "offline", *argv)
        assert result.code == 2
        assert result.err.startswith("error: ")

    def test_an_unknown_model_says_how_to_list_them(self) -> None:
        with scripted_provider(models=["m1"]):
            result = run_cli("chat", "Hi", "-m", "scripted:m2")
        assert result.code == 1
        assert "unified-llm models list" in result.err

    def test_the_text_of_a_cut_stream_stays(self) -> None:
        with scripted_provider(Reply("One two three four.", cut=Cut(after=2))):
            result = run_cli("chat", "Hi", "-m", "scripted:")
        assert result.code == 4
        assert result.out.strip()
        assert "One two three four.".startswith(result.out.strip())
        assert result.out.endswith("\n")

    def test_debug_shows_the_traceback(self) -> None:
        with scripted_provider(Failure(status=500)):
            result = run_cli("chat", "Hi", "-m", "scripted:", "--debug", "--retries", "0")
        assert "Traceback (most recent call last)" in result.err

    def test_no_key_is_ever_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        key = "sk-ant-api03-verysecretverysecret0123456789"
        monkeypatch.setenv("ANTHROPIC_API_KEY", key)
        with scripted_provider(Failure(status=401, message=f"invalid x-api-key: {key}")):
            result = run_cli("chat", "Hi", "-m", "scripted:", "--json", "--debug", "-v")
        assert result.code == 1
        assert key not in result.out + result.err
        assert "[redacted]" in result.err


class TestNotes:
    def test_the_choice_of_auto_is_explained_in_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNIFIED_LLM_PROVIDER", "scripted")
        with scripted_provider("ok"):
            result = run_cli("chat", "Hi")
        assert result.err == "using scripted: UNIFIED_LLM_PROVIDER\n"
        assert result.out == "ok\n"

    def test_an_explicit_choice_is_not_repeated(self) -> None:
        with scripted_provider("ok"):
            assert run_cli("chat", "Hi", "-p", "scripted").err == ""

    def test_verbose_shows_model_tokens_and_time(self) -> None:
        with scripted_provider("ok"):
            result = run_cli("chat", "Hi", "-m", "scripted:m1", "-v")
        assert result.out == "ok\n"
        assert "m1" in result.err
        assert "tokens in" in result.err
        assert " s" in result.err

    def test_an_answer_cut_by_the_token_limit_is_noted(self) -> None:
        with scripted_provider(Reply("One two", finish_reason="length")):
            result = run_cli("chat", "Hi", "-m", "scripted:")
        assert result.code == 0
        assert "--max-tokens" in result.err

    def test_an_empty_answer_is_noted(self) -> None:
        with scripted_provider(Reply("")):
            result = run_cli("chat", "Hi", "-m", "scripted:")
        assert result.out == ""
        assert "no text" in result.err

    def test_thinking_is_shown_on_stderr_only_when_asked_for(self) -> None:
        reply = Reply("Four.", thinking="Two and two")
        with scripted_provider(reply, reply):
            quiet = run_cli("chat", "2+2?", "-m", "scripted:")
            shown = run_cli("chat", "2+2?", "-m", "scripted:", "--thinking", "on")
        assert (quiet.out, quiet.err) == ("Four.\n", "")
        assert (shown.out, shown.err.strip()) == ("Four.\n", "Two and two")

    def test_a_dropped_option_is_a_note(self) -> None:
        limited = Profile("limited", unsupported=frozenset({"temperature"}))
        with scripted_provider("ok") as provider:
            provider.context = CodecContext("scripted", limited)
            result = run_cli("chat", "Hi", "-m", "scripted:", "--temperature", "1")
        assert result.out == "ok\n"
        assert result.err.startswith("note: ")
        assert "temperature" in result.err

    def test_a_retry_is_a_note(self) -> None:
        with scripted_provider(Failure(status=503, message="busy", headers={"retry-after": "0"}), "ok"):
            result = run_cli("chat", "Hi", "-m", "scripted:")
        assert result.out == "ok\n"
        assert "busy; trying again in" in result.err

    def test_a_fallback_is_a_note(self) -> None:
        with scripted_provider(Failure(status=401, message="no")), scripted_provider("ok", name="other"):
            result = run_cli("chat", "Hi", "-m", "scripted:", "--fallback", "other:m2")
        assert result.out == "ok\n"
        assert "asking other:m2 instead" in result.err


class TestTerminals:
    def test_escape_sequences_of_a_model_do_not_reach_a_terminal(self) -> None:
        with scripted_provider("\x1b]0;owned\x07hi\x1b[31m"):
            result = run_cli("chat", "Hi", "-m", "scripted:", terminal=True)
        assert "\x1b]0" not in result.out
        assert "\x07" not in result.out
        assert "hi" in result.out

    def test_in_a_pipe_everything_passes(self) -> None:
        with scripted_provider("\x1b[31mred"):
            assert run_cli("chat", "Hi", "-m", "scripted:").out == "\x1b[31mred\n"

    def test_colours_are_for_terminals_that_want_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert "\x1b[31merror:" in run_cli("chat", "Hi", "-p", "nope", terminal=True).err
        monkeypatch.setenv("NO_COLOR", "1")
        assert "\x1b[31m" not in run_cli("chat", "Hi", "-p", "nope", terminal=True).err
        monkeypatch.delenv("NO_COLOR")
        monkeypatch.setenv("TERM", "dumb")
        assert "\x1b" not in run_cli("chat", "Hi", "-p", "nope", terminal=True).err

    def test_what_is_waited_for_is_shown_until_the_answer_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm")
        with scripted_provider(Reply("Four.", thinking="Two and two")):
            result = run_cli("chat", "2+2?", "-m", "scripted:", terminal=True)
        waiting, thinking, cleared = result.err.split("\r\x1b[2K")[1:]
        assert "waiting for the answer" in waiting
        assert "thinking" in thinking
        assert cleared == ""
        assert result.out == "Four.\n"

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
    def test_no_character_stops_the_answer(self, encoding: str) -> None:
        with scripted_provider("snow ☃ and 日本"):
            result = run_cli("chat", "Hi", "-m", "scripted:", encoding=encoding)
        assert result.code == 0
        assert result.out == "snow \\u2603 and \\u65e5\\u672c\n"

    def test_the_arrow_of_a_hint_has_an_ascii_form(self) -> None:
        assert "\n  -> " in run_cli("chat", "Hi", "-p", "nope", encoding="ascii").err


def test_a_newcomer_without_key_server_or_model_is_told_how_to_get_one(tmp_path: Path) -> None:
    """The whole first run, as a process: short, and nothing said twice."""
    env = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_AUTH_TOKEN", "_BASE_URL"))}
    env |= {"HOME": str(tmp_path), "UNIFIED_LLM_PROVIDER": "offline"}
    done = subprocess.run(
        [sys.executable, "-m", "unified_llm", "chat", "Hello"], env=env, capture_output=True, text=True, check=True
    )
    assert "not a language model" in done.stdout
    for way in ("ANTHROPIC_API_KEY", "LM Studio", "unified-llm models pull"):
        assert (done.stdout + done.stderr).count(way) == 1
    assert len(done.stdout.splitlines()) <= 10


def test_json_of_a_process_is_parseable() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unified_llm", "chat", "Hello", "-p", "offline", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["provider"] == "offline"
    assert done.stderr == ""
