"""Streamed answers of the `anthropic` SDK's HTTP client as bytes, its exceptions in our words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from unified_llm.drivers.aws_event_stream import CONTENT_TYPE, EventStreamDecoder, FrameError

if TYPE_CHECKING:
    import httpx2

    from unified_llm.drivers.anthropic_clients import SDK

__all__ = ["Reading", "SDKAsyncReplyStream", "SDKReplyStream"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading an answer needs besides the answer: the packages, and the seconds of silence it may take."""

    sdk: SDK
    seconds: float | None


def _is_read_or_compressed(response: httpx2.Response) -> bool:
    return response.is_stream_consumed or "content-encoding" in response.headers


def _is_framed(response: httpx2.Response) -> bool:
    return str(response.headers.get("content-type", "")).startswith(CONTENT_TYPE)


class SDKReplyStream:
    """See `drivers.base.ReplyStream`. `exchange` sends the request, when the context is entered."""

    __slots__ = ("_exchange", "_reading", "_response", "headers", "status")

    _response: httpx2.Response

    def __init__(self, exchange: Callable[[], httpx2.Response], reading: Callable[[], Reading]) -> None:
        self._exchange = exchange
        self._reading = reading
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        self._response = self._exchange()
        self.status = self._response.status_code
        self.headers = dict(self._response.headers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._response.close()

    def __iter__(self) -> Iterator[bytes]:
        response, reading = self._response, self._reading()
        try:
            # Decoding layers cost more than the event they pass on, and event streams are hardly ever compressed.
            pieces: Any = response.iter_bytes() if _is_read_or_compressed(response) else response.stream
            if not _is_framed(response):
                yield from pieces
                return
            decoder = EventStreamDecoder()
            for piece in pieces:
                yield from decoder.feed(piece)
        except FrameError as exc:
            raise reading.sdk.failures.of_frames(exc, self.status, self.headers) from exc
        except reading.sdk.httpx2.HTTPError as exc:
            raise reading.sdk.failures.of_body(exc, self.status, self.headers, reading.seconds) from exc

    def read(self) -> bytes:
        """See the protocol."""
        return b"".join(self)


class SDKAsyncReplyStream:
    """See `drivers.base.AsyncReplyStream`. `exchange` sends the request, when the context is entered."""

    __slots__ = ("_exchange", "_reading", "_response", "headers", "status")

    _response: httpx2.Response

    def __init__(self, exchange: Callable[[], Awaitable[httpx2.Response]], reading: Callable[[], Reading]) -> None:
        self._exchange = exchange
        self._reading = reading
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        self._response = await self._exchange()
        self.status = self._response.status_code
        self.headers = dict(self._response.headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import anyio  # the SDK depends on it

        with anyio.CancelScope(shield=True):  # a cancelled scope would stop the closing, and the server go on writing
            await self._response.aclose()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        response, reading = self._response, self._reading()
        pieces: Any = response.aiter_bytes() if _is_read_or_compressed(response) else response.stream
        try:
            if not _is_framed(response):
                async for piece in pieces:
                    yield piece
                return
            decoder = EventStreamDecoder()
            async for piece in pieces:
                for event in decoder.feed(piece):
                    yield event
        except FrameError as exc:
            raise reading.sdk.failures.of_frames(exc, self.status, self.headers) from exc
        except reading.sdk.httpx2.HTTPError as exc:
            raise reading.sdk.failures.of_body(exc, self.status, self.headers, reading.seconds) from exc

    async def read(self) -> bytes:
        """See the protocol."""
        return b"".join([piece async for piece in self])
