"""Where answers are kept, to be given again for the same request: in memory, or in an SQLite file.

The standard library's `sqlite3` is all that is needed: one table from a hash to bytes, with an expiry. Prompts are
not stored, only their hash; answers are stored as the server sent them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from unified_llm.errors import ConfigurationError
from unified_llm.forks import held_at_fork, renew_in_child

__all__ = ["MemoryCache", "ResponseCache", "SQLiteCache"]

logger = logging.getLogger("unified_llm")

PRECISION = 1.0
"""Seconds that an answer's last use may be off in a file: what is asked for all the time is not written each time."""

_PATIENCE = 1.0
"""Seconds to wait while another process writes."""

_FAILED = (OSError, sqlite3.Error)
"""How a file fails, also one that is opened again after a fork."""


class ResponseCache(ABC):
    """Keeps bytes under a key. Subclass it to keep them elsewhere; may be shared by clients and threads."""

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """What was put under `key`, unless it has expired."""

    @abstractmethod
    def put(self, key: str, value: bytes) -> None:
        """Keep `value` under `key`."""

    async def get_async(self, key: str) -> bytes | None:
        """`get`, without blocking the event loop."""
        return await asyncio.to_thread(self.get, key)

    async def put_async(self, key: str, value: bytes) -> None:
        """`put`, without blocking the event loop."""
        await asyncio.to_thread(self.put, key, value)

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""


def _checked(ttl: float | None, most: int) -> None:
    whole = isinstance(most, int) and not isinstance(most, bool)
    lasts = ttl is None or (isinstance(ttl, (int, float)) and not isinstance(ttl, bool) and ttl > 0)
    if not whole or most < 1 or not lasts:
        raise ConfigurationError(
            f"a cache of {most!r} answers for {ttl!r} s makes no sense",
            hint="most is a whole number, 1 or more; ttl is seconds, or None to keep them until there are too many",
        )


class MemoryCache(ResponseCache):
    """Keeps the last answers in this process.

    Args:
        most: answers kept; the least recently used goes first.
        ttl: seconds an answer is kept; None: until it must make room.
    """

    def __init__(
        self, most: int = 1024, *, ttl: float | None = 3600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        _checked(ttl, most)
        self.most, self.ttl = most, ttl
        self._clock = clock
        self._kept: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._lock = threading.Lock()
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> bytes | None:
        with self._lock:
            value, written = self._kept.get(key, (None, 0.0))
            if value is None:
                return None
            if self.ttl is not None and not 0 <= self._clock() - written <= self.ttl:
                del self._kept[key]
                return None
            self._kept.move_to_end(key)
            return value

    def put(self, key: str, value: bytes) -> None:
        with self._lock:
            self._kept[key] = (value, self._clock())
            self._kept.move_to_end(key)
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)

    async def get_async(self, key: str) -> bytes | None:
        return self.get(key)  # nothing to wait for

    async def put_async(self, key: str, value: bytes) -> None:
        self.put(key, value)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()


class SQLiteCache(ResponseCache):
    """Keeps answers in a file, also for other processes and the next run.

    The file is made for its owner alone (mode 0600): it holds what models answered. One that fails later (a full
    disk, a lock held for more than a second) costs a request, not the call: it is logged and the server is asked.

    Args:
        path: the file; made when it is not there.
        most: answers kept, and at times up to 1 % more for each process; the least recently used go first.
        ttl: seconds an answer is kept; None: until it must make room.

    Raises:
        ConfigurationError: the file cannot be opened, or is no database of ours.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        most: int = 10_000,
        *,
        ttl: float | None = 7 * 24 * 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _checked(ttl, most)
        if not isinstance(path, (str, os.PathLike)) or str(path) == ":memory:":
            raise ConfigurationError(
                f"the path of a cache is {path!r}", hint="name a file, or use MemoryCache() to keep answers in memory"
            )
        self.path = Path(path).expanduser().absolute()  # opened again after a fork, maybe in another folder
        self.most, self.ttl = most, ttl
        self._clock = clock
        self._lock = threading.Lock()
        self._puts, self._tidy_every = 0, max(1, most // 100)
        self._closed = False
        self._made: sqlite3.Connection | None = None
        held_at_fork(self)  # from before it is opened
        try:
            with self._lock:
                self._made = self._connect()
        except _FAILED as exc:
            foreign = isinstance(exc, sqlite3.DatabaseError) and self.path.is_file() and self.path.stat().st_size > 0
            hint = "delete it, or name another file" if foreign else "name a file in a folder you may write to"
            raise ConfigurationError(f"the cache {self.path} cannot be used: {exc}", hint=hint) from exc

    def _connect(self) -> sqlite3.Connection:
        self.path.touch(mode=0o600)
        made = sqlite3.connect(self.path, timeout=_PATIENCE, check_same_thread=False, isolation_level=None)
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("PRAGMA synchronous=OFF")  # a lost entry costs a request, no more
        made.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value BLOB, written REAL, used REAL)")
        made.execute("CREATE INDEX IF NOT EXISTS answers_by_use ON answers (used)")
        return made

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._made is None:
            if self._closed:
                raise sqlite3.ProgrammingError("it is closed")
            self._made = self._connect()
        return self._made

    def pause(self) -> None:
        """See `Pausable`. The file is closed: both processes open it again when they need it. A child that inherits
        it open takes its parent's locks for its own, also for a connection made there, and both write past each
        other: https://www.sqlite.org/howtocorrupt.html, "Carrying an open database connection across a fork".
        """
        self._lock.acquire()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None

    def resume(self) -> None:
        """See `Pausable`."""
        self._lock.release()

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        try:
            with self._lock:
                row = self._connection.execute(
                    "SELECT value, written, used FROM answers WHERE key = ?", (key,)
                ).fetchone()
                now = self._clock()  # taken last: what another process wrote meanwhile is not of the future
                if row is None or not 0 <= now - row[1] <= (now if self.ttl is None else self.ttl):
                    return None
                if now - row[2] >= PRECISION:
                    self._note_use(key, now)
        except _FAILED as exc:
            logger.warning("the cache %s cannot be read: %s", self.path, exc)
            return None
        return bytes(row[0])

    def _note_use(self, key: str, now: float) -> None:
        """Note when an answer was used, unless somebody else is writing: the answer is there in any case."""
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            self._connection.execute("UPDATE answers SET used = ? WHERE key = ?", (now, key))
        except sqlite3.Error as exc:
            logger.debug("the use of an answer in the cache %s was not noted: %s", self.path, exc)
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {_PATIENCE * 1000:.0f}")

    def put(self, key: str, value: bytes) -> None:
        try:
            with self._lock:
                now = self._clock()
                self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (key, value, now, now))
                if self._puts % self._tidy_every == 0:
                    self._make_room()
                self._puts += 1
        except _FAILED as exc:
            logger.warning("the cache %s cannot be written: %s", self.path, exc)

    def _make_room(self) -> None:
        """Drop the least recently used beyond `most`: a walk over the index, so not with every put."""
        self._connection.execute(
            "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers ORDER BY used DESC LIMIT -1 OFFSET ?)",
            (self.most,),
        )

    def clear(self) -> None:
        with self._lock:
            self._connection.execute("DELETE FROM answers")

    def close(self) -> None:
        """Close the file. The cache cannot be used afterwards."""
        with self._lock:
            self._closed = True
            self._disconnect()
