"""`LLMProvider`, the class third parties subclass, and `WireProvider`, which most of ours are."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

from unified_llm.codecs.base import ChatCodec, CodecContext, EmbedCodec, ModelsCodec, StreamDecoder
from unified_llm.codecs.errors import SHAPE_ERRORS, request_id_of, unexpected_shape
from unified_llm.codecs.event_decoder import then_raise
from unified_llm.drivers.base import Driver, ReplyStream
from unified_llm.errors import (
    APITimeoutError,
    InvalidRequestError,
    ResponseError,
    StreamInterruptedError,
    UnifiedLLMError,
    UnsupportedOptionError,
    first_token_late,
)
from unified_llm.marks import CLAUDE, unsent_marks
from unified_llm.messages import Origin
from unified_llm.providers.caching import CachedCall, key_of
from unified_llm.providers.images import ImageFitter
from unified_llm.requests import ChatRequest, EmbedRequest, ModelConfig
from unified_llm.responses import Adjustment, ChatResponse, Embeddings, FinishReason, ModelInfo
from unified_llm.stream import PRELUDE, Accumulator, StreamEnd, StreamEvent, events_of
from unified_llm.wire import WireCall, WireReply

__all__ = ["LLMProvider", "WireProvider"]

_ELSEWHERE = {
    "embeddings": "embed with another provider: UnifiedLLM(..., embed_model='local:')",
    "token counting": "exact=False estimates it; after a call, response.usage has the real figures",
    "list of models": "name the model: model='...'",
}


class LLMProvider(ABC):
    """One place that answers chats. Subclass it and implement `chat`; override more where the provider can more.

    The defaults make every method work: the async ones run the sync one in a thread, `stream` gives the events of
    the finished answer, the others say that the provider cannot do it. Register a class with
    ``unified_llm.register_provider(name, cls)`` or the entry-point group ``unified_llm.providers``.
    """

    name: ClassVar[str] = ""

    @abstractmethod
    def chat(self, request: ChatRequest) -> ChatResponse:
        """Answer `request`. Raises `UnifiedLLMError`."""

    async def chat_async(self, request: ChatRequest) -> ChatResponse:
        """`chat`, without blocking the event loop."""
        return await asyncio.to_thread(self.chat, request)

    def stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        """Events of the answer, the last one a `StreamEnd`. Closing the iterator closes the upstream request."""
        yield from events_of(self.chat(request))

    async def stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """`stream`, without blocking the event loop."""
        for event in events_of(await self.chat_async(request)):
            yield event

    def embed(self, request: EmbedRequest) -> Embeddings:
        """Vectors of `request.texts`, in order."""
        raise self._cannot("embeddings")

    async def embed_async(self, request: EmbedRequest) -> Embeddings:
        """`embed`, without blocking the event loop."""
        return await asyncio.to_thread(self.embed, request)

    def list_models(self) -> list[ModelInfo]:
        """The models this provider offers now."""
        raise self._cannot("list of models")

    async def list_models_async(self) -> list[ModelInfo]:
        """`list_models`, without blocking the event loop."""
        return await asyncio.to_thread(self.list_models)

    def count_tokens(self, request: ChatRequest) -> int:
        """Tokens of the prompt, counted by the provider."""
        raise self._cannot("token counting")

    async def count_tokens_async(self, request: ChatRequest) -> int:
        """`count_tokens`, without blocking the event loop."""
        return await asyncio.to_thread(self.count_tokens, request)

    def default_model(self) -> str | None:
        """The model used when the caller names none, or None when one must be named. May ask the server."""
        return None

    async def default_model_async(self) -> str | None:
        """`default_model`, without blocking the event loop."""
        return await asyncio.to_thread(self.default_model)

    def no_default_model(self) -> UnifiedLLMError:
        """The error (not raised) of a call that names no model where there is no default."""
        name = self.name or type(self).__name__
        return InvalidRequestError(
            f"{name} needs a model name, and has no default",
            provider=name,
            hint="pass model='...' (see list_models() or `unified-llm models list`)",
        )

    def default_embedding_model(self) -> str | None:
        """The embedding model used when the caller names none, or None."""
        return None

    def close(self) -> None:  # noqa: B027  # optional to override: many providers hold nothing
        """Release connections. The provider stays usable."""

    async def aclose(self) -> None:
        """`close` for async use."""
        self.close()

    def _cannot(self, what: str) -> UnsupportedOptionError:
        return UnsupportedOptionError(
            f"{self.name or type(self).__name__} has no {what}",
            provider=self.name or None,
            hint=_ELSEWHERE.get(what, "use another provider for it"),
        )


class WireProvider(LLMProvider):
    """A provider made of a codec and a driver: every method is the same few lines, sync and async.

    `cost_per_call` is in USD where it is known without a price list: 0.0 for what runs on this machine, else None.
    """

    cost_per_call: float | None = None
    cache_scope: str = ""
    """What is said to the server with every call, beside `base_url`: cached answers to another are no answers here."""
    speaks_http: ClassVar[bool] = True
    """Whether the status of a reply is one of HTTP, to be told in errors."""

    def __init__(
        self,
        *,
        context: CodecContext,
        driver: Driver,
        chat: ChatCodec,
        embeddings: EmbedCodec | None = None,
        models: ModelsCodec | None = None,
    ) -> None:
        self.context = context
        self.driver = driver
        self.chat_codec = chat
        self.embed_codec = embeddings
        self.models_codec = models
        self.images = ImageFitter(False, context.provider)

    # -- chat ---------------------------------------------------------------------------------------------------

    def codec_for(self, request: ChatRequest) -> ChatCodec:
        """The dialect of `request`: the same one each time it is asked about the same request."""
        return self.chat_codec

    def chat(self, request: ChatRequest) -> ChatResponse:
        request, notes = self._fitted(request)
        call = self._encoded(request, notes)
        started = time.perf_counter()
        try:
            driver = self._carrier(request, call)
            response = self._decoded(driver.send(call), call, request, started)
            return driver.keep(response) if isinstance(driver, CachedCall) else response
        except UnifiedLLMError as exc:
            exc.with_context(provider=self.context.provider, model=request.model)
            raise

    async def chat_async(self, request: ChatRequest) -> ChatResponse:
        request, notes = await asyncio.to_thread(self._fitted, request) if self._unfit(request) else (request, ())
        call = self._encoded(request, notes)
        started = time.perf_counter()
        try:
            driver = self._carrier(request, call)
            response = self._decoded(await driver.send_async(call), call, request, started)
            return await driver.keep_async(response) if isinstance(driver, CachedCall) else response
        except UnifiedLLMError as exc:
            exc.with_context(provider=self.context.provider, model=request.model)
            raise

    def _unfit(self, request: ChatRequest) -> bool:
        return self.images.unfit(request, self.context.profile.for_model(request.model))

    def _fitted(self, request: ChatRequest) -> tuple[ChatRequest, tuple[Adjustment, ...]]:
        """`request` with images as the server takes them, and what was done to them."""
        if not self._unfit(request):
            return request, ()
        return self.images.fitted(request, self.context.profile.for_model(request.model))

    def _encoded(self, request: ChatRequest, notes: tuple[Adjustment, ...] = ()) -> WireCall:
        codec, config = self.codec_for(request), request.config
        call = codec.encode(request, self.context)
        if codec.dialect != CLAUDE and (unsent := [*unsent_marks(request.messages)]):
            notes = (*notes, *self._unsent(unsent, config))
        if notes:
            call = replace(call, adjustments=(*notes, *call.adjustments))
        if config.connect_timeout is None and config.first_token_timeout is None and config.deadline is None:
            return call
        first = config.first_token_timeout if request.stream else None
        return replace(call, connect=config.connect_timeout, first=first, total=config.deadline)

    def _unsent(self, places: list[str], config: ModelConfig) -> Iterator[Adjustment]:
        """What is recorded of fields for Claude alone; under "error" the first one raises."""
        reason = "only Claude's blocks have it (prompt_caching=True is for every provider that caches on demand)"
        if config.on_unsupported == "error":
            raise UnsupportedOptionError(
                f"{places[0]} cannot be sent: {reason}",
                provider=self.context.provider,
                hint="leave it out, or set on_unsupported='warn' to go on without it",
            )
        return (Adjustment("dropped", place, reason) for place in places)

    def _carrier(self, request: ChatRequest, call: WireCall) -> Driver | CachedCall:
        """Who carries out a call: the driver itself, or the request's cache in front of it."""
        if request.cache is None:
            return self.driver
        address = f"{getattr(self, 'base_url', None) or ''} {self.cache_scope}".strip()
        return CachedCall(request.cache, self.driver, key_of(self.context.provider, address, call))

    def _decoded(self, reply: WireReply, call: WireCall, request: ChatRequest, started: float) -> ChatResponse:
        self._check(reply)
        try:
            response = self.codec_for(request).decode(reply, request, self.context)
        except UnifiedLLMError:
            raise
        except SHAPE_ERRORS as exc:
            raise self._misshapen(exc, reply) from exc
        details = response._d
        details.latency = time.perf_counter() - started
        details.cost = self.cost_per_call if details.cost is None else details.cost
        details.adjustments = call.adjustments + details.adjustments
        return response

    def _check(self, reply: WireReply) -> None:
        if not 200 <= reply.status < 300:
            raise self.chat_codec.error(reply.status, reply.headers, reply.body, self.context)

    def _misshapen(self, exc: Exception, reply: WireReply) -> ResponseError:
        """The error (not raised) of a success whose fields are not what the codec can read."""
        masked = self.chat_codec.error(reply.status, reply.headers, reply.body, self.context)
        return unexpected_shape(
            exc,
            provider=self.context.provider,
            status=reply.status if self.speaks_http else None,
            request_id=request_id_of(reply.headers),
            body=masked.body,
        )

    # -- stream -------------------------------------------------------------------------------------------------

    def stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        request, notes = self._fitted(request)
        call = self._encoded(request, notes)
        run = _StreamRun(self, request, call)
        driver = self._carrier(request, call)
        try:
            with driver.open(call) as reply:
                if not 200 <= reply.status < 300:
                    raise self.chat_codec.error(reply.status, reply.headers, reply.read(), self.context)
                decoder = run.begin(reply.status, reply.headers)
                broken: StreamInterruptedError | None = None
                try:
                    for chunk in reply:
                        for event in run.read(decoder.feed, chunk):
                            yield event
                        run.in_time(reply)
                except StreamInterruptedError as exc:
                    if run.is_late:
                        raise
                    broken = exc
                finally:
                    run.stop_watching()
                for event in run.read(_last_events, decoder, broken):
                    yield event
                response = run.whole()
        except UnifiedLLMError as exc:
            if (late := run.tell(exc)) is not None:
                raise late from exc
            raise
        yield StreamEnd(driver.keep(response) if isinstance(driver, CachedCall) else response)

    async def stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        request, notes = await asyncio.to_thread(self._fitted, request) if self._unfit(request) else (request, ())
        call = self._encoded(request, notes)
        run = _StreamRun(self, request, call)
        driver = self._carrier(request, call)
        try:
            async with driver.open_async(call) as reply:
                if not 200 <= reply.status < 300:
                    raise self.chat_codec.error(reply.status, reply.headers, await reply.read(), self.context)
                decoder = run.begin(reply.status, reply.headers)
                broken: StreamInterruptedError | None = None
                try:
                    async for chunk in reply:
                        for event in run.read(decoder.feed, chunk):
                            yield event
                        run.in_time()
                except StreamInterruptedError as exc:
                    broken = exc
                for event in run.read(_last_events, decoder, broken):
                    yield event
                response = run.whole()
        except UnifiedLLMError as exc:
            if (late := run.tell(exc)) is not None:
                raise late from exc
            raise
        yield StreamEnd(await driver.keep_async(response) if isinstance(driver, CachedCall) else response)

    # -- embeddings and models ----------------------------------------------------------------------------------

    def embed(self, request: EmbedRequest) -> Embeddings:
        if self.embed_codec is None:
            raise self._cannot("embeddings")
        try:
            replies = []
            for call in self.embed_codec.encode(request, self.context):
                replies.append(self.driver.send(call))
                self._check(replies[-1])
            return self._vectors_of(self.embed_codec, replies, request)
        except UnifiedLLMError as exc:
            exc.with_context(provider=self.context.provider, model=request.model)
            raise

    async def embed_async(self, request: EmbedRequest) -> Embeddings:
        if self.embed_codec is None:
            raise self._cannot("embeddings")
        try:
            replies = []
            for call in self.embed_codec.encode(request, self.context):
                replies.append(await self.driver.send_async(call))
                self._check(replies[-1])
            return self._vectors_of(self.embed_codec, replies, request)
        except UnifiedLLMError as exc:
            exc.with_context(provider=self.context.provider, model=request.model)
            raise

    def _vectors_of(self, codec: EmbedCodec, replies: list[WireReply], request: EmbedRequest) -> Embeddings:
        try:
            return codec.decode(replies, request, self.context)
        except UnifiedLLMError:
            raise
        except SHAPE_ERRORS as exc:
            raise (self._misshapen(exc, replies[-1]) if replies else exc) from exc

    def list_models(self) -> list[ModelInfo]:
        if self.models_codec is None:
            raise self._cannot("list of models")
        models: list[ModelInfo] = []
        call: WireCall | None = self.models_codec.encode(self.context)
        try:
            while call is not None:
                reply = self.driver.send(call)
                self._check(reply)
                found, call = self._page_of(self.models_codec, reply, call)
                models += found
        except UnifiedLLMError as exc:
            exc.with_context(provider=self.context.provider)
            raise
        return models

    async def list_models_async(self) -> list[ModelInfo]:
        if self.models_codec is None:
            raise self._cannot("list of models")
        models: list[ModelInfo] = []
        call: WireCall | None = self.models_codec.encode(self.context)
        try:
            while call is not None:
                reply = await self.driver.send_async(call)
                self._check(reply)
                found, call = self._page_of(self.models_codec, reply, call)
                models += found
        except UnifiedLLMError as exc:
            exc.with_context(provider=self.context.provider)
            raise
        return models

    def _page_of(self, codec: ModelsCodec, reply: WireReply, call: WireCall) -> tuple[list[ModelInfo], WireCall | None]:
        """The models on the page that `call` asked for, and the call for the next one.

        Raises:
            ResponseError: a field that cannot be read, or a next page that is this one again.
        """
        try:
            found, following = codec.decode(reply, self.context), codec.next_call(reply, self.context)
        except UnifiedLLMError:
            raise
        except SHAPE_ERRORS as exc:
            raise self._misshapen(exc, reply) from exc
        if following == call:
            raise ResponseError(
                "the list of models has no end: the next page is the same one again",
                status=reply.status if self.speaks_http else None,
                hint="name the model: model='...'; the server does not page as this dialect says",
            )
        return found, following

    def close(self) -> None:
        self.driver.close()

    async def aclose(self) -> None:
        await self.driver.aclose()


def _last_events(decoder: StreamDecoder, broken: StreamInterruptedError | None) -> Iterator[StreamEvent]:
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


class _StreamRun:
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
        (late or exc).with_context(
            provider=self._provider.context.provider,
            model=self._request.model,
            status=self.status if self._provider.speaks_http else None,
            request_id=request_id_of(self.headers) if self.headers is not None else None,
            partial=self.partial(),
        )
        return late

    def partial(self) -> ChatResponse | None:
        try:
            if not self.accumulator.parts():
                return None
            return self.response(finish_reason=FinishReason.ERROR)
        except SHAPE_ERRORS:  # events that do not fit together are the failure itself: no answer can be made of them
            return None
