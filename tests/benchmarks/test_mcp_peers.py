"""Which bridges from MCP to models the comparison measures, and which it says it leaves out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SHOW = """
import argparse, sys
from benchmarks.mcp_peers import bridges
given = dict(pal=None, ollama_mcp="/nowhere/index.js", any_chat=sys.argv[1], lmstudio_mcp=sys.argv[1],
             node="node", lmstudio_mcp_python="python")
found, absent = bridges(argparse.Namespace(**given), 80, "/home")
for bridge in found:
    print(bridge.name, bridge.call("Hi"))
print(*absent, sep="\\n")
"""


def test_peers_that_are_there_are_measured_and_the_others_are_named(tmp_path: Path) -> None:
    there = tmp_path / "index.js"
    there.touch()
    command = [sys.executable, "-c", SHOW, str(there)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.splitlines() == [
        "unified-llm-mcp {'name': 'chat', 'arguments': {'prompt': 'Hi'}}",
        "any-chat-completions-mcp {'name': 'chat-with-peer', 'arguments': {'content': 'Hi'}}",
        "LMStudio-MCP {'name': 'chat_completion', 'arguments': {'prompt': 'Hi'}}",
        "left out: the program pal-mcp-server, which --pal can name",
        "left out: dist/index.js of ollama-mcp, which --ollama-mcp does not find",
    ]
