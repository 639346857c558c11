"""Clients that live in environments of their own: the other line of the SDK, fastmcp, agent frameworks."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.mcp_raw import raw_server

ROOT = Path(__file__).parents[2]
SERVER = [sys.executable, "-m", "unified_llm_mcp", "--model", "offline:"]
CORE, MEMBER = ROOT.as_uri(), (ROOT / "mcp_server").as_uri()
ON_SDK_1 = ["mcp==1.30.0", "-e", CORE, "-e", MEMBER, "pytest", "pytest-timeout", "hypothesis", "cryptography"]
PACKAGES = {
    "sdk_1": ["mcp==1.30.0"],
    "fastmcp_client": ["fastmcp>=4,<5"],
    "langchain_client": ["langchain-mcp-adapters>=0.3", "mcp>=1.30,<2"],
    "llama_index_client": ["llama-index-tools-mcp>=0.6", "mcp>=2,<3"],
}

pytestmark = pytest.mark.timeout(300)


def environment(name: str, *packages: str) -> Path:
    """Python of an environment with these packages, made once and kept in the checkout (ignored by git)."""
    folder = ROOT / f".venv-mcp-{name}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    ready = folder / "ready"
    if not ready.exists() or ready.read_text(encoding="utf-8") != "\n".join(packages):
        uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` says where it is
        if uv is None:
            pytest.skip("uv makes the environments of other clients, and is not on the PATH")
        # Without the workspace's constraints: these environments exist to hold other versions.
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--no-config", "--python", python, *packages]
        subprocess.run(install, check=True, cwd=folder)
        ready.write_text("\n".join(packages), encoding="utf-8")
    return python


@pytest.mark.parametrize("client", PACKAGES)
async def test_a_client_in_an_environment_of_its_own_lists_calls_and_is_refused(client: str) -> None:
    python = await asyncio.to_thread(environment, client, *PACKAGES[client])
    process = await asyncio.create_subprocess_exec(
        python,
        str(Path(__file__).parent / "clients" / f"{client}.py"),
        *SERVER,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath, "HOME": os.environ.get("HOME", "/")},
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    seen = json.loads(output.splitlines()[-1])
    assert sorted(seen["tools"]) == ["chat", "embed", "get_response", "list_models"]
    assert "offline provider" in seen["answer"]
    assert seen["refused"] is True


async def test_the_server_runs_on_the_other_line_of_the_sdk() -> None:
    """In full, the suite runs there with: PYTHON -m pytest tests/mcp_server."""
    python = await asyncio.to_thread(environment, "server_on_sdk_1", *ON_SDK_1)
    command = [str(python), "-m", "unified_llm_mcp", "--model", "offline:"]
    async with raw_server(command=command) as server:
        answer = await server.initialize()
        assert answer["serverInfo"] == {"name": "unified-llm", "version": "0.1.0"}
        result = await server.ask("tools/call", name="chat", arguments={"prompt": "Hi"})
        assert result["structuredContent"]["provider"] == "offline"
        unknown = await server.answer(await server.start_call("fly"))
        assert unknown["error"]["code"] == -32602
        await server.end_input()
        assert await server.exit_code(5) == 0


async def test_the_tests_of_http_pass_on_the_other_line_of_the_sdk() -> None:
    """Older versions of that line serve no HTTP, so that no run on the lowest versions shows this."""
    python = await asyncio.to_thread(environment, "server_on_sdk_1", *ON_SDK_1)
    files = [str(Path(__file__).with_name(name)) for name in ("test_http.py", "test_http_auth.py")]
    process = await asyncio.create_subprocess_exec(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    passed = re.search(r"^(\d+) passed", output, re.MULTILINE)
    assert passed is not None, output
    assert int(passed[1]) > 50, output
