"""Running a server to its end: until the client goes away or a signal comes, and then closing everything in time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from unified_llm.errors import UnifiedLLMError
from unified_llm_mcp.server import ModelServer

__all__ = ["run_until_signal"]

logger = logging.getLogger("unified_llm_mcp")

GRACE = 2.0
"""Seconds that closing upstream requests and connections may take."""


def run_until_signal(
    server: ModelServer, serving: Coroutine[Any, Any, None], stop: Callable[[], None] | None = None
) -> int:
    """Run `serving` to its end, or until SIGINT, SIGTERM or SIGHUP; then close everything, in `GRACE` seconds.

    Args:
        stop: makes `serving` end at a signal; it is cancelled when None.

    Returns: the exit code, 128 plus the signal's number after a signal. Ends the process itself when a thread of a
    provider that knows only blocking calls would keep it alive.
    """
    loop = asyncio.new_event_loop()
    try:
        code = loop.run_until_complete(_supervised(server, serving, stop))
        loop.run_until_complete(_end_tasks())
        stuck = not loop.run_until_complete(_threads_end(loop))
    finally:
        logging.shutdown()
        sys.stderr.flush()
    if stuck:
        os._exit(code)
    loop.close()
    return code


async def _supervised(server: ModelServer, serving: Coroutine[Any, Any, None], stop: Callable[[], None] | None) -> int:
    task = asyncio.ensure_future(serving)
    received: list[int] = []

    def signalled(number: int) -> None:
        received.append(number)
        (stop or task.cancel)()

    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and sys.platform != "win32":  # Windows loops have no signal handlers
            loop.add_signal_handler(number, signalled, number)
    try:
        await asyncio.wait({task})
    finally:
        await _closed(server)
    if task.cancelled() or received:
        return 128 + received[0] if received else 1
    error = task.exception()
    if isinstance(error, UnifiedLLMError):
        raise error
    if error is not None:
        logger.error("serving ended with an error", exc_info=error)
        return 1
    return 0


async def _closed(server: ModelServer) -> None:
    try:
        async with asyncio.timeout(GRACE):
            await server.aclose()
            await server.aclose_client()
    except TimeoutError:
        logger.warning("closing took more than %g s; connections are dropped", GRACE)


async def _end_tasks() -> None:
    """Cancel what libraries left behind, such as a watcher of event streams: closing the loop would complain."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=0.5)


async def _threads_end(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the threads of blocking calls end within half a second."""
    try:
        async with asyncio.timeout(0.5):
            await loop.shutdown_default_executor()
    except TimeoutError:
        return False
    return True
