"""Running a server to its end: until the client goes away or a signal comes, and then closing everything in time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from unified_llm.errors import UnifiedLLMError
from unified_llm_mcp.server import ModelServer

__all__ = ["run_until_signal"]

logger = logging.getLogger("unified_llm_mcp")

GRACE = 2.0
"""Seconds that closing upstream requests and connections may take."""
OTHER_THREADS = 8
"""Threads besides those of calls to models: for files, imports, look-ups."""


def run_until_signal(
    server: ModelServer, serving: Coroutine[Any, Any, None], stop: Callable[[], None] | None = None
) -> int:
    """Run `serving` to its end, or until SIGINT, SIGTERM or SIGHUP; then close everything, in `GRACE` seconds.

    Args:
        stop: makes `serving` end at a signal; it is cancelled when None.

    Returns: the exit code, 128 plus the signal's number after a signal. Ends the process itself when a provider that
    cannot be stopped would keep it alive: a thread in a blocking call, or a task that ignores being cancelled.
    """
    loop = asyncio.new_event_loop()
    # A thread for every call that may run at the same time: providers that know only blocking calls take one each.
    threads = ThreadPoolExecutor(server.settings_of_calls.max_concurrency + OTHER_THREADS, "unified-llm-mcp")
    loop.set_default_executor(threads)
    try:
        code = loop.run_until_complete(_supervised(server, serving, stop))
        loop.run_until_complete(_end_tasks())
        stuck = bool(asyncio.all_tasks(loop)) or not _threads_end(threads)
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
        server.closing.set()
        (stop or task.cancel)()

    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and sys.platform != "win32":  # Windows loops have no signal handlers
            loop.add_signal_handler(number, signalled, number)
    try:
        await _until_closed(server, task)
    finally:
        await _closed(server)
    if received and task.done() and not task.cancelled() and (error := task.exception()) is not None:
        logger.debug("serving ended with an error after the signal", exc_info=error)
    if task.cancelled() or received:
        return 128 + received[0] if received else 1
    if not task.done():
        return 0
    error = task.exception()
    if isinstance(error, UnifiedLLMError):
        raise error
    if error is not None:
        logger.error("serving ended with an error", exc_info=error)
        return 1
    return 0


async def _until_closed(server: ModelServer, task: asyncio.Future[Any]) -> None:
    """Wait for `task`; once the server is closing, for `GRACE` seconds each for its calls and its connections."""
    closing = asyncio.ensure_future(server.closing.wait())
    await asyncio.wait([task, closing], return_when=asyncio.FIRST_COMPLETED)
    closing.cancel()
    await asyncio.wait({task}, timeout=2 * GRACE)
    if not task.done():
        logger.warning("a provider does not stop; the process ends without it")


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


def _threads_end(threads: ThreadPoolExecutor) -> bool:
    """Whether the threads of blocking calls end within half a second."""
    # Not `loop.shutdown_default_executor`: on Python 3.11 it has no limit, and cannot be left.
    end = threading.Thread(target=threads.shutdown, kwargs={"cancel_futures": True}, daemon=True)
    end.start()
    end.join(0.5)
    return not end.is_alive()
