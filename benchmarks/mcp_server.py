"""The MCP server next to a bare server of the same SDK: starting, one call, many calls at once.

    uv run python -m benchmarks.mcp_server [--rounds 5] [--calls 300]

Every server is a fresh process driven by raw JSON-RPC lines, so that no client's work is in the figures. The backend is
a loopback server in another process that streams an OpenAI-style answer, at once or after a second.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.mcp_backend import SLOW, backend

BARE = """
from mcp.server import MCPServer
server = MCPServer("bare")
@server.tool()
async def chat(prompt: str, model: str = "") -> str:
    "Ask a model."
    return prompt
@server.tool()
async def embed(texts: list[str], model: str = "") -> str:
    "Embed texts."
    return ""
@server.tool()
async def list_models(provider: str = "") -> str:
    "List models."
    return ""
server.run("stdio")
"""
BARE_COMMAND = [sys.executable, "-c", BARE]
OURS_COMMAND = [sys.executable, "-m", "unified_llm_mcp", "--model", "openai-compatible:m"]


class Server:
    """A server process, spoken to in JSON-RPC lines."""

    def __init__(self, command: Sequence[str], port: int, env: Mapping[str, str] | None = None) -> None:
        ours = {"OPENAI_COMPATIBLE_BASE_URL": f"http://127.0.0.1:{port}/v1", "NO_PROXY": "*"}
        environment = {**os.environ, **ours, **(env or {})}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)
        self._id = 0

    def send(self, method: str, params: dict[str, Any]) -> int:
        """Send a request; returns its id."""
        self._id += 1
        self._write({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        return self._id

    def notify(self, method: str, **params: Any) -> None:
        """Send a notification."""
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """The next answer."""
        assert self._process.stdout is not None
        while True:
            message: dict[str, Any] = json.loads(self._process.stdout.readline())
            if "id" in message:
                assert "error" not in message, message
                return message

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.send(method, params)
        result: dict[str, Any] = self.read()["result"]
        return result

    def open(self) -> list[dict[str, Any]]:
        """The handshake and the list of tools."""
        info = {"name": "benchmark", "version": "1"}
        self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=info)
        self.notify("notifications/initialized")
        tools: list[dict[str, Any]] = self.ask("tools/list")["tools"]
        return tools

    def close(self) -> tuple[float, float]:
        """End it; its CPU time in seconds, and its largest size in MB."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        _, status, used = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


@dataclass
class Start:
    """Starting until the tools are listed: CPU and wall seconds, MB."""

    cpu: float
    wall: float
    size: float


def start(command: Sequence[str], port: int) -> Start:
    began = time.perf_counter()
    server = Server(command, port)
    assert len(server.open()) >= 3
    wall = time.perf_counter() - began
    cpu, size = server.close()
    return Start(cpu, wall, size)


def one_call(server: Server, prompt: str) -> float:
    """Milliseconds of one chat, its answer checked."""
    began = time.perf_counter()
    result = server.ask("tools/call", name="chat", arguments={"prompt": prompt})
    assert result["content"][0]["text"] in ("ready", prompt), result
    return (time.perf_counter() - began) * 1000


def direct_call(connection: http.client.HTTPConnection) -> float:
    """Milliseconds of the same chat sent to the backend by hand."""
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]})
    began = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    assert b"ready" in connection.getresponse().read()
    return (time.perf_counter() - began) * 1000


def parallel(server: Server, count: int) -> float:
    """Seconds until `count` chats that begin together, on a backend of one second, have ended."""
    began = time.perf_counter()
    for _ in range(count):
        server.send("tools/call", {"name": "chat", "arguments": {"prompt": SLOW}})
    for _ in range(count):
        assert server.read()["result"]["structuredContent"]["text"] == "ready"
    return time.perf_counter() - began


def _starting(rounds: int, port: int) -> None:
    bare: list[Start] = []
    ours: list[Start] = []
    for _ in range(rounds):  # interleaved: the machine's mood meets both
        bare.append(start(BARE_COMMAND, port))
        ours.append(start(OURS_COMMAND, port))
    best = [Start(*(min(getattr(s, f) for s in all_) for f in ("cpu", "wall", "size"))) for all_ in (bare, ours)]
    for name, one in zip(("bare SDK server", "unified-llm-mcp"), best, strict=True):
        print(f"start {name:18} {one.cpu:6.2f} s CPU  {one.wall:6.2f} s  {one.size:5.0f} MB")
    print(f"      above the bare one  {best[1].cpu - best[0].cpu:+.2f} s CPU  {best[1].size - best[0].size:+.0f} MB")


def _quiet(values: Sequence[float]) -> float:
    """The fifth percentile: a call that nobody else on the machine disturbed."""
    return sorted(values)[len(values) // 20]


def _calling(calls: int, port: int) -> None:
    bare, ours = Server(BARE_COMMAND, port), Server(OURS_COMMAND, port)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for server in (bare, ours):
        server.open()
    figures: dict[str, list[float]] = {"backend alone": [], "bare SDK server": [], "unified-llm-mcp": []}
    for number in range(calls + 20):
        times = (direct_call(connection), one_call(bare, "x"), one_call(ours, "x"))
        if number >= 20:  # the first ones load code
            for known, value in zip(figures.values(), times, strict=True):
                known.append(value)
    for name, values in figures.items():
        print(f"chat  {name:18} {_quiet(values):6.2f} ms undisturbed, {statistics.median(values):6.2f} ms median")
    for title, of in (("undisturbed", _quiet), ("median", statistics.median)):
        alone, hop, all_ = (of(values) for values in figures.values())
        print(
            f"      {title}: above the backend {all_ - alone:+.2f} ms, and a bare server {all_ - alone - hop:+.2f} ms"
        )
    print(f"32 chats at once on a backend of 1 s: {parallel(ours, 32):.2f} s")
    bare.close()
    ours.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=300)
    arguments = parser.parse_args()
    with backend() as port:
        _starting(arguments.rounds, port)
        _calling(arguments.calls, port)


if __name__ == "__main__":
    main()
