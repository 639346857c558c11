"""Streamed answers of the client, sync and async."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple

from unified_llm.chat_stream import AsyncChatStream, ChatStream
from unified_llm.client.base import Messages, Tools, retarget, retry_of
from unified_llm.client.kept import KeptAnswers
from unified_llm.flow import CallInfo
from unified_llm.flow.admission import Place
from unified_llm.flow.open_streams import OpenStream
from unified_llm.policy import Send
from unified_llm.providers.base import LLMProvider
from unified_llm.requests import ModelConfig
from unified_llm.stream import StreamEnd, StreamEvent

__all__ = ["StreamCalls"]


class StreamCalls(KeptAnswers):
    """The streaming calls."""

    def stream(
        self, messages: Messages, config: ModelConfig | None = None, tools: Tools = None, **options: Any
    ) -> ChatStream:
        """Typed events of the answer (see `unified_llm.stream`); the request starts with the first one.

        Closing or dropping the stream closes the request upstream. An error in mid-stream carries what had arrived
        as ``error.partial``.
        """
        return ChatStream(self._events(messages, config, tools, options))

    def _events(
        self, messages: Messages, config: ModelConfig | None, tools: Tools, options: dict[str, Any]
    ) -> Iterator[StreamEvent]:
        started = self._flow.clock()
        request, settings = self._prepare(messages, config, tools, options, stream=True)
        expires = self._flow.expiry(started, settings.deadline)
        targets = self._targets(settings, expires)
        info = self._info("stream", targets[0], settings, request, expires)

        def ask(step: Send) -> Iterator[StreamEvent]:
            first = step.target is targets[0]
            if not first and (known := self._kept_events(step.target, request, expires)) is not None:
                yield from known
                return
            provider, model = self._resolve(step.target, step.expires)
            said: list[StreamEvent] = []
            with self._flow.admission.admitted(step, info) as place:
                if place.waiting:
                    place.wait()
                try:
                    for event in provider.stream(self._for(step, request, model, info)):
                        if isinstance(event, StreamEnd):
                            place.used(event.response.usage)
                        said.append(event)
                        yield event
                except BaseException as exc:
                    self._cut(info, provider, place, said, exc)
                    raise

        try:
            self._flow.hooks.call("before_call", info)
            if (kept := self._kept_events(targets[0], request, expires)) is not None:
                retarget(info, targets[0])
                self._flow.hooks.call("on_request", info)
            for event in kept or self._flow.stream(targets, info, ask, **retry_of(settings)):
                if isinstance(event, StreamEnd):
                    self._finish(request, event.response, notes=info.notes)
                    self._flow.hooks.call("on_response", info, event.response)
                yield event
        finally:
            if self._flow.hooks.ends(info):
                self._flow.hooks.call("on_end", info)

    def stream_async(
        self, messages: Messages, config: ModelConfig | None = None, tools: Tools = None, **options: Any
    ) -> AsyncChatStream:
        """`stream` for ``async for``; returns at once."""
        opened = OpenStream(self._flow.open_streams)
        events = self._events_async(messages, config, tools, options, opened)
        stream = AsyncChatStream(events)
        opened.watch(stream, events)
        return stream

    async def _events_async(
        self,
        messages: Messages,
        config: ModelConfig | None,
        tools: Tools,
        options: dict[str, Any],
        opened: OpenStream,
    ) -> AsyncGenerator[StreamEvent, None]:
        started = self._flow.clock()
        request, settings = await self._prepare_async(messages, config, tools, options, stream=True)
        expires = self._flow.expiry(started, settings.deadline)
        targets = await self._targets_async(settings, expires)
        info = self._info("stream", targets[0], settings, request, expires)

        asked: list[_Asked] = []  # the request that was sent last

        async def ask(step: Send) -> AsyncGenerator[StreamEvent, None]:
            first = step.target is targets[0]
            if not first and (known := await self._kept_events_async(step.target, request, expires)) is not None:
                async for event in known:
                    yield event
                return
            provider, model = await self._resolve_async(step.target, step.expires)
            said: list[StreamEvent] = []
            with self._flow.admission.admitted(step, info) as place:
                asked[:] = [_Asked(provider, place, said)]
                if place.waiting:
                    await place.wait_async()
                try:
                    async with closing(provider.stream_async(self._for(step, request, model, info))) as events:
                        async for event in events:
                            if isinstance(event, StreamEnd):
                                place.used(event.response.usage)
                            said.append(event)
                            yield event
                except BaseException as exc:
                    await self._cut_async(info, provider, place, said, exc)
                    raise

        opened.began(lambda: self._lost(info, asked))
        try:
            await self._flow.hooks.call_async("before_call", info)
            if (kept := await self._kept_events_async(targets[0], request, expires)) is not None:
                retarget(info, targets[0])
                await self._flow.hooks.call_async("on_request", info)
            async with closing(
                kept or self._flow.stream_async(targets, info, ask, settings.first_token_timeout, **retry_of(settings))
            ) as events:
                async for event in events:
                    if isinstance(event, StreamEnd):
                        self._finish(request, event.response, notes=info.notes)
                        await self._flow.hooks.call_async("on_response", info, event.response)
                    yield event
        finally:
            opened.ended()
            if self._flow.hooks.ends(info):
                await self._flow.hooks.call_async("on_end", info)

    def _lost(self, info: CallInfo, asked: Sequence[_Asked]) -> None:
        """End a stream for whose next event a task waits on an event loop that was closed: nothing of it runs again."""
        reason = GeneratorExit()
        for provider, place, said in asked:
            if not place.waiting:
                self._cut(info, provider, place, said, reason)
            place.__exit__(GeneratorExit, reason, None)
        self._flow.hooks.call("on_error", info, reason)
        self._flow.hooks.call("on_end", info)
        info.over = True


class _Asked(NamedTuple):
    """A request of a stream: whom it was sent to, its place in the limits, and what came of it."""

    provider: LLMProvider
    place: Place
    said: list[StreamEvent]


class closing:  # noqa: N801  # beside `contextlib.aclosing`, which wants what can be closed
    """Close an async iterator at the end, if it can be closed: the upstream request must not wait for the collector.

    A class, as a generator would cost more than the rest of what is done for an event.
    """

    __slots__ = ("_events",)

    def __init__(self, events: AsyncIterator[StreamEvent]) -> None:
        self._events = events

    async def __aenter__(self) -> AsyncIterator[StreamEvent]:
        return self._events

    async def __aexit__(self, *_: object) -> None:
        close: Any = getattr(self._events, "aclose", None)
        if close is not None:
            await close()
