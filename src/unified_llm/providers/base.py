"""`WireProvider`: a provider made of a codec and a driver, which most of ours are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import ClassVar

from unified_llm.codecs.base import ChatCodec, CodecContext, EmbedCodec, ModelsCodec
from unified_llm.codecs.errors import SHAPE_ERRORS, request_id_of, unexpected_shape
from unified_llm.drivers.base import Driver
from unified_llm.errors import (
    APITimeoutError,
    ResponseError,
    StreamInterruptedError,
    UnifiedLLMError,
    UnsupportedOptionError,
)
from unified_llm.marks import WHY_UNSENT, are_plain, unsent_marks
from unified_llm.profiles import Profile
from unified_llm.providers.abstract import LLMProvider
from unified_llm.providers.caching import CachedCall, CacheMiss, KeptOnly, key_of
from unified_llm.providers.images import ImageFitter
from unified_llm.providers.own_headers import mask_given
from unified_llm.providers.stream_run import StreamRun, last_events
from unified_llm.requests import ChatRequest, EmbedRequest, ModelConfig
from unified_llm.responses import Adjustment, ChatResponse, Embeddings, ModelInfo
from unified_llm.stream import StreamEnd, StreamEvent
from unified_llm.wire import WireCall, WireReply

__all__ = ["LLMProvider", "WireProvider"]


class WireProvider(LLMProvider):
    """A provider made of a codec and a driver: every method is the same few lines, sync and async.

    `cost_per_call` is in USD where it is known without a price list: 0.0 for what runs on this machine, else None.
    """

    cost_per_call: float | None = None
    cache_scope: str = ""
    """What is said to the server with every call, beside `base_url`: cached answers to another are no answers here.
    What is secret of it, or long, is there as its `own_headers.digest_of`."""
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
        plain = are_plain(request.messages)
        request, notes = (request, ()) if plain else self._fitted(request)
        call = self._encoded(request, notes, plain=plain)
        started = time.perf_counter()
        try:
            driver = self._carrier(request, call)
            response = self._decoded(driver.send(call), call, request, started)
            return driver.keep(response) if isinstance(driver, CachedCall) else response
        except UnifiedLLMError as exc:
            mask_given(exc.with_context(provider=self.context.provider, model=request.model), request.config)
            raise

    async def chat_async(self, request: ChatRequest) -> ChatResponse:
        plain = are_plain(request.messages)
        request, notes = (request, ()) if plain else await self._fitted_async(request)
        call = self._encoded(request, notes, plain=plain)
        started = time.perf_counter()
        try:
            driver = self._carrier(request, call)
            response = self._decoded(await driver.send_async(call), call, request, started)
            return await driver.keep_async(response) if isinstance(driver, CachedCall) else response
        except UnifiedLLMError as exc:
            mask_given(exc.with_context(provider=self.context.provider, model=request.model), request.config)
            raise

    def _unfit(self, request: ChatRequest) -> bool:
        return self.images.unfit(request, self.context.profile.for_model(request.model))

    def _fitted(self, request: ChatRequest) -> tuple[ChatRequest, tuple[Adjustment, ...]]:
        """`request` with images as the server takes them, and what was done to them."""
        if not self._unfit(request):
            return request, ()
        started, profile = time.monotonic(), self._profile_of_images(request)
        fetched = self.images.fetch(request, profile)
        fitted, notes = self.images.fitted(request, profile, fetched)
        return _shorter(fitted, started), notes

    async def _fitted_async(self, request: ChatRequest) -> tuple[ChatRequest, tuple[Adjustment, ...]]:
        """`_fitted`, without blocking the event loop: only the work of Pillow is done in a thread."""
        if not self._unfit(request):
            return request, ()
        started, profile = time.monotonic(), self._profile_of_images(request)
        fetched = await self.images.fetch_async(request, profile)
        fitted, notes = await asyncio.to_thread(self.images.fitted, request, profile, fetched)
        return _shorter(fitted, started), notes

    def _profile_of_images(self, request: ChatRequest) -> Profile:
        """What the server takes. Raises `CacheMiss` for a look into the cache that would have to download images:
        the call that follows it downloads them, and looks into the cache as well.
        """
        profile = self.context.profile.for_model(request.model)
        if isinstance(request.cache, KeptOnly) and self.images.to_fetch(request, profile):
            raise CacheMiss
        return profile

    def _encoded(self, request: ChatRequest, notes: tuple[Adjustment, ...] = (), *, plain: bool = False) -> WireCall:
        codec, config = self.codec_for(request), request.config
        call = codec.encode(request, self.context)
        if not plain and (unsent := [*unsent_marks(request.messages, codec.dialect)]):
            notes = (*notes, *self._unsent(unsent, config))
        if notes:
            call = replace(call, adjustments=(*notes, *call.adjustments))
        if config.connect_timeout is None and config.first_token_timeout is None and config.deadline is None:
            return call
        first = config.first_token_timeout if request.stream else None
        return replace(call, connect=config.connect_timeout, first=first, total=config.deadline)

    def _unsent(self, places: list[str], config: ModelConfig) -> Iterator[Adjustment]:
        """What is recorded of fields that the dialect cannot hold; under "error" the first one raises."""
        if config.on_unsupported == "error":
            raise UnsupportedOptionError(
                f"{places[0]} cannot be sent: {WHY_UNSENT}",
                provider=self.context.provider,
                hint="leave it out, or set on_unsupported='warn' to go on without it",
            )
        return (Adjustment("dropped", place, WHY_UNSENT) for place in places)

    def _carrier(self, request: ChatRequest, call: WireCall) -> Driver | CachedCall:
        """Who carries out a call: the driver itself, or the request's cache in front of it."""
        if request.cache is None:
            return self.driver
        address = f"{getattr(self, 'base_url', None) or ''} {self.cache_scope}".strip()
        key = key_of(self.context.provider, address, call)
        return CachedCall(request.cache, self.driver, key, request.config.deadline)

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
        plain = are_plain(request.messages)
        request, notes = (request, ()) if plain else self._fitted(request)
        call = self._encoded(request, notes, plain=plain)
        run = StreamRun(self, request, call)
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
                for event in run.read(last_events, decoder, broken):
                    yield event
                response = run.whole()
        except UnifiedLLMError as exc:
            if (late := run.tell(exc)) is not None:
                raise late from exc
            raise
        yield StreamEnd(driver.keep(response) if isinstance(driver, CachedCall) else response)

    async def stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        plain = are_plain(request.messages)
        request, notes = (request, ()) if plain else await self._fitted_async(request)
        call = self._encoded(request, notes, plain=plain)
        run = StreamRun(self, request, call)
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
                for event in run.read(last_events, decoder, broken):
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
            mask_given(exc.with_context(provider=self.context.provider, model=request.model), request.config)
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
            mask_given(exc.with_context(provider=self.context.provider, model=request.model), request.config)
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


def _shorter(request: ChatRequest, started: float) -> ChatRequest:
    """`request` with what is left of its deadline: its images took time since `started`, by `time.monotonic`.

    Raises:
        APITimeoutError: nothing is left.
    """
    config = request.config
    if config.deadline is None:
        return request
    left = config.deadline - (time.monotonic() - started)
    if left <= 0:
        raise APITimeoutError(
            "the deadline passed before the images were fit to be sent",
            hint="raise deadline=, or pass images in a format that the server takes: Image(data=...)",
        )
    timeout = None if config.timeout is None else min(config.timeout, left)
    return replace(request, config=config.with_limits(timeout, left))
