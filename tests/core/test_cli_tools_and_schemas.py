"""`unified-llm chat --schema` and `--tools`: what they point to, and what is run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.cli import run_cli, scripted_provider
from unified_llm.testing import ToolCall

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = '''
from datetime import date

from unified_llm import Tool

def weather(city: str, day: date = date(2026, 1, 1)) -> dict:
    """Weather of a city."""
    return {"city": city, "day": day, "weekday": day.strftime("%A")}

async def wait(seconds: float) -> str:
    """Wait."""
    return f"waited {seconds}"

def broken() -> str:
    """Always fails."""
    raise RuntimeError("out of order")

def _private() -> None: ...
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a module of tools and classes; imports of it are forgotten afterwards."""
    (tmp_path / "cli_sample.py").write_text(TOOLS, encoding="utf-8")
    (tmp_path / "cli_shapes.py").write_text(
        "from pydantic import BaseModel\nclass City(BaseModel):\n    city: str\nnumber = 3\n", encoding="utf-8"
    )
    (tmp_path / "city.json").write_text(json.dumps(CITY), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith(("cli_", "unified_llm_user_")):
            del sys.modules[name]


class TestSchema:
    @pytest.mark.parametrize("where", ["city.json", json.dumps(CITY), "cli_shapes:City", "cli_shapes.py:City"])
    def test_every_form_asks_for_the_schema_and_prints_indented_json(self, folder: Path, where: str) -> None:
        with scripted_provider({"city": "Łódź"}) as provider:
            result = run_cli("chat", "Where?", "-m", "scripted:", "--schema", where)
        assert result.code == 0
        assert result.out == '{\n  "city": "Łódź"\n}\n'
        asked = provider.requests[0].body["response_format"]["json_schema"]["schema"]
        assert asked["properties"]["city"]["type"] == "string"

    def test_json_carries_the_parsed_value(self, folder: Path) -> None:
        with scripted_provider({"city": "Oslo"}):
            result = run_cli("chat", "Where?", "-m", "scripted:", "--schema", "cli_shapes:City", "--json")
        assert result.json["parsed"] == {"city": "Oslo"}

    def test_an_answer_that_does_not_fit_is_an_error_and_is_shown(self, folder: Path) -> None:
        with scripted_provider('{"town": "Oslo"}'):
            result = run_cli("chat", "Where?", "-m", "scripted:", "--schema", "cli_shapes:City")
        assert result.code == 1
        assert result.out == ""
        assert '{"town": "Oslo"}' in result.err
        assert "city" in result.err

    def test_an_error_with_json_is_the_only_object(self, folder: Path) -> None:
        with scripted_provider("no json"):
            result = run_cli("chat", "Where?", "-m", "scripted:", "--schema", "city.json", "--json")
        assert result.code == 1
        assert result.json["error"]["type"] == "StructuredOutputError"
        assert result.json["error"]["partial"]["text"] == "no json"

    @pytest.mark.parametrize(
        ("where", "says"),
        [
            ("{not json", "not JSON"),
            ("nowhere.json", "cannot read nowhere.json"),
            ("what is this?", "is not understood"),
            ("no_such_module:City", "no module 'no_such_module'"),
            ("cli_shapes:Citi", "did you mean 'City'?"),
            ("cli_shapes:number", "not a class"),
            ("cli_shapes", "names no class"),
        ],
    )
    def test_what_is_no_schema_is_wrong_usage(self, folder: Path, where: str, says: str) -> None:
        result = run_cli("chat", "Where?", "-p", "offline", "--schema", where)
        assert result.code == 2
        assert says in result.err

    def test_a_module_that_fails_to_import_says_how(self, folder: Path) -> None:
        (folder / "cli_bad.py").write_text("raise RuntimeError('half done')", encoding="utf-8")
        result = run_cli("chat", "Where?", "-p", "offline", "--schema", "cli_bad:X")
        assert result.code == 2
        assert "RuntimeError: half done" in result.err


class TestTools:
    def test_a_call_is_run_and_its_result_goes_back(self, folder: Path) -> None:
        with scripted_provider(ToolCall("weather", {"city": "Oslo", "day": "2026-03-02"}), "Sunny.") as provider:
            result = run_cli("chat", "Weather?", "-m", "scripted:", "--tools", "cli_sample:weather")
        assert result.out == "Sunny.\n"
        assert 'weather(city="Oslo", day="2026-03-02")' in result.err
        answered = json.loads(provider.requests[1].tool_results[0]["content"])
        assert answered == {"city": "Oslo", "day": "2026-03-02", "weekday": "Monday"}

    def test_a_file_gives_its_public_functions(self, folder: Path) -> None:
        with scripted_provider("ok") as provider:
            run_cli("chat", "Hi", "-m", "scripted:", "--tools", "cli_sample.py")
        assert list(provider.requests[0].tools) == ["weather", "wait", "broken"]

    def test_all_decides_when_there_is_one(self, folder: Path) -> None:
        (folder / "cli_chosen.py").write_text(TOOLS + "\n__all__ = ['wait']\n", encoding="utf-8")
        with scripted_provider("ok") as provider:
            run_cli("chat", "Hi", "-m", "scripted:", "--tools", "cli_chosen")
        assert list(provider.requests[0].tools) == ["wait"]

    def test_several_calls_of_one_turn_are_all_answered(self, folder: Path) -> None:
        calls = [ToolCall("weather", {"city": c}) for c in ("Oslo", "Rome")]
        with scripted_provider(calls, "Done.") as provider:
            result = run_cli("chat", "Weather?", "-m", "scripted:", "--tools", "cli_sample.py")
        assert result.code == 0
        assert len(provider.requests[1].tool_results) == 2

    def test_async_functions_are_awaited(self, folder: Path) -> None:
        with scripted_provider(ToolCall("wait", {"seconds": 0}), "ok") as provider:
            run_cli("chat", "Hi", "-m", "scripted:", "--tools", "cli_sample.py")
        assert provider.requests[1].tool_results[0]["content"] == "waited 0.0"

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            (ToolCall("broken", {}), "RuntimeError: out of order"),
            (ToolCall("missing", {}), "there is no tool 'missing'"),
            (ToolCall("weather", "{not json"), "not JSON"),
            (ToolCall("weather", {"city": "Oslo", "day": "someday"}), "day"),
        ],
        ids=["raises", "unknown", "not JSON", "wrong type"],
    )
    def test_a_failing_call_answers_the_model_and_the_run_goes_on(
        self, folder: Path, call: ToolCall, says: str
    ) -> None:
        with scripted_provider(call, "I see.") as provider:
            result = run_cli("chat", "Hi", "-m", "scripted:", "--tools", "cli_sample.py")
        assert (result.code, result.out) == (0, "I see.\n")
        assert says in provider.requests[1].tool_results[0]["content"]
        assert "[tool] error:" in result.err

    def test_json_lists_the_runs_and_adds_up_the_usage(self, folder: Path) -> None:
        with scripted_provider(ToolCall("wait", {"seconds": 0}), "ok"):
            result = run_cli("chat", "Hi", "-m", "scripted:", "--tools", "cli_sample.py", "--json")
        assert result.json["text"] == "ok"
        assert result.json["tool_runs"] == [
            {"name": "wait", "arguments": '{"seconds":0}', "result": "waited 0.0", "is_error": False}
        ]
        with scripted_provider("ok"):
            alone = run_cli("chat", "Hi", "-m", "scripted:", "--tools", "cli_sample.py", "--json")
        assert result.json["usage"]["input_tokens"] > alone.json["usage"]["input_tokens"]

    def test_json_lines_show_each_result_between_the_rounds(self, folder: Path) -> None:
        with scripted_provider(ToolCall("wait", {"seconds": 0}, "call_1"), "ok"):
            result = run_cli("chat", "Hi", "-m", "scripted:", "--tools", "cli_sample.py", "--json", "--stream")
        kinds = [e["type"] for e in result.events]
        assert kinds.count("end") == 2
        assert kinds.index("end") < kinds.index("tool_result") < len(kinds) - 1
        assert result.events[kinds.index("tool_result")]["call_id"] == "call_1"

    def test_a_model_that_never_stops_calling_is_stopped(self, folder: Path) -> None:
        with scripted_provider(*[ToolCall("wait", {"seconds": 0}) for _ in range(40)]) as provider:
            result = run_cli("chat", "Hi", "-m", "scripted:", "--tools", "cli_sample.py")
        assert result.code == 1
        assert "still calls tools" in result.err
        assert len(provider.requests) == 25

    def test_confirm_runs_only_what_is_allowed(self, folder: Path) -> None:
        calls = [ToolCall("wait", {"seconds": 1}), ToolCall("wait", {"seconds": 2})]
        with scripted_provider(calls, "ok") as provider:
            result = run_cli(
                "chat", "Hi", "-m", "scripted:", "--tools", "cli_sample.py", "--confirm", input="y\nn\n", typing=True
            )
        allowed, declined = (r["content"] for r in provider.requests[1].tool_results)
        assert allowed == "waited 1.0"
        assert "the user declined this call" in declined
        assert result.err.count("[y/N]") == 2

    @pytest.mark.parametrize(
        ("where", "says"),
        [
            ("cli_sample:nothing", "has no 'nothing'"),
            ("cli_shapes:City", "nothing to run"),
            ("no_file.py", "there is no file"),
            ("cli_empty.py", "no public function"),
            ("what is this?", "not understood"),
        ],
    )
    def test_what_is_no_tool_is_wrong_usage(self, folder: Path, where: str, says: str) -> None:
        (folder / "cli_empty.py").write_text("x = 1\n", encoding="utf-8")
        result = run_cli("chat", "Hi", "-p", "offline", "--tools", where)
        assert result.code == 2
        assert says in result.err
