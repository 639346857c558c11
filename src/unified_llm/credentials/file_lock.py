"""One writer at a time: a file that is read, changed and written again loses nothing to another thread or process."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from unified_llm.errors import ConfigurationError

__all__ = ["locked"]

logger = logging.getLogger("unified_llm")

WAIT_SECONDS = 10.0
"""Longest wait for another writer, which needs some milliseconds."""

_PAUSE = 0.005
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_threads = threading.Lock()


def _after_fork() -> None:
    """Another thread of the parent may have held the lock: nobody would release it here."""
    global _threads
    _threads = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the right to write `path`, against threads and other processes, by a lock file that is gone afterwards.

    Where the file system knows no locks, threads of this process alone are held back.

    Raises:
        ConfigurationError: somebody else has held it for 10 seconds.
        OSError: the lock file cannot be made.
    """
    end = time.monotonic() + WAIT_SECONDS
    threads = _threads
    if not threads.acquire(timeout=WAIT_SECONDS):
        raise _busy(path)
    try:
        lock = path.with_name(f".{path.name}.lock")
        handle = _acquired(lock, path, end)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows does not remove an open file: the next writer takes it over
                lock.unlink()
            os.close(handle)  # gives the lock back
    finally:
        threads.release()


def _acquired(lock: Path, path: Path, end: float) -> int:
    """The descriptor of the lock file, locked, and still the one that others would open."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if _try(handle) and _is_at(handle, lock):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if time.monotonic() >= end:
            raise _busy(path)
        time.sleep(_PAUSE)


def _is_at(handle: int, lock: Path) -> bool:
    """Whether nobody removed the file between its opening and its locking."""
    try:
        return os.path.samestat(os.fstat(handle), lock.stat())
    except FileNotFoundError:
        return False


def _try(handle: int) -> bool:
    try:
        _lock(handle)
    except OSError as exc:
        if exc.errno in _BUSY:
            return False
        logger.debug("the file system knows no locks: %s", exc.strerror)
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    try:
        import fcntl
    except ImportError:  # pyodide

        def _lock(handle: int) -> None:
            raise OSError(errno.ENOSYS, "no locks here")

    else:

        def _lock(handle: int) -> None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _busy(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is being written by somebody else", hint=f"try again; if nobody is, remove .{path.name}.lock beside it"
    )
