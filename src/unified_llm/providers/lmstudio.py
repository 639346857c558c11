"""LM Studio: chats over its SDK's websockets where they can be used, everything else over its HTTP API."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, ClassVar, Literal, cast
from urllib.parse import urlsplit

from unified_llm import _json
from unified_llm.codecs.base import ChatCodec
from unified_llm.codecs.lmstudio_chat import LMStudioChatCodec
from unified_llm.codecs.lmstudio_stats import PredictionStats, prediction_stats
from unified_llm.codecs.openai_models import read_models
from unified_llm.codecs.responses_api import ResponsesCodec
from unified_llm.drivers.http import HTTPDriver
from unified_llm.drivers.lmstudio import LMStudioDriver
from unified_llm.drivers.urls import Address
from unified_llm.errors import InvalidRequestError, ModelNotFoundError, UnifiedLLMError
from unified_llm.profiles import Profile
from unified_llm.providers.base import WireProvider
from unified_llm.providers.images import DownloadImages
from unified_llm.providers.lmstudio_calls import LMStudioCalls
from unified_llm.providers.lmstudio_choice import UNUSABLE, Transport, WebsocketChoice
from unified_llm.providers.lmstudio_extras import LMStudioExtras
from unified_llm.providers.lmstudio_http_calls import LMStudioHTTPCalls
from unified_llm.providers.lmstudio_stored import StoredResponses, fits_responses, names_stored_response
from unified_llm.providers.openai import OpenAICompatibleProvider
from unified_llm.providers.openai_dialect import Dialect
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import Adjustment, ChatResponse, ModelInfo
from unified_llm.stream import StreamEvent
from unified_llm.wire import WireCall, WireReply

__all__ = ["LMStudioProvider"]

_NO_SUCH_PATH = re.compile("unexpected endpoint", re.IGNORECASE)
_HEADS = frozenset({"", "start", "progress"})
"""Kinds of events that are no part of the answer: after them another transport may still give it."""

# Newest first. Both tell what is loaded, how large the context is, and what a model can; /v1/models tells ids alone.
# https://lmstudio.ai/docs/developer/rest
_LISTS = ("api/v1/models", "api/v0/models")


class LMStudioProvider(LMStudioExtras, OpenAICompatibleProvider):
    """A running LM Studio (0.3.6 or later for the full model list).

    Args:
        api_key: an API token, when the server demands one; else LMSTUDIO_API_KEY, LMSTUDIO_API_TOKEN, LM_API_TOKEN.
        base_url: ``http://127.0.0.1:1234/v1`` by default, with or without the path; else LMSTUDIO_BASE_URL.
        transport: "sdk" for chats over the websockets of the `lmstudio` package, "http" (or "httpx", "aiohttp") for
            the HTTP API alone. "auto" takes the websockets when the package is installed and fits, and LM Studio itself
            answers at the address (no TLS, no proxy, no path of its own); a call that asks for something only the HTTP
            API has (`effort`, `logprobs`, `extra_body`...) goes over HTTP. Decided once, at the first chat; when LM
            Studio turns out to send what is not understood here, that call and later ones take HTTP.
        ttl: seconds after which LM Studio unloads an idle model that was loaded for a call over the websockets.
        stored_responses: let LM Studio keep the conversations, so that a call sends only what is new since its last
            answer; over HTTP, through the Responses API (LM Studio 0.3.29 or later). Worth it where images or long
            histories go over a slow line. A history that was edited is sent whole; so is, once more, one that LM
            Studio has lost, which `adjustments` records.

    The other arguments are those of `OpenAICompatibleProvider`. Without a model name the first loaded chat model
    answers, else the first one on disk, which LM Studio then loads. Embeddings always go over HTTP, in batches.
    """

    serves_many_names: ClassVar[bool] = False

    def __init__(
        self,
        *,
        api_key: object = None,
        base_url: str | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        transport: Transport = "auto",
        profile: Profile | str | None = None,
        dialect: Dialect | Literal["auto"] | None = None,
        default_model: str | None = None,
        default_embedding_model: str | None = None,
        ttl: float | None = None,
        stored_responses: bool = False,
        download_images: DownloadImages = False,
        **driver_options: Any,
    ) -> None:
        http: Literal["httpx", "aiohttp"] = "aiohttp" if transport == "aiohttp" else "httpx"
        super().__init__(
            name="lmstudio",
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            headers=headers,
            transport=http,
            profile=profile,
            dialect=dialect,
            default_model=default_model,
            default_embedding_model=default_embedding_model,
            download_images=download_images,
            **driver_options,
        )
        own = {"authorization": f"Bearer {self._key.get_secret_value()}"} if self._key else {}
        self._native = HTTPDriver(
            _without_v1(self.base_url),
            headers=own | dict(headers or {}),
            timeout=timeout,
            transport=http,
            **driver_options,
        )
        address = Address.parse(self.base_url)
        http_only = {
            "headers": headers,
            "dialect": dialect,
            "proxy": driver_options.get("proxy"),
            "stored_responses": stored_responses,
        }
        self._stored = StoredResponses(self.name) if stored_responses else None
        self._effort_there = dialect in (None, "auto")
        self._choice = WebsocketChoice(transport, address, self._native, http_only)
        token = self._key.get_secret_value() if self._key else None
        codec = LMStudioChatCodec(self._secrets)
        driver = LMStudioDriver(address.netloc, token=token, timeout=timeout, ttl=ttl)
        self._websockets = _Websockets(self, driver, codec)
        self._calls = LMStudioCalls(driver, codec, self.context)
        self._http_calls = LMStudioHTTPCalls(self._native, self._check, self.name)

    # -- chat -------------------------------------------------------------------------------------------------------

    def codec_for(self, request: ChatRequest) -> ChatCodec:
        """The codec of the dialect that `request` takes."""
        if self._stored is not None and self._stored.takes(request):
            return ResponsesCodec(self._secrets, continuation=self._stored.continuation(request))
        if names_stored_response(request, self.name) or self._asks_effort(request):
            return self._responses  # chat completions would not read it
        return super().codec_for(request)

    def _fitted(self, request: ChatRequest) -> tuple[ChatRequest, tuple[Adjustment, ...]]:
        fitted, notes = super()._fitted(request)
        if self._stored is not None:
            self._stored.same(request, fitted)
        return fitted, notes

    async def _fitted_async(self, request: ChatRequest) -> tuple[ChatRequest, tuple[Adjustment, ...]]:
        fitted, notes = await super()._fitted_async(request)
        if self._stored is not None:
            self._stored.same(request, fitted)
        return fitted, notes

    def _asks_effort(self, request: ChatRequest) -> bool:
        """Whether a chat asks for an effort, which chat completions ignore for many models (#988)."""
        return self._effort_there and request.config.effort is not None and fits_responses(request, self.name)

    def _learn(self, error: InvalidRequestError | ModelNotFoundError, request: ChatRequest | EmbedRequest) -> bool:
        """LM Studio before 0.3.29 has no Responses API: an effort is then sent in chat completions."""
        if isinstance(request, ChatRequest) and self._asks_effort(request) and _NO_SUCH_PATH.search(error.message):
            self._effort_there = False
            return True
        return super()._learn(error, request)

    def chat(self, request: ChatRequest) -> ChatResponse:
        """See `LLMProvider.chat`."""
        if self._stored is not None and self._stored.takes(request):
            return self._stored.chat(request, super().chat)
        if self._choice.carry(request, self._choice.usable()):
            try:
                return self._websockets.chat(request)
            except UNUSABLE as exc:
                if not self._choice.fell_back(exc):
                    raise
        return super().chat(request)

    async def chat_async(self, request: ChatRequest) -> ChatResponse:
        """See `LLMProvider.chat_async`."""
        if self._stored is not None and self._stored.takes(request):
            return await self._stored.chat_async(request, super().chat_async)
        if self._choice.carry(request, await self._choice.usable_async()):
            try:
                return await self._websockets.chat_async(request)
            except UNUSABLE as exc:
                if not self._choice.fell_back(exc):
                    raise
        return await super().chat_async(request)

    def stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        """See `LLMProvider.stream`."""
        if self._stored is not None and self._stored.takes(request):
            return self._stored.stream(request, super().stream)
        if self._choice.decided is False:
            return super().stream(request)
        return self._stream(request, super().stream)

    def stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """See `LLMProvider.stream_async`."""
        if self._stored is not None and self._stored.takes(request):
            return self._stored.stream_async(request, super().stream_async)
        if self._choice.decided is False:
            return super().stream_async(request)
        return self._stream_async(request, super().stream_async)

    def _stream(
        self, request: ChatRequest, over_http: Callable[[ChatRequest], Iterator[StreamEvent]]
    ) -> Iterator[StreamEvent]:
        said = ""
        if self._choice.carry(request, self._choice.usable()):
            try:
                with closing(cast("Generator[StreamEvent, None, None]", self._websockets.stream(request))) as events:
                    for event in events:
                        said = event.type if said in _HEADS else said
                        yield event
                return
            except UNUSABLE as exc:
                if not self._choice.fell_back(exc) or said not in _HEADS:
                    raise
        with closing(cast("Generator[StreamEvent, None, None]", over_http(request))) as events:
            for event in events:
                if not said or event.type != "start":  # once is enough
                    yield event

    async def _stream_async(
        self, request: ChatRequest, over_http: Callable[[ChatRequest], AsyncIterator[StreamEvent]]
    ) -> AsyncIterator[StreamEvent]:
        said = ""
        if self._choice.carry(request, await self._choice.usable_async()):
            try:
                async with aclosing(_generator(self._websockets.stream_async(request))) as events:
                    async for event in events:
                        said = event.type if said in _HEADS else said
                        yield event
                return
            except UNUSABLE as exc:
                if not self._choice.fell_back(exc) or said not in _HEADS:
                    raise
        async with aclosing(_generator(over_http(request))) as events:
            async for event in events:
                if not said or event.type != "start":
                    yield event

    @staticmethod
    def prediction_stats(response: ChatResponse) -> PredictionStats | None:
        """Tokens per second, time to first token, stop reason, context fill; None for answers over HTTP."""
        return prediction_stats(response)

    # -- models -----------------------------------------------------------------------------------------------------

    def list_models(self) -> list[ModelInfo]:
        """The models on disk with what LM Studio knows of them; on old versions, their ids."""
        if self._choice.forced:
            return self._calls.models()
        try:
            for call in self._list_calls():
                models = self._read(self._native.send(call))
                if models is not None:
                    return models
        except UnifiedLLMError as exc:
            exc.with_context(provider=self.name)
            raise
        return super().list_models()

    async def list_models_async(self) -> list[ModelInfo]:
        """`list_models`, without blocking the event loop."""
        if self._choice.forced:
            return await self._calls.models_async()
        try:
            for call in self._list_calls():
                models = self._read(await self._native.send_async(call))
                if models is not None:
                    return models
        except UnifiedLLMError as exc:
            exc.with_context(provider=self.name)
            raise
        return await super().list_models_async()

    def _list_calls(self) -> Iterator[WireCall]:
        return (WireCall(path, method="GET") for path in _LISTS)

    def _read(self, reply: WireReply) -> list[ModelInfo] | None:
        """The models in a native list, or None when this version has no such list.

        Old versions answer unknown paths with 404, or with 200 and an error; a refused token is an error here.
        """
        if reply.status in (401, 403):
            self._check(reply)
        if reply.status != 200:
            return None
        try:
            return read_models(_json.loads(reply.body), self.name)
        except ValueError:
            return None

    def _choose(self, models: Sequence[ModelInfo]) -> str:
        """LM Studio loads models when they are asked for, so one that is not loaded will do."""
        chats = sorted((m for m in models if m.kind in (None, "chat")), key=lambda m: m.loaded is not True)
        return chats[0].id if chats else super()._choose(models)

    # -- life -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """See `LLMProvider.close`."""
        super().close()
        self._native.close()
        self._websockets.close()

    async def aclose(self) -> None:
        """See `LLMProvider.aclose`."""
        await super().aclose()
        await self._native.aclose()
        await self._websockets.aclose()


class _Websockets(WireProvider):
    """The same provider over the other transport."""

    speaks_http: ClassVar[bool] = False

    def __init__(self, provider: LMStudioProvider, driver: LMStudioDriver, codec: LMStudioChatCodec) -> None:
        super().__init__(context=provider.context, driver=driver, chat=codec)
        self.images = provider.images
        self.base_url = provider.base_url  # tells one server's cached answers from another's
        self.cache_scope = provider.cache_scope
        self.cost_per_call = provider.cost_per_call


def _generator(events: AsyncIterator[StreamEvent]) -> AsyncGenerator[StreamEvent, None]:
    return cast("AsyncGenerator[StreamEvent, None]", events)


def _without_v1(base_url: str) -> str:
    """The address of the native API: LM Studio behind a proxy may sit under a path of its own."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/v1')}"
