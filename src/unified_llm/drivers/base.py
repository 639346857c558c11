"""The seam between translation and I/O: what every driver offers.

A driver carries `WireCall`s to one server and brings bytes back. It knows the address and the credentials; it knows
nothing of models, messages or retries. Error *statuses* are not exceptions here: they come back as replies, because
only the codec can read their bodies. Only failures of the transport raise.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from unified_llm.wire import WireCall, WireReply

__all__ = ["AsyncReplyStream", "Driver", "ReplyStream"]


class ReplyStream(Protocol):
    """A streamed answer. Iterating gives the body's bytes as they arrive; leaving the context closes the request.

    Iteration raises `APITimeoutError` when nothing came for the timeout, `StreamInterruptedError` when the
    connection broke before the end of the body.
    """

    status: int
    headers: Mapping[str, str]

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def read(self) -> bytes:
        """The rest of the body at once (for error bodies)."""
        ...


class AsyncReplyStream(Protocol):
    """The asynchronous twin of `ReplyStream`. Leaving the context closes the request even when cancelled."""

    status: int
    headers: Mapping[str, str]

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def read(self) -> bytes:
        """The rest of the body at once (for error bodies)."""
        ...


@runtime_checkable
class Driver(Protocol):
    """Carries calls to one server, sync and async.

    Thread-safe; the async side may be used from several event loops, each with its own connections. Raises
    `APIConnectionError` (nothing was answered) and `APITimeoutError`; returns every HTTP status as a reply.
    """

    def send(self, call: WireCall) -> WireReply: ...
    async def send_async(self, call: WireCall) -> WireReply: ...
    def open(self, call: WireCall) -> ReplyStream:
        """Start a streamed call. Nothing is sent before the context is entered."""
        ...

    def open_async(self, call: WireCall) -> AsyncReplyStream:
        """Start a streamed call. Nothing is sent before the context is entered."""
        ...

    def close(self) -> None:
        """Close the sync connections (and drop the async ones whose loop is gone). Usable again afterwards."""
        ...

    async def aclose(self) -> None:
        """Close the sync connections and those of the running loop."""
        ...
