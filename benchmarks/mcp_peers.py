"""The MCP server next to other bridges from MCP to language models, over the same backend.

    uv run python -m benchmarks.mcp_peers [--rounds 3] [--calls 100] [--parallel 8]

A peer is measured when its option says where it is, and named as left out when not. A table is printed; "no" under
"cancel" means that the request to the backend was still running two seconds after the client had cancelled its call.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.mcp_backend import HANG, SLOW, backend
from benchmarks.mcp_server import OURS_COMMAND, Server

COLUMNS = (
    "server", "tools", "bytes of tools/list", "start CPU s", "start MB", "chat ms", "together s", "ping while busy ms",
    "cancel",
)  # fmt: skip
PAL_MODEL = "local-llama"  # PAL takes names of its own registry only; the backend answers to any


@dataclass
class Bridge:
    """One server: how it is started, and how a prompt becomes a call of its chat tool."""

    name: str
    command: Sequence[str]
    tool: str = "chat"
    prompt: str = "prompt"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def call(self, prompt: str) -> dict[str, Any]:
        given: Any = [{"role": "user", "content": prompt}] if self.prompt == "messages" else prompt
        return {"name": self.tool, "arguments": {**self.arguments, self.prompt: given}}


def _pal(where: str, options: argparse.Namespace, port: int, home: str) -> Bridge:
    env = {"CUSTOM_API_URL": f"http://127.0.0.1:{port}/v1", "DEFAULT_MODEL": PAL_MODEL}
    arguments = {"model": PAL_MODEL, "working_directory_absolute_path": home}
    return Bridge("PAL", [where], arguments=arguments, env={**env, "HOME": home, "PAL_WORKSPACE_ROOT": home})


def _ollama_mcp(where: str, options: argparse.Namespace, port: int, home: str) -> Bridge:
    env = {"OLLAMA_HOST": f"http://127.0.0.1:{port}"}
    return Bridge("ollama-mcp", [options.node, where], "ollama_chat", "messages", {"model": "m"}, env)


def _any_chat(where: str, options: argparse.Namespace, port: int, home: str) -> Bridge:
    url = f"http://127.0.0.1:{port}/v1"
    env = {"AI_CHAT_BASE_URL": url, "AI_CHAT_KEY": "none", "AI_CHAT_MODEL": "m", "AI_CHAT_NAME": "peer"}
    return Bridge("any-chat-completions-mcp", [options.node, where], "chat-with-peer", "content", env=env)


def _lmstudio_mcp(where: str, options: argparse.Namespace, port: int, home: str) -> Bridge:
    env = {"LMSTUDIO_HOST": "127.0.0.1", "LMSTUDIO_PORT": str(port)}
    return Bridge("LMStudio-MCP", [options.lmstudio_mcp_python, where], "chat_completion", env=env)


PEERS: dict[str, tuple[str, Callable[[str, argparse.Namespace, int, str], Bridge]]] = {
    "pal": ("the program pal-mcp-server", _pal),
    "ollama_mcp": ("dist/index.js of ollama-mcp", _ollama_mcp),
    "any_chat": ("build/index.js of any-chat-completions-mcp", _any_chat),
    "lmstudio_mcp": ("lmstudio_bridge.py of LMStudio-MCP", _lmstudio_mcp),
}
"""By the name of the option that says where the peer is: what it must name, and how the peer is called."""


def bridges(options: argparse.Namespace, port: int, home: str) -> tuple[list[Bridge], list[str]]:
    """Ours and the peers that are there; and a sentence for each that is not."""
    found, absent = [Bridge("unified-llm-mcp", OURS_COMMAND)], []
    for option, (what, make) in PEERS.items():
        given = getattr(options, option)
        where = (shutil.which(given) or (given if Path(given).is_file() else None)) if given else None
        if where is not None:
            found.append(make(where, options, port, home))
        else:
            flag = f"--{option.replace('_', '-')}"
            absent.append(f"left out: {what}, which {flag} {'does not find' if given else 'can name'}")
    return found, absent


def start(bridge: Bridge, port: int) -> tuple[float, float]:
    """CPU seconds and MB of a server that is started, asked for its tools and ended."""
    server = Server(bridge.command, port, bridge.env)
    server.open()
    return server.close()


def measure(bridge: Bridge, port: int, options: argparse.Namespace) -> list[str]:
    """A row of the table."""
    starts = [start(bridge, port) for _ in range(options.rounds)]
    server = Server(bridge.command, port, bridge.env)
    tools = server.open()
    for _ in range(5):
        chat(server, bridge)  # the first ones load code
    row = [
        bridge.name,
        str(len(tools)),
        f"{len(json.dumps(tools, separators=(',', ':'))):,}",
        f"{min(cpu for cpu, _ in starts):.2f}",
        f"{min(size for _, size in starts):.0f}",
        f"{statistics.median(chat(server, bridge) for _ in range(options.calls)):.1f}",
        f"{together(server, bridge, options.parallel):.2f}",
        f"{ping_while_busy(server, bridge):.0f}",
        cancel(server, bridge, port),
    ]
    server.close()
    return row


def checked(result: Mapping[str, Any]) -> None:
    assert "ready" in json.dumps(result), result


def chat(server: Server, bridge: Bridge) -> float:
    """Milliseconds of one chat."""
    began = time.perf_counter()
    checked(server.ask("tools/call", **bridge.call("x")))
    return (time.perf_counter() - began) * 1000


def together(server: Server, bridge: Bridge, count: int) -> float:
    """Seconds until `count` chats that begin together, on a backend of one second, have ended."""
    began = time.perf_counter()
    for _ in range(count):
        server.send("tools/call", bridge.call(SLOW))
    for _ in range(count):
        checked(server.read())
    return time.perf_counter() - began


def ping_while_busy(server: Server, bridge: Bridge) -> float:
    """Milliseconds until a ping is answered while a chat of one second runs."""
    server.send("tools/call", bridge.call(SLOW))
    time.sleep(0.2)
    began = time.perf_counter()
    ping = server.send("ping", {})
    answers: dict[int, float] = {}
    while len(answers) < 2:
        answers[server.read()["id"]] = time.perf_counter()
    return (answers[ping] - began) * 1000


def cancel(server: Server, bridge: Bridge, port: int) -> str:
    """How soon after a cancellation the request to the backend is closed, in milliseconds, or "no"."""
    before = left(port)
    call = server.send("tools/call", bridge.call(HANG))
    time.sleep(0.5)
    began = time.perf_counter()
    server.notify("notifications/cancelled", requestId=call)
    while left(port) == before:
        if time.perf_counter() - began > 2:
            return "no"
        time.sleep(0.005)
    return f"{(time.perf_counter() - began) * 1000:.0f} ms"


def left(port: int) -> int:
    """How many requests were left before their answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/left")
    count: int = json.load(connection.getresponse())["left"]
    connection.close()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--parallel", type=int, default=8)
    for option, (what, _) in PEERS.items():
        parser.add_argument(f"--{option.replace('_', '-')}", help=f"where it is: {what}")
    parser.add_argument("--node", default="node", help="the node that runs peers written for it")
    parser.add_argument("--lmstudio-mcp-python", default=sys.executable, help="a Python with mcp<2 and requests")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}; {options.parallel} chats together on a backend of 1 s")
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    with backend() as port, tempfile.TemporaryDirectory() as home:
        found, absent = bridges(options, port, home)
        for bridge in found:
            print("| " + " | ".join(measure(bridge, port, options)) + " |", flush=True)
    for sentence in absent:
        print(sentence)


if __name__ == "__main__":
    main()
