"""Tools that run on Node: where they are, and running them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NodeTools", "find_node_tools"]

FOLDER = Path(__file__).parents[2] / "mcp_server" / "node"
LOWEST = 22


@dataclass(frozen=True)
class NodeTools:
    """A Node of version 22 or later, and the packages of ``tests/mcp_server/node/package.json``."""

    node: Path
    modules: Path

    def command(self, script: str | Path, *arguments: str) -> list[str]:
        """The command that runs a script of a package, or one of ours."""
        path = script if isinstance(script, Path) else self.modules / script
        return [str(self.node), str(path), *arguments]

    def run(self, script: str | Path, *arguments: str, seconds: float = 150) -> tuple[int, str]:
        """Run a script; its exit code, and all it wrote."""
        done = subprocess.run(
            self.command(script, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
            encoding="utf-8",
            env={**os.environ, "NO_COLOR": "1"},
        )
        return done.returncode, done.stdout


def find_node_tools() -> NodeTools | str:
    """The tools, or why there are none.

    UNIFIED_LLM_NODE_TOOLS names another folder that holds node_modules. Raises `FileNotFoundError` when they are not
    usable there: whoever sets it does not want those tests skipped.
    """
    given = os.environ.get("UNIFIED_LLM_NODE_TOOLS")
    found = _tools_in(Path(given or FOLDER) / "node_modules")
    if given and isinstance(found, str):
        raise FileNotFoundError(f"UNIFIED_LLM_NODE_TOOLS names {given}, but {found}")
    return found


def _tools_in(modules: Path) -> NodeTools | str:
    if not modules.is_dir():
        return f"Node tools are not installed: run `npm install --no-package-lock` in {FOLDER.name}/ of the MCP tests"
    own = modules / "node" / "bin" / "node"
    found = own if own.is_file() else Path(shutil.which("node") or "/nonexistent")
    if not found.is_file():
        return "there is no node"
    version = subprocess.run([found, "--version"], capture_output=True, check=True, encoding="utf-8").stdout
    major = int(re.match(r"v(\d+)", version)[1])  # type: ignore[index]  # node says v24.1.0
    return NodeTools(found, modules) if major >= LOWEST else f"node {version.strip()} is older than {LOWEST}"
