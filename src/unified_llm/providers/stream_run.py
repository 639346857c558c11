"""One streamed call of a `WireProvider`: its events, its times, and the answer or failure they add up to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from unified_llm.codecs.base import StreamDecoder
from unified_llm.codecs.errors import SHAPE_ERRORS, request_id_of, unexpected_shape
from unified_llm.codecs.event_decoder import then_raise
from unified_llm.drivers.base import ReplyStream
from unified_llm.errors import (
    APITimeoutError,
    StreamInterruptedError,
    UnifiedLLMError,
    first_token_late,
)
from unified_llm.messages import Origin
from unified_llm.providers.own_headers import mask_given
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse, FinishReason
from unified_llm.stream import PRELUDE, Accumulator, StreamEvent
from unified_llm.wire import WireCall

if TYPE_CHECKING:
    from unified_llm.providers.base import WireProvider

__all__ = ["StreamRun", "last_events"]


def last_events(decoder: StreamDecoder, broken: StreamInterruptedError | None) -> Iterator[StreamEvent]:
    """What the decoder still holds. A connection that broke matters only if the answer was not complete by then.

    Raises:
        StreamInterruptedError: it was not, or only the end of the body could have told.
    """
    if broken is not None and getattr(decoder, "ends_with_body", False):
        raise broken from broken.__cause__
    try:
        yield from decoder.close()
    except StreamInterruptedError:
        if broken is not None:
            raise broken from broken.__cause__
        raise


class StreamRun:
    """What one streamed call has produced so far, and when."""

    __slots__ = (
        "_call",
        "_codec",
        "_decoder",
        "_provider",
        "_request",
        "_watch",
        "accumulator",
        "first",
        "headers",
        "is_late",
        "started",
        "status",
    )

    def __init__(self, provider: WireProvider, request: ChatRequest, call: WireCall) -> None:
        self._provider = provider
        self._codec = provider.codec_for(request)
        self._decoder: Any = None
        self._request = request
        self._call = call
        self.accumulator = Accumulator()
        self.started = time.perf_counter()
        self.first: float | None = None
        self.is_late = False
        self._watch: threading.Timer | None = None
        self.status: int | None = None
        self.headers: Any = None

    def begin(self, status: int, headers: Any) -> Any:
        self.status = status
        self.headers = headers
        self._decoder = self._codec.decoder(headers, self._request, self._provider.context)
        return self._decoder

    def add(self, event: StreamEvent) -> None:
        if self.first is None and event.type not in PRELUDE:
            self.first = time.perf_counter() - self.started
        self.accumulator.add(event)

    def read(self, source: Callable[..., Iterable[StreamEvent]], *arguments: Any) -> Iterable[StreamEvent]:
        """The events of ``source(*arguments)``, kept. An error is raised while iterating, after the events before."""
        events: list[StreamEvent] = []
        try:
            for event in source(*arguments):
                self.add(event)
                events.append(event)
        except UnifiedLLMError as exc:
            return then_raise(events, exc)
        except SHAPE_ERRORS as exc:
            return then_raise(events, unexpected_shape(exc))
        return events

    def whole(self) -> ChatResponse:
        """The response at the end of the stream. Raises `ResponseError` for events that do not fit together."""
        try:
            return self.response()
        except UnifiedLLMError:
            raise
        except SHAPE_ERRORS as exc:
            raise unexpected_shape(exc) from exc

    def response(self, **details: Any) -> ChatResponse:
        provider = self._provider
        told = getattr(self._decoder, "cost", None)
        return self.accumulator.response(
            origin=Origin(provider.context.provider, self._codec.dialect, self._request.model),
            **{"model": self.accumulator.start.model or self._request.model} | details,
            provider=provider.context.provider,
            cost=provider.cost_per_call if told is None else told,
            adjustments=self._call.adjustments + getattr(self._decoder, "adjustments", ()),
            response_format=self._request.response_format,
            latency=time.perf_counter() - self.started,
            time_to_first_token=self.first,
            headers=self.headers,
        )

    def in_time(self, reply: ReplyStream | None = None) -> None:
        """Keep-alive comments are no tokens. Raises `APITimeoutError`.

        A `reply` that blocks its thread is watched from now on, by another one, until its first token: the driver knows
        only that it has begun.
        """
        limit = self._request.config.first_token_timeout
        if limit is None:
            return
        if self._says_nothing_for(limit):
            raise first_token_late(limit)
        if self.first is not None:
            self.stop_watching()
        elif reply is not None and self._watch is None and self._provider.speaks_http:
            left = limit - (time.perf_counter() - self.started)
            self._watch = threading.Timer(max(0.0, left), self._give_up, (reply,))
            self._watch.daemon = True
            self._watch.start()

    def _give_up(self, reply: ReplyStream) -> None:
        """Close a reply whose first token is late: who reads it wakes up."""
        if self.first is None:
            self.is_late = True
            reply.__exit__(None, None, None)

    def stop_watching(self) -> None:
        """The first token came, or nothing comes any more."""
        if self._watch is not None:
            self._watch.cancel()

    def _says_nothing_for(self, seconds: float) -> bool:
        return self.first is None and time.perf_counter() - self.started >= seconds

    def tell(self, exc: UnifiedLLMError) -> UnifiedLLMError | None:
        """Complete a failure with what is known here: who was asked, the head of the reply, and what had arrived.

        Returns what to raise in its place: the driver does not know what it was waiting for.
        """
        limit = self._request.config.first_token_timeout
        late: UnifiedLLMError | None = None
        timed_out = isinstance(exc, APITimeoutError) and limit is not None and self._says_nothing_for(0.9 * limit)
        if limit is not None and (self.is_late or timed_out):
            late = first_token_late(limit)
        told = (late or exc).with_context(
            provider=self._provider.context.provider,
            model=self._request.model,
            status=self.status if self._provider.speaks_http else None,
            request_id=request_id_of(self.headers) if self.headers is not None else None,
            partial=self.partial(),
        )
        mask_given(told, self._request.config)
        return late

    def partial(self) -> ChatResponse | None:
        try:
            if not self.accumulator.parts():
                return None
            return self.response(finish_reason=FinishReason.ERROR)
        except SHAPE_ERRORS:  # events that do not fit together are the failure itself: no answer can be made of them
            return None
