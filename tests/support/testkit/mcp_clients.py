"""The official MCP client of whichever SDK major is installed, behind one small face, for tests that run on both.

    async with in_memory(server) as client:
        result = await client.call("chat", prompt="hello")
        result.text, result.structured, result.is_error

Results are compared as the protocol writes them (camelCase), so that a test reads the same on both majors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mcp
from jsonschema import Draft202012Validator

from unified_llm_mcp._sdk import SDK_2, MCPError

if TYPE_CHECKING:
    from unified_llm_mcp import ModelServer

__all__ = ["ERAS", "SDK_2", "MCPError", "Result", "TestClient", "in_memory", "over_stdio", "wire"]

ERAS = ["auto", "legacy"] if SDK_2 else ["legacy"]
"""Protocol eras the installed client can speak: the 2026 one (chosen by "auto") and the one with a handshake."""

ProgressCallback = Callable[[float, float | None, str | None], Awaitable[None]]


@dataclass(frozen=True)
class Result:
    """A tool result. `wire` is the whole of it, as a dictionary."""

    wire: dict[str, Any]

    @property
    def text(self) -> str:
        return str(self.wire["content"][0]["text"])

    @property
    def structured(self) -> dict[str, Any]:
        value = self.wire["structuredContent"]
        assert isinstance(value, dict)
        return value

    @property
    def is_error(self) -> bool:
        return bool(self.wire.get("isError"))

    @property
    def error(self) -> dict[str, Any]:
        """The machine-readable error; the call must have failed."""
        assert self.is_error, self.wire
        value = self.wire["_meta"]["io.github.unified-llm/error"]
        assert isinstance(value, dict)
        return value


def wire(value: Any) -> dict[str, Any]:
    """A result of the SDK as the protocol writes it."""
    dumped = value.model_dump(by_alias=True, mode="json", exclude_none=True)
    assert isinstance(dumped, dict)
    return dumped


class TestClient:
    """A connected client. Each successful tool result is checked against the tool's output schema."""

    __test__ = False

    def __init__(self, session: Any) -> None:
        self.session = session
        self._output: dict[str, Any] | None = None

    async def tools(self) -> list[dict[str, Any]]:
        """The tools, as the protocol writes them."""
        tools: list[dict[str, Any]] = wire(await self.session.list_tools())["tools"]
        return tools

    async def call(self, name: str, /, *, progress: ProgressCallback | None = None, **arguments: Any) -> Result:
        """Call a tool. Raises `MCPError` for a protocol error."""
        result = Result(wire(await self.session.call_tool(name, arguments, progress_callback=progress)))
        if not result.is_error and "structuredContent" in result.wire:
            if self._output is None:
                self._output = {tool["name"]: tool["outputSchema"] for tool in await self.tools()}
            Draft202012Validator(self._output[name]).validate(result.structured)
        return result

    async def cancel(self, call: asyncio.Task[Any]) -> None:
        """Cancel a call that is waiting, the latest one, as a user who presses Escape; the server is told."""
        if not SDK_2:  # its client gives up without a word: say what a host says
            params = {"requestId": self.session._request_id - 1, "reason": "user"}
            note = mcp.types.CancelledNotification.model_validate(
                {"method": "notifications/cancelled", "params": params}
            )
            await self.session.send_notification(mcp.types.ClientNotification(note))  # type: ignore[operator]
        call.cancel()


@asynccontextmanager
async def in_memory(server: ModelServer, era: str = ERAS[0], **options: Any) -> AsyncIterator[TestClient]:
    """A client connected to `server` in this process; the server's calls are stopped at the end."""
    try:
        if SDK_2:
            async with mcp.Client(server, mode=era, **options) as client:
                yield TestClient(client)
        else:
            from mcp.shared.memory import (  # type: ignore[attr-defined]  # SDK 1.x
                create_connected_server_and_client_session,
            )

            async with create_connected_server_and_client_session(server, **options) as session:
                yield TestClient(session)
    finally:
        await server.aclose()


@asynccontextmanager
async def over_stdio(
    command: Sequence[str], env: dict[str, str] | None = None, era: str = ERAS[0]
) -> AsyncIterator[TestClient]:
    """A client connected to a server process over its standard input and output."""
    parameters = mcp.StdioServerParameters(command=command[0], args=list(command[1:]), env=env)
    if SDK_2:
        async with mcp.Client(parameters, mode=era) as client:
            yield TestClient(client)
    else:
        from mcp.client.stdio import stdio_client

        async with stdio_client(parameters) as (incoming, outgoing):  # noqa: SIM117
            async with mcp.ClientSession(incoming, outgoing) as session:
                await session.initialize()
                yield TestClient(session)
