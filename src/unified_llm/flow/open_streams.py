"""Streams that were left open on an event loop that is closed: nobody ends them, and they must end all the same.

An event loop that is closed without `shutdown_asyncgens` runs nothing any more: a stream that was left open on it would
keep its place in the limits, its share of a budget, and its span, for as long as the client lives.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

__all__ = ["OpenStream", "OpenStreams"]

logger = logging.getLogger("unified_llm")

MOST_STEPS = 100
"""Waits that are cut short while a stream is unwound; its own `finally` clauses have a handful."""


class OpenStream:
    """One stream of a client: its events, as long as it is open, and the loop on which they are read."""

    __slots__ = ("__weakref__", "_events", "_lost", "_streams", "_wrapper", "loop")

    def __init__(self, streams: OpenStreams) -> None:
        self._streams = streams
        self._events: AsyncGenerator[Any, None] | None = None
        self._wrapper: weakref.ref[object] | None = None
        self._lost: Callable[[], object] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def watch(self, wrapper: object, events: AsyncGenerator[Any, None]) -> None:
        """`wrapper` is what the application holds: dropping it drops the events, as if nobody else had them."""
        self._events = events
        self._wrapper = weakref.ref(wrapper, self._dropped)

    def began(self, lost: Callable[[], object]) -> None:
        """Its first event is asked for. `lost` gives back what it holds, for when it can do so no more."""
        self._lost = lost
        self.loop = asyncio.get_running_loop()
        self._streams.add(self)

    def ended(self) -> None:
        """Its generator came to its end."""
        self._streams.discard(self)
        self._events = self._lost = None

    def _dropped(self, _: object) -> None:
        self._streams.discard(self)
        if self.loop is not None and self.loop.is_closed():
            self.unwind()
        self._events = None  # a loop that lives closes it now

    def unwind(self) -> None:
        """Run the `finally` clauses of the events without a loop: whatever waits there is told that it is closed."""
        events, self._events = self._events, None
        lost, self._lost = self._lost, None
        if events is None:
            return
        if cast(Any, events).ag_running:  # a task of that loop waits for the next event, for ever
            if lost is not None:
                lost()
            return
        closing = events.aclose()
        try:
            closing.send(None)
            for _ in range(MOST_STEPS):
                closing.throw(RuntimeError("the event loop is closed"))
        except StopIteration:
            return
        except Exception as exc:  # noqa: BLE001  # the upstream's connection belonged to the loop, and may say so
            logger.debug("a stream that was left open on a closed loop ended with %s", type(exc).__name__)


class OpenStreams:
    """The streams of one client that are open. Without a lock: a stream may be dropped by the garbage collector, in
    the middle of any of these methods."""

    def __init__(self) -> None:
        self._by_loop: dict[asyncio.AbstractEventLoop, set[OpenStream]] = {}

    def add(self, stream: OpenStream) -> None:
        """One more."""
        if stream.loop is not None:
            self._by_loop.setdefault(stream.loop, set()).add(stream)

    def discard(self, stream: OpenStream) -> None:
        """One fewer."""
        if stream.loop is not None and (others := self._by_loop.get(stream.loop)) is not None:
            others.discard(stream)

    def reclaim(self) -> None:
        """End the streams whose event loop is closed."""
        for loop in list(self._by_loop):
            if loop.is_closed():
                for stream in self._by_loop.pop(loop, ()):
                    stream.unwind()
