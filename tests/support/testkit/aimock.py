"""aimock, a stand-in for many servers that somebody else wrote: it shows shapes that our own doubles may have missed.

It checks next to nothing of what it is sent. It runs on Node, where it is installed (see tests/support/aimock).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testkit.wire_server import free_port

__all__ = ["aimock_command", "running_aimock"]

FOLDER = Path(__file__).parents[1] / "aimock"


def aimock_command() -> list[str] | str:
    """How to run it, or why it cannot be. UNIFIED_LLM_AIMOCK names another folder that holds node_modules."""
    folder = Path(os.environ.get("UNIFIED_LLM_AIMOCK") or FOLDER)
    script = folder / "node_modules/@copilotkit/aimock/dist/cli.js"
    node = shutil.which("node")
    if not script.is_file():
        return f"aimock is not installed: run `npm install --no-package-lock` in tests/support/{FOLDER.name}"
    return [node, str(script)] if node else "there is no node"


@contextmanager
def running_aimock(command: list[str], fixtures: list[dict[str, Any]], folder: Path) -> Iterator[str]:
    """The address of a server that answers with `fixtures`; it is listening when this returns."""
    script = folder / "fixtures.json"
    script.write_text(json.dumps({"fixtures": fixtures}), encoding="utf-8")
    port = free_port()
    process = subprocess.Popen(
        [*command, "-p", str(port), "-f", str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "listening" in line:
                break
        else:
            raise RuntimeError("aimock did not start:\n" + "".join(said))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=10)
