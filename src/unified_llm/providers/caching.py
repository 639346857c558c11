"""One call through a cache: replays what is kept, else sends, records, and keeps what turned out well."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from types import TracebackType
from typing import Any, Self

from unified_llm.cache import ResponseCache
from unified_llm.drivers.base import AsyncReplyStream, Driver, ReplyStream
from unified_llm.responses import ChatResponse, FinishReason
from unified_llm.stream import StreamEvent
from unified_llm.wire import WireCall, WireReply

__all__ = ["CacheMiss", "CachedCall", "Kept", "KeptOnly", "begun", "begun_async", "key_of"]

logger = logging.getLogger("unified_llm")

_NOT_KEPT = (FinishReason.ERROR, FinishReason.CANCELLED)


def key_of(provider: str, address: str, call: WireCall) -> str:
    """What makes two requests the same: provider, address, method, path, headers and body.

    `address` is also what the provider says with every call (`WireProvider.cache_scope`), its credentials included.
    """
    digest = hashlib.sha256()
    for piece in (provider, address, call.method, call.path, str(call.stream), json.dumps(sorted(call.headers))):
        digest.update(piece.encode() + b"\0")
    digest.update(call.body or b"")
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """A successful answer: the pieces its body came in. Of its headers only the type matters to a decoder."""

    content_type: str
    chunks: tuple[bytes, ...]

    def pack(self) -> bytes:
        """As bytes: a line of JSON, then the body."""
        head = json.dumps({"type": self.content_type, "sizes": [len(c) for c in self.chunks]})
        return head.encode() + b"\n" + b"".join(self.chunks)

    @classmethod
    def unpack(cls, packed: bytes) -> Self | None:
        """The answer, or None when the bytes are none (another version's, a damaged file)."""
        head, _, body = packed.partition(b"\n")
        try:
            known = json.loads(head)
            sizes = [int(size) for size in known["sizes"]]
            content_type = str(known["type"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        if sum(sizes) != len(body) or min(sizes, default=0) < 0:
            return None
        chunks, start = [], 0
        for size in sizes:
            chunks.append(body[start : start + size])
            start += size
        return cls(content_type, tuple(chunks))

    def reply(self) -> WireReply:
        """The answer as a whole."""
        return WireReply(200, {"content-type": self.content_type}, b"".join(self.chunks))


class CacheMiss(Exception):  # noqa: N818  # it never leaves the client
    """The cache does not have the answer."""


class KeptOnly(ResponseCache):
    """Another cache, looked into without asking anybody: a provider that would send a request gets `CacheMiss`."""

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache

    def get(self, key: str) -> bytes:
        return _intact(_get(self._cache, key))

    async def get_async(self, key: str) -> bytes:
        return _intact(await _get_async(self._cache, key))

    def put(self, key: str, value: bytes) -> None:
        """Nothing: what is given was kept."""

    def clear(self) -> None:
        """Nothing: the other cache is somebody else's."""


# A cache is the application's, and so is what it raises: it costs a request, never the call.


def _get(cache: ResponseCache, key: str) -> bytes | None:
    try:
        return cache.get(key)
    except CacheMiss:
        raise
    except Exception as exc:  # noqa: BLE001
        _failed("get", cache, exc)
        return None


async def _get_async(cache: ResponseCache, key: str) -> bytes | None:
    try:
        return await cache.get_async(key)
    except CacheMiss:
        raise
    except Exception as exc:  # noqa: BLE001
        _failed("get", cache, exc)
        return None


def _put(cache: ResponseCache, key: str, value: bytes) -> None:
    try:
        cache.put(key, value)
    except Exception as exc:  # noqa: BLE001
        _failed("put", cache, exc)


async def _put_async(cache: ResponseCache, key: str, value: bytes) -> None:
    try:
        await cache.put_async(key, value)
    except Exception as exc:  # noqa: BLE001
        _failed("put", cache, exc)


def _failed(what: str, cache: ResponseCache, exc: Exception) -> None:
    logger.warning("%s of the cache %s raised %s", what, type(cache).__name__, type(exc).__name__)


_KEEPING: set[asyncio.Future[None]] = set()
"""What is still being kept when its call is over: event loops keep tasks only weakly."""


def _intact(packed: bytes | None) -> bytes:
    if packed is None or Kept.unpack(packed) is None:  # the provider would ask for what it cannot read
        raise CacheMiss
    return packed


def begun(events: Iterator[StreamEvent]) -> Iterator[StreamEvent] | None:
    """The events of a stream through `KeptOnly`, or None when the cache does not have them."""
    first: list[StreamEvent] = []
    try:
        for event in events:
            first.append(event)
            if event.type != "progress":  # a model in this process is loaded before the cache is looked into
                break
    except CacheMiss:
        return None
    return chain(first, events)


async def begun_async(events: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent] | None:
    """`begun` for an event loop."""
    first: list[StreamEvent] = []
    try:
        async for event in events:
            first.append(event)
            if event.type != "progress":
                break
    except CacheMiss:
        return None
    return _chained(first, events)


async def _chained(first: list[StreamEvent], rest: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
    for event in first:
        yield event
    async for event in rest:
        yield event


class CachedCall:
    """The part of a `Driver` that one call needs. `hit`: the answer came from the cache.

    `seconds` is what the call has left: half of what is left of it when the answer came may be spent on keeping it.
    """

    def __init__(self, cache: ResponseCache, driver: Driver, key: str, seconds: float | None = None) -> None:
        self._cache, self._driver, self._key = cache, driver, key
        self._expires = None if seconds is None else time.monotonic() + seconds
        self._recorded: list[bytes] = []
        self._type = ""
        self.hit = False

    def send(self, call: WireCall) -> WireReply:
        """See `Driver.send`."""
        kept = self._found(_get(self._cache, self._key))
        return kept.reply() if kept is not None else self._noted(self._driver.send(call))

    async def send_async(self, call: WireCall) -> WireReply:
        """See `Driver.send_async`."""
        kept = self._found(await _get_async(self._cache, self._key))
        return kept.reply() if kept is not None else self._noted(await self._driver.send_async(call))

    def open(self, call: WireCall) -> ReplyStream:
        """See `Driver.open`."""
        kept = self._found(_get(self._cache, self._key))
        return _Replay(kept) if kept is not None else _Recorded(self._driver.open(call), self)

    def open_async(self, call: WireCall) -> AsyncReplyStream:
        """See `Driver.open_async`."""
        return _AsyncReply(self, call)

    def keep(self, response: ChatResponse) -> ChatResponse:
        """Keep what was recorded: the answer was understood, and is complete. Marks what came from the cache."""
        if self._worth_keeping(response):
            _put(self._cache, self._key, self._packed())
        return self._marked(response)

    async def keep_async(self, response: ChatResponse) -> ChatResponse:
        """`keep`, without blocking the event loop."""
        if self._worth_keeping(response):
            await self._put_in_time(_put_async(self._cache, self._key, self._packed()))
        return self._marked(response)

    async def _put_in_time(self, keeping: Coroutine[Any, Any, None]) -> None:
        """Wait until the answer is kept, but not so long that it would be lost to the deadline for that."""
        if self._expires is None:
            await keeping
            return
        task = asyncio.ensure_future(keeping)
        _KEEPING.add(task)
        task.add_done_callback(_KEEPING.discard)
        await asyncio.wait((task,), timeout=max(0.0, self._expires - time.monotonic()) / 2)

    def begin(self, headers: Mapping[str, str]) -> None:
        """An answer starts."""
        self._type = headers.get("content-type", "")

    def record(self, chunk: bytes) -> None:
        """A piece of an answer came."""
        self._recorded.append(chunk)

    async def find_async(self) -> Kept | None:
        """What is kept."""
        return self._found(await _get_async(self._cache, self._key))

    def open_upstream(self, call: WireCall) -> AsyncReplyStream:
        """The real stream."""
        return self._driver.open_async(call)

    def _found(self, packed: bytes | None) -> Kept | None:
        kept = Kept.unpack(packed) if packed is not None else None
        self.hit = kept is not None
        return kept

    def _noted(self, reply: WireReply) -> WireReply:
        self.begin(reply.headers)
        self.record(reply.body)
        return reply

    def _worth_keeping(self, response: ChatResponse) -> bool:
        return not self.hit and response.finish_reason not in _NOT_KEPT

    def _packed(self) -> bytes:
        return Kept(self._type, tuple(self._recorded)).pack()

    def _marked(self, response: ChatResponse) -> ChatResponse:
        if self.hit:
            response._d.cached, response._d.cost = True, 0.0
        return response


class _Replay:
    """A `ReplyStream` of an answer that was kept."""

    status = 200

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self.headers: Mapping[str, str] = {"content-type": kept.content_type}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is held."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._kept.chunks)

    def read(self) -> bytes:
        """The body at once."""
        return b"".join(self._kept.chunks)


class _Recorded:
    """A `ReplyStream` whose pieces are recorded as they pass."""

    status = 0
    headers: Mapping[str, str] = {}

    def __init__(self, stream: ReplyStream, call: CachedCall) -> None:
        self._stream, self._call = stream, call

    def __enter__(self) -> Self:
        self._stream.__enter__()
        self.status, self.headers = self._stream.status, self._stream.headers
        self._call.begin(self.headers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.__exit__(kind, value, traceback)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._call.record(chunk)
            yield chunk

    def read(self) -> bytes:
        """The rest of the body at once."""
        return self._stream.read()


class _AsyncReply:
    """An `AsyncReplyStream`: what is kept, else the upstream's, recorded. Looked up when the context is entered."""

    status = 0
    headers: Mapping[str, str] = {}

    def __init__(self, call: CachedCall, wire: WireCall) -> None:
        self._call, self._wire = call, wire
        self._kept: Kept | None = None
        self._stream: AsyncReplyStream | None = None

    async def __aenter__(self) -> Self:
        self._kept = await self._call.find_async()
        if self._kept is not None:
            self.status, self.headers = 200, {"content-type": self._kept.content_type}
            return self
        stream = self._call.open_upstream(self._wire)
        await stream.__aenter__()
        self._stream = stream
        self.status, self.headers = stream.status, stream.headers
        self._call.begin(self.headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._stream.__aexit__(kind, value, traceback)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._kept is not None:
            for chunk in self._kept.chunks:
                yield chunk
        elif self._stream is not None:
            async for chunk in self._stream:
                self._call.record(chunk)
                yield chunk

    async def read(self) -> bytes:
        """The rest of the body at once."""
        return await self._stream.read() if self._stream is not None else b""
