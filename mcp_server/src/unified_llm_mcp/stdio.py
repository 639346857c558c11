"""Serving one client over standard input and output."""

from __future__ import annotations

from typing import Any

from unified_llm_mcp.server import ModelServer
from unified_llm_mcp.wire import LineReader, LineWriter, Wire

__all__ = ["serve_stdio"]


async def serve_stdio(server: ModelServer, wire: Wire) -> None:
    """Serve until the client closes its side; calls in flight are then cancelled."""
    from mcp.server.stdio import stdio_server

    reader: Any = LineReader(wire.read_fd)
    writer: Any = LineWriter(wire.write_fd)
    async with stdio_server(reader, writer) as (incoming, outgoing):
        await server.low_level.run(incoming, outgoing, server.low_level.create_initialization_options())
