"""What `UnifiedLLM.stream` and `chat(stream=True)` return: iterators that can be closed and that know the response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self

from unified_llm.errors import StreamInterruptedError
from unified_llm.responses import ChatResponse
from unified_llm.stream import StreamEnd, StreamEvent, TextDelta

__all__ = ["AsyncChatStream", "AsyncTextStream", "ChatStream", "StreamChunk", "TextStream"]


class StreamChunk(str):
    """A piece of the answer's text. `event` is the `TextDelta` it came from."""

    event: TextDelta

    def __new__(cls, event: TextDelta) -> Self:
        self = super().__new__(cls, event.text)
        self.event = event
        return self


def _unfinished() -> StreamInterruptedError:
    return StreamInterruptedError(
        "the stream ended without an end event", hint="a provider's stream() must yield a StreamEnd last"
    )


class ChatStream(Iterator[StreamEvent]):
    """Typed events of one answer, in order; the last is a `StreamEnd`.

    Use it as a context manager, or just iterate: closing it, leaving the ``with`` block or dropping the last
    reference closes the request upstream. `response` is set once the end was reached, else None.
    """

    response: ChatResponse | None = None

    def __init__(self, events: Iterator[StreamEvent]) -> None:
        self._events = events

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamEvent:
        event = next(self._events)
        if isinstance(event, StreamEnd):
            self.response = event.response
        return event

    def text(self) -> Iterator[str]:
        """Only the text, piece by piece."""
        return (event.text for event in self if isinstance(event, TextDelta))

    def get_response(self) -> ChatResponse:
        """Read to the end and return the whole response."""
        for _ in self:
            pass
        if self.response is None:
            raise _unfinished()
        return self.response

    def close(self) -> None:
        """Stop, and close the request upstream. Safe to call twice."""
        close: Any = getattr(self._events, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncChatStream(AsyncIterator[StreamEvent]):
    """The asynchronous twin of `ChatStream`: ``async for``, ``async with``, `aclose`, `get_response`."""

    response: ChatResponse | None = None

    def __init__(self, events: AsyncIterator[StreamEvent]) -> None:
        self._events = events

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        event = await self._events.__anext__()
        if isinstance(event, StreamEnd):
            self.response = event.response
        return event

    async def text(self) -> AsyncIterator[str]:
        """Only the text, piece by piece."""
        async for event in self:
            if isinstance(event, TextDelta):
                yield event.text

    async def get_response(self) -> ChatResponse:
        """Read to the end and return the whole response."""
        async for _ in self:
            pass
        if self.response is None:
            raise _unfinished()
        return self.response

    async def aclose(self) -> None:
        """Stop, and close the request upstream. Safe to call twice."""
        close: Any = getattr(self._events, "aclose", None)
        if close is not None:
            await close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class TextStream(Iterator[StreamChunk]):
    """What ``chat(..., stream=True)`` returns: pieces of text, each a str with its `event`; `response` at the end."""

    def __init__(self, stream: ChatStream) -> None:
        self._stream = stream

    @property
    def response(self) -> ChatResponse | None:
        """The whole response once the end was reached, else None."""
        return self._stream.response

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamChunk:
        for event in self._stream:
            if isinstance(event, TextDelta):
                return StreamChunk(event)
        raise StopIteration

    def close(self) -> None:
        """Stop, and close the request upstream."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncTextStream(AsyncIterator[StreamChunk]):
    """What ``await chat_async(..., stream=True)`` returns: the asynchronous twin of `TextStream`."""

    def __init__(self, stream: AsyncChatStream) -> None:
        self._stream = stream

    @property
    def response(self) -> ChatResponse | None:
        """The whole response once the end was reached, else None."""
        return self._stream.response

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamChunk:
        async for event in self._stream:
            if isinstance(event, TextDelta):
                return StreamChunk(event)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop, and close the request upstream."""
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
