"""``unified-llm-mcp check``: starts the server as a client would, calls every tool once, and says what happened."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unified_llm_mcp.catalogue import NOT_RUNNING
from unified_llm_mcp.failures import ERROR_META

__all__ = ["Outcome", "check"]

PROTOCOL = "2025-06-18"
PROMPT = "Answer with the single word: ready"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One step: whether it worked, how long it took in seconds, and what came back."""

    step: str
    ok: bool
    seconds: float
    said: str


class _Server:
    """The server as a process, spoken to in JSON-RPC lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._id = 0

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a request. Raises `RuntimeError` with the server's words for an error."""
        self._id += 1
        await self._write({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        async for line in self._reader:
            message = json.loads(line)
            if message.get("id") == self._id:
                if "error" in message:
                    raise RuntimeError(f"{message['error']['code']}: {message['error']['message']}")
                result: dict[str, Any] = message["result"]
                return result
        raise RuntimeError("the server ended")

    async def notify(self, method: str) -> None:
        await self._write({"jsonrpc": "2.0", "method": method})

    async def _write(self, message: dict[str, Any]) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")
        await self._writer.drain()


async def check(arguments: Sequence[str], *, seconds: float = 60.0) -> list[Outcome]:
    """Start ``unified-llm-mcp ARGUMENTS`` and try everything. Each step may take `seconds`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "unified_llm_mcp",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    if process.stdout is None or process.stdin is None:
        raise RuntimeError("the server process has no pipes")
    server = _Server(process.stdout, process.stdin)
    outcomes = [await _step("start", _start(server), seconds)]
    if outcomes[0].ok:
        tools = await server.ask("tools/list")
        names = [tool["name"] for tool in tools["tools"]]
        outcomes += [await _step(name, _call(server, name), seconds) for name in _ORDER if name in names]
    await _stop(process)
    return outcomes


async def _start(server: _Server) -> str:
    info = {"name": "unified-llm-mcp check", "version": "1"}
    result = await server.ask("initialize", protocolVersion=PROTOCOL, capabilities={}, clientInfo=info)
    await server.notify("notifications/initialized")
    return f"{result['serverInfo']['name']} {result['serverInfo']['version']}, protocol {result['protocolVersion']}"


_ARGUMENTS: dict[str, dict[str, Any]] = {
    "list_models": {"limit": 500},
    "chat": {"prompt": PROMPT, "max_tokens": 64},
    "embed": {"texts": ["ready"]},
    "get_response": {"response_id": "resp_of_nobody", "wait_s": 0},
}
_ORDER = tuple(_ARGUMENTS)


async def _call(server: _Server, name: str) -> str:
    result = await server.ask("tools/call", name=name, arguments=_ARGUMENTS[name])
    if result.get("isError"):
        category = result.get("_meta", {}).get(ERROR_META, {}).get("category")
        if name == "get_response" and category == "unknown_response":
            return "answers (nothing is running, so there is nothing to get)"
        raise RuntimeError(result["content"][0]["text"])
    return _SAID.get(name, str)(result["structuredContent"])


def _said_models(found: dict[str, Any]) -> str:
    providers = sorted({model["provider"] for model in found["models"]})
    errors = {provider: why for provider, why in found.get("errors", {}).items() if why != NOT_RUNNING}
    silent = "".join(f"\n    {provider}: {why}" for provider, why in errors.items())
    return f"{found['total']} models from {', '.join(providers) or 'nobody'}{silent}"


def _said_chat(found: dict[str, Any]) -> str:
    if found["status"] != "complete":
        raise RuntimeError(f"the model has not answered in time: the chat is {found['status']}")
    return f"{found.get('provider')}:{found.get('model')} said {found['text'][:60]!r}"


def _said_embed(found: dict[str, Any]) -> str:
    return f"{found['provider']}:{found['model']} gave {found['dimensions']} numbers"


_SAID = {"list_models": _said_models, "chat": _said_chat, "embed": _said_embed}


async def _step(name: str, work: Any, seconds: float) -> Outcome:
    started = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            said, ok = await work, True
    except TimeoutError:
        said, ok = f"no answer within {seconds:g} s", False
    except (RuntimeError, OSError, ValueError) as error:
        said, ok = str(error), False
    return Outcome(name, ok, time.monotonic() - started, said)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
