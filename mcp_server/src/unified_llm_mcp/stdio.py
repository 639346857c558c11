"""Serving one client over standard input and output."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from unified_llm_mcp.server import ModelServer
from unified_llm_mcp.wire import LineReader, LineWriter, Wire

__all__ = ["serve_stdio"]


async def serve_stdio(server: ModelServer, wire: Wire) -> None:
    """Serve until the client closes its side; calls in flight are then cancelled."""
    from mcp.server.stdio import stdio_server

    reader: Any = _until_end(LineReader(wire.read_fd), server)
    writer: Any = LineWriter(wire.write_fd)
    async with stdio_server(reader, writer) as (incoming, outgoing):
        await server.low_level.run(incoming, outgoing, server.low_level.create_initialization_options())


async def _until_end(lines: LineReader, server: ModelServer) -> AsyncIterator[str]:
    """The lines; at their end running calls are stopped, because SDKs before 1.30 would wait for them."""
    async for line in lines:
        yield line
    await server.aclose()
