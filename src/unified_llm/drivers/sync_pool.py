"""The connections of blocking calls: a list of idle ones, the last used first, and a line of those who wait.

Each call has a connection to itself. The pool costs a lock and a list operation per call, however many calls are in
flight; httpx's walks all its connections and requests for each. A call beyond the limit waits in line.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque

from unified_llm.drivers import failures
from unified_llm.drivers.http11 import Direct, connect
from unified_llm.drivers.route import IDLE_SECONDS, Route
from unified_llm.drivers.sync_backend import SyncBackend
from unified_llm.forks import renew_in_child

__all__ = ["Connection", "Pool"]


class Connection:
    """One connection. `generation` tells whether its pool was closed while it was in use."""

    __slots__ = ("backend", "generation", "http", "idle_since", "reused")

    def __init__(self, route: Route, generation: int) -> None:
        self.backend = SyncBackend(http_only=route.proxy is None)
        self.http = connect(route, self.backend)
        self.generation = generation
        self.idle_since = 0.0
        self.reused = False

    def begin(self, expires: float | None) -> None:
        """A call begins that must have ended at `expires`, of `time.monotonic`."""
        self.backend.begin()
        if isinstance(self.http, Direct):
            self.http.expires = expires


class Pool:
    """Idle connections, and the line of those who wait for one."""

    def __init__(self, route: Route, limit: int) -> None:
        self._route = route
        self._limit = limit
        self._reset()
        renew_in_child(self)

    def _reset(self) -> None:
        # The garbage collector may end a stream, which gives its place back, while its thread holds the lock: within,
        # nothing is called between looking at a number and changing it.
        self._lock = threading.RLock()
        self._idle: deque[Connection] = deque()
        self._line: deque[threading.Lock] = deque()
        self._in_use = 0
        self._generation = 0

    def acquire(self, timeout: float) -> Connection:
        """A connection, idle if there is one that the server has left open. Raises `APITimeoutError`."""
        self._enter(timeout)
        try:
            while True:
                with self._lock:
                    connection = self._idle.pop() if self._idle else None
                if connection is None:
                    return self.fresh()
                if time.monotonic() - connection.idle_since < IDLE_SECONDS and not connection.http.has_expired():
                    connection.reused = True
                    return connection
                connection.backend.abort()
        except BaseException:
            self._leave()
            raise

    def fresh(self) -> Connection:
        """A new connection, for a caller that has a place already."""
        return Connection(self._route, self._generation)

    def _enter(self, timeout: float) -> None:
        """Take one of the `limit` places, in the order of arrival."""
        with self._lock:
            if self._in_use < self._limit:
                self._in_use += 1
                return
        turn = threading.Lock()
        turn.acquire()
        with self._lock:
            if self._in_use < self._limit:  # meanwhile
                self._in_use += 1
                return
            self._line.append(turn)
        try:
            granted = turn.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
        except BaseException:
            if self._withdraw(turn):
                self._leave()
            raise
        if not granted and not self._withdraw(turn):
            raise failures.timed_out(self._route.address, "pool", timeout)

    def _withdraw(self, turn: threading.Lock) -> bool:
        """Leave the line; True when the place was granted meanwhile."""
        with self._lock:
            if turn in self._line:
                self._line.remove(turn)
                return False
        return True

    def _leave(self) -> None:
        with self._lock:
            if self._line:
                self._line.popleft().release()  # the place changes hands without becoming free
            else:
                self._in_use -= 1

    def release(self, connection: Connection, *, reusable: bool) -> None:
        """Give a place back, and its connection, to be used again or closed."""
        if reusable and connection.generation == self._generation:
            now = connection.idle_since = time.monotonic()
            with self._lock:
                self._idle.append(connection)
                oldest = self._idle.popleft() if now - self._idle[0].idle_since > IDLE_SECONDS else None
            if oldest is not None:  # left over from a busier time; one per call is enough to let them all go
                oldest.backend.abort()
        else:
            connection.backend.abort()
        self._leave()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, deque()
            self._generation += 1
        for connection in idle:
            connection.backend.abort()

    def __del__(self) -> None:
        # A client that was dropped without close() leaves no open socket (and no ResourceWarning) behind. At the end
        # of the interpreter the system closes them, and the modules that would are half gone.
        if not sys.is_finalizing():
            for connection in self._idle:
                connection.backend.abort()

    def after_fork(self) -> None:
        """In the child: the connections are the parent's, and the lock may be held by a thread that is not here."""
        idle = self._idle
        self._reset()
        for connection in idle:
            connection.backend.abandon()
