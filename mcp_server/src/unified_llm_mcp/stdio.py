"""Serving over standard input and output, until the client closes it or a signal comes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from unified_llm_mcp.server import ModelServer
from unified_llm_mcp.wire import LineReader, LineWriter, Wire

__all__ = ["run_until_signal", "serve_stdio"]

logger = logging.getLogger("unified_llm_mcp")

GRACE = 2.0
"""Seconds that closing upstream requests and connections may take."""


async def serve_stdio(server: ModelServer, wire: Wire) -> None:
    """Serve one client until it closes its side; calls in flight are then cancelled."""
    from mcp.server.stdio import stdio_server

    reader: Any = LineReader(wire.read_fd)
    writer: Any = LineWriter(wire.write_fd)
    async with stdio_server(reader, writer) as (incoming, outgoing):
        await server.low_level.run(incoming, outgoing, server.low_level.create_initialization_options())


def run_until_signal(server: ModelServer, serving: Coroutine[Any, Any, None]) -> int:
    """Run `serving` to its end, or until SIGINT, SIGTERM or SIGHUP; then close everything, in `GRACE` seconds.

    Returns: the exit code, 128 plus the signal's number after a signal. Ends the process itself when a thread of a
    provider that knows only blocking calls would keep it alive.
    """
    loop = asyncio.new_event_loop()
    try:
        code = loop.run_until_complete(_supervised(server, serving))
        stuck = not loop.run_until_complete(_threads_end(loop))
    finally:
        logging.shutdown()
        sys.stderr.flush()
    if stuck:
        os._exit(code)
    loop.close()
    return code


async def _supervised(server: ModelServer, serving: Coroutine[Any, Any, None]) -> int:
    task = asyncio.ensure_future(serving)
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and sys.platform != "win32":  # Windows loops have no signal handlers
            loop.add_signal_handler(number, stop, number)
    try:
        await asyncio.wait({task})
    finally:
        await _closed(server)
    if task.cancelled() or received:
        return 128 + received[0] if received else 1
    error = task.exception()
    if error is not None:
        logger.error("serving ended with an error", exc_info=error)
        return 1
    return 0


async def _closed(server: ModelServer) -> None:
    try:
        async with asyncio.timeout(GRACE):
            await server.aclose()
            await server.state.client.aclose()
    except TimeoutError:
        logger.warning("closing took more than %g s; connections are dropped", GRACE)


async def _threads_end(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the threads of blocking calls end within half a second."""
    try:
        async with asyncio.timeout(0.5):
            await loop.shutdown_default_executor()
    except TimeoutError:
        return False
    return True
