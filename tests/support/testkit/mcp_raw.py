"""A server process driven by raw JSON-RPC lines: what is on the wire is what the test sees, and nothing is forgiven."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

__all__ = ["SERVER", "RawServer", "raw_server"]

SERVER = [sys.executable, "-m", "unified_llm_mcp"]
SUPPORT = Path(__file__).parents[1]


class RawServer:
    """Lines in, lines out. Every line the server writes must be a JSON-RPC message."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stderr is not None
        self._said = b""
        self._heard = asyncio.Condition()
        self.errors = asyncio.create_task(self._read_errors(process.stderr))
        self.notifications: list[dict[str, Any]] = []
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next = 0
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            message = json.loads(line)
            assert message["jsonrpc"] == "2.0", message
            waiting = self._answers.get(message.get("id"))
            if waiting is not None:
                waiting.set_result(message)
            else:
                self.notifications.append(message)

    async def _read_errors(self, stream: asyncio.StreamReader) -> bytes:
        async for line in stream:
            async with self._heard:
                self._said += line
                self._heard.notify_all()
        return self._said

    async def said(self, beginning: str, seconds: float = 20.0) -> str:
        """The rest of the first line on standard error that begins so."""

        def found() -> str | None:
            lines = self._said.decode(errors="replace").splitlines()
            return next((line.removeprefix(beginning) for line in lines if line.startswith(beginning)), None)

        async with asyncio.timeout(seconds), self._heard:
            return str(await self._heard.wait_for(found))

    async def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    async def close_output(self) -> None:
        """Hear no more, as a client that has gone without a word."""
        transport: Any = self.process._transport  # type: ignore[attr-defined]
        transport.get_pipe_transport(1).close()
        await self._reader  # it ends when the pipe is closed indeed

    async def notify(self, method: str, **params: Any) -> None:
        """Send a notification."""
        await self.write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode() + b"\n")

    async def send(self, method: str, **params: Any) -> int:
        """Send a request; returns its id, for `answer`."""
        self._next += 1
        self._answers[self._next] = asyncio.get_running_loop().create_future()
        message = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params}
        await self.write(json.dumps(message).encode() + b"\n")
        return self._next

    async def answer(self, request_id: int, seconds: float = 20.0) -> dict[str, Any]:
        """The whole answer to a request: `result` or `error`."""
        waiting = {self._answers[request_id], self._reader}
        async with asyncio.timeout(seconds):
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
        if self._reader.done():
            self._reader.result()  # what was wrong with a line
        return self._answers[request_id].result()

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request and return its `result`."""
        answer = await self.answer(await self.send(method, **params))
        assert "result" in answer, answer
        result = answer["result"]
        assert isinstance(result, dict)
        return result

    async def start_call(self, tool: str, /, **arguments: Any) -> int:
        """Call a tool without waiting for its result."""
        return await self.send("tools/call", name=tool, arguments=arguments)

    async def initialize(self) -> dict[str, Any]:
        """The handshake of the 2025 protocol."""
        info = {"name": "raw", "version": "0"}
        result = await self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=info)
        await self.notify("notifications/initialized")
        return result

    async def end_input(self) -> None:
        """Close the server's standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.stdin.wait_closed()

    async def exit_code(self, seconds: float) -> int:
        """The exit code; raises TimeoutError when the process does not end in time. The rest of its output is read."""
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            await self._reader
        return code


@asynccontextmanager
async def raw_server(
    *arguments: str, command: Sequence[str] = SERVER, env: Mapping[str, str] | None = None
) -> AsyncIterator[RawServer]:
    """A server process in an environment with nothing but `env`; killed at the end if it still runs."""
    bare = {"PATH": os.defpath, "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(SUPPORT), "NO_PROXY": "*"}
    process = await asyncio.create_subprocess_exec(
        *command,
        *arguments,
        env=bare | dict(env or {}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    server = RawServer(process)
    try:
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        server._reader.cancel()
        await asyncio.gather(server._reader, return_exceptions=True)
        sys.stderr.write((await server.errors).decode(errors="replace"))  # shown by pytest when the test fails
        process._transport.close()  # type: ignore[attr-defined]  # pipes would be closed by the garbage collector
