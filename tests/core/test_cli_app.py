"""The command line as a whole: help, version, wrong usage, and what is loaded when."""

from __future__ import annotations

import subprocess
import sys

import pytest

from testkit.cli import run_cli
from unified_llm import __version__


def loaded_after(statement: str) -> set[str]:
    """Names of the modules that are loaded after `statement`."""
    code = f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_importing_the_entry_point_loads_neither_typer_nor_rich() -> None:
    loaded = {name.partition(".")[0] for name in loaded_after("import unified_llm, unified_llm.cli")}
    assert not loaded & {"typer", "click", "rich", "pydantic", "httpx"}


def test_help_loads_no_client_no_http_library_and_no_rich() -> None:
    loaded = loaded_after("from unified_llm.cli import main; main(['--help'])")
    assert not loaded & {"rich", "httpx", "pydantic", "unified_llm.client", "anthropic"}


def test_help_of_a_command_loads_no_client() -> None:
    loaded = loaded_after("from unified_llm.cli import main; main(['chat', '--help'])")
    assert not loaded & {"rich", "httpx", "unified_llm.client"}


def test_the_module_can_be_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unified_llm", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"unified-llm {__version__}\n"
    assert done.stderr == ""


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version_is_one_line_on_stdout(option: str) -> None:
    result = run_cli(option)
    assert (result.code, result.out, result.err) == (0, f"unified-llm {__version__}\n", "")


def test_without_a_command_the_help_is_shown() -> None:
    result = run_cli()
    assert result.code == 0
    assert result.out == run_cli("--help").out
    assert all(f"  {command}" in result.out for command in ("chat", "embed", "models", "doctor", "mcp"))


def test_a_group_without_a_command_shows_its_help() -> None:
    result = run_cli("models")
    assert result.code == 0
    assert "pull" in result.out


@pytest.mark.parametrize(
    "argv",
    [("chat", "--no-such-option"), ("no-such-command",), ("models", "pull"), ("chat", "Hi", "--temperature", "warm")],
)
def test_wrong_usage_is_one_block_on_stderr_and_exit_code_2(argv: tuple[str, ...]) -> None:
    result = run_cli(*argv)
    assert result.code == 2
    assert result.out == ""
    first, hint = result.err.splitlines()
    assert first.startswith("error: ")
    assert hint.startswith("  → `unified-llm")
    assert "--help" in hint


def test_wrong_usage_with_json_is_an_object_on_stdout() -> None:
    result = run_cli("chat", "--json", "--no-such-option")
    assert result.code == 2
    assert result.json["error"]["type"] == "UsageError"
    assert "--no-such-option" in result.json["error"]["message"]
    assert result.json["error"]["exit_code"] == 2


def test_a_stdout_that_is_closed_early_is_no_error() -> None:
    command = f"{sys.executable} -m unified_llm chat --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class TestMcp:
    def test_its_arguments_and_help_go_to_the_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[list[str]] = []

        def serve(argv: list[str]) -> int:
            seen.append(argv)
            return 7

        module = type(sys)("unified_llm_mcp")
        module.__spec__ = type(sys.__spec__)("unified_llm_mcp", None)
        module.main = serve  # type: ignore[attr-defined]  # a package made up here
        monkeypatch.setitem(sys.modules, "unified_llm_mcp", module)
        assert run_cli("mcp", "--help").code == 7
        assert run_cli("mcp", "--model", "local:", "extra", "-x").code == 7
        assert seen == [["--help"], ["--model", "local:", "extra", "-x"]]

    def test_without_the_package_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "unified_llm_mcp", None)
        result = run_cli("mcp")
        assert result.code == 3
        assert "pip install unified-llm-mcp" in result.err
