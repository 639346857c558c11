"""The official Inspector's command line: strict lint of the schemas, calls, and a load test."""

from __future__ import annotations

import asyncio
import json
import re
import sys

import pytest

from testkit.mcp_clients import SDK_2
from testkit.mcp_node import NodeTools

SERVER = [sys.executable, "-m", "unified_llm_mcp", "--model", "offline:", "--embed-model", "offline:"]
SCRIPT = "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
PROTOCOLS = ["legacy", *(["modern"] if SDK_2 else [])]


async def inspect(node: NodeTools, *arguments: str) -> tuple[int, str]:
    return await asyncio.to_thread(node.run, SCRIPT, "--cli", *SERVER, *arguments)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_strict_lint_finds_nothing_in_the_tools(protocol: str, node: NodeTools) -> None:
    code, output = await inspect(node, "--protocol-era", protocol, "--method", "tools/list", "--strict")
    assert code == 0, output
    assert len(json.loads(output)["tools"]) == 4  # findings would be written around the list


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_call_returns_content_that_follows_the_output_schema(protocol: str, node: NodeTools) -> None:
    arguments = ["--tool-name", "chat", "--tool-args-json", '{"prompt": "Hi"}', "--format", "json", "-q"]
    code, output = await inspect(node, "--protocol-era", protocol, "--method", "tools/call", *arguments)
    assert code == 0, output
    result = json.loads(output.splitlines()[-1])["result"]
    assert result["structuredContent"]["provider"] == "offline"


async def test_a_tool_error_is_an_error_for_the_inspector(node: NodeTools) -> None:
    arguments = ["--tool-name", "chat", "--tool-args-json", '{"prompt": "x", "modle": "y"}', "-q"]
    code, output = await inspect(node, "--method", "tools/call", *arguments)
    assert code == 5, output


async def test_two_hundred_calls_ten_at_a_time_all_succeed(node: NodeTools) -> None:
    code, output = await inspect(
        node, "--method", "tools/call", "--tool-name", "get_response", "--tool-args-json",
        '{"response_id": "resp_x", "wait_s": 0}', "--load", "--load-requests", "200", "--load-concurrency", "10",
    )  # fmt: skip
    assert "200" in output, output
    assert not re.search(r"timed? ?out|ECONN|crash", output, re.IGNORECASE), output
    assert code in (0, 5), output  # an unknown id is a tool error
