"""The streamed answers of a model in its process: what the HTTP driver gives, once the model is loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from unified_llm.drivers.base import AsyncReplyStream, ReplyStream
from unified_llm.drivers.llamacpp_engine import LoadedModel
from unified_llm.errors import APIConnectionError, StreamInterruptedError
from unified_llm.wire import WireCall

__all__ = ["AsyncLlamaStream", "LlamaStream", "explained"]


@contextmanager
def explained(model: LoadedModel) -> Iterator[None]:
    """Say of a broken connection what is behind it: that the process of `model` has ended."""
    try:
        yield
    except (APIConnectionError, StreamInterruptedError) as exc:
        reason = model.why_it_ended()
        if reason is None:
            raise
        hint = "ask again: the model is loaded anew"
        raise type(exc)(reason, status=exc.status, hint=hint, retryable=True) from exc


class LlamaStream:
    """See `drivers.base.ReplyStream`. `ready` gives the loaded model and the call."""

    status: int
    headers: Mapping[str, str]
    _reply: ReplyStream
    _model: LoadedModel

    def __init__(self, ready: Callable[[], tuple[LoadedModel, WireCall]]) -> None:
        self._ready = ready

    def __enter__(self) -> Self:
        self._model, call = self._ready()
        with explained(self._model):
            self._reply = self._model.driver.open(call).__enter__()
        self.status, self.headers = self._reply.status, self._reply.headers
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reply.__exit__(kind, value, traceback)

    def __iter__(self) -> Iterator[bytes]:
        with explained(self._model):
            yield from self._reply

    def read(self) -> bytes:
        """The rest of the body at once."""
        with explained(self._model):
            return self._reply.read()


class AsyncLlamaStream:
    """See `drivers.base.AsyncReplyStream`."""

    status: int
    headers: Mapping[str, str]
    _reply: AsyncReplyStream
    _model: LoadedModel

    def __init__(self, ready: Callable[[], Awaitable[tuple[LoadedModel, WireCall]]]) -> None:
        self._ready = ready

    async def __aenter__(self) -> Self:
        self._model, call = await self._ready()
        with explained(self._model):
            self._reply = await self._model.driver.open_async(call).__aenter__()
        self.status, self.headers = self._reply.status, self._reply.headers
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._reply.__aexit__(kind, value, traceback)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with explained(self._model):
            async for chunk in self._reply:
                yield chunk

    async def read(self) -> bytes:
        """The rest of the body at once."""
        with explained(self._model):
            return await self._reply.read()
