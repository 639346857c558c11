"""The official TypeScript clients, both generations, over standard input and output and over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from testkit.mcp_clients import SDK_2
from testkit.mcp_node import NodeTools
from testkit.mcp_raw import SUPPORT, raw_server

HERE = Path(__file__).parent
SERVER = [sys.executable, str(HERE.parent / "servers" / "counting_server.py")]
GENERATIONS = ["v1", "v2", *(["v2-modern"] if SDK_2 else [])]

pytestmark = pytest.mark.parametrize("generation", GENERATIONS)


@pytest.fixture
def script(node: NodeTools, tmp_path: Path) -> Path:
    """The client script, next to the packages it imports."""
    (tmp_path / "node_modules").symlink_to(node.modules)
    return Path(shutil.copy(HERE / "client.mjs", tmp_path))


async def run(node: NodeTools, script: Path, *arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *node.command(script, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    seen = json.loads(output.splitlines()[-1])
    assert isinstance(seen, dict)
    return seen


def expect(seen: dict[str, Any]) -> None:
    assert seen["tools"] == ["chat", "embed", "list_models", "get_response"]
    assert seen["answer"] == seen["structured"]["text"] == "Hello, world"
    # The client drops a notification that it reads together with the result.
    assert seen["deltas"].startswith("Hello")
    assert "Hello, world".startswith(seen["deltas"])
    assert "did you mean 'max_tokens'" in seen["typo"]
    assert seen["unknownTool"] == -32602
    assert (seen["count"], seen["prompts"], seen["resources"]) == (2, 3, 3)
    assert (seen["aborted"], seen["timedOut"]) == ("left", "timed out")
    assert seen["openAfterwards"] == "counter:open-0"


async def test_the_client_works_over_standard_input_and_output(generation: str, node: NodeTools, script: Path) -> None:
    expect(await run(node, script, generation, "stdio", *SERVER))


async def test_the_client_works_over_http(generation: str, node: NodeTools, script: Path) -> None:
    async with raw_server("--http", "--port", "0", command=SERVER) as server:
        url = await server.said("listening on ")
        expect(await run(node, script, generation, "http", url))
