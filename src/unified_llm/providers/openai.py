"""Every server that speaks the OpenAI dialect: OpenAI itself, other services, and engines on your own machines."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, suppress
from dataclasses import replace
from typing import ClassVar, Literal, cast
from urllib.parse import urlencode

from unified_llm.codecs.base import ChatCodec, CodecContext
from unified_llm.codecs.openai_chat import OpenAIChatCodec
from unified_llm.codecs.openai_embeddings import OpenAIEmbeddingsCodec
from unified_llm.codecs.openai_models import OpenAIModelsCodec
from unified_llm.codecs.responses_api import ResponsesCodec
from unified_llm.credentials import Secret, find_key
from unified_llm.drivers.http import MAX_CONNECTIONS, HTTPDriver
from unified_llm.errors import (
    ConfigurationError,
    InvalidRequestError,
    ModelNotFoundError,
    UnifiedLLMError,
)
from unified_llm.profiles import ModelRule, Profile
from unified_llm.providers.base import WireProvider
from unified_llm.providers.images import DownloadImages, ImageFitter
from unified_llm.providers.openai_dialect import Dialect, check_dialect, choose_dialect, has_choice, is_own_address
from unified_llm.providers.openai_learning import advise, lesson, wants_advice
from unified_llm.providers.openai_setup import (
    auth_header,
    check_key,
    project_address,
    resolve_base_url,
    resolve_profile,
    sent_fields,
    settings_taken,
)
from unified_llm.providers.own_headers import digest_of, secrets_in
from unified_llm.providers.registry import PROVIDER_CONFIGS, ProviderConfig
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import ChatResponse, Embeddings, ModelInfo
from unified_llm.stream import StreamEvent

__all__ = ["OpenAICompatibleProvider"]


class OpenAICompatibleProvider(WireProvider):
    """Chats, embeddings and models of a server that speaks the OpenAI dialect.

    Args:
        name: row of `PROVIDER_CONFIGS`: address, key variables and profile come from it.
        api_key: else the variables of the row and the other sources of credentials. Blank means none.
        base_url: else the row's variable, else the row's address. A host without a path gets the profile's (``/v1``).
        timeout: seconds without progress.
        headers: sent with every call.
        transport: "httpx", or "aiohttp" for async calls over an aiohttp session.
        project_id: of the project to bill, in the address (Scaleway) or a header (OpenAI). Blank means the key's own.
        organization_id: of the organization to bill (OpenAI). api_version: of the API (Azure: ``preview``).
        profile: a `Profile`, or the name of one, when the server behaves like another than its row says.
        dialect: "chat" (chat completions) or "responses" (Responses API) for every chat; "auto" (default) decides for
            each request: see `openai_dialect.choose_dialect`.
        default_model, default_embedding_model: used when a call names none.
        download_images: fetch images by their URLs for servers that fetch none: True from the public internet, "any"
            also from this machine and its networks. At most 20 MiB each; nothing is fetched unless this is set.
        max_connections, verify, proxy: see `HTTPDriver`.

    When a server refuses ``max_tokens`` and wants ``max_completion_tokens`` (or the other way round), or does not know
    ``stream_options`` or ``encoding_format``, or shows no reasoning summaries, the call is sent once more without it,
    and the provider remembers that for the model; so it does with a model that exists in the Responses API alone.

    Raises:
        ConfigurationError: no base_url, an unknown profile, or another argument that cannot be used.
        MissingCredentialError: the service needs a key, and none was found.
    """

    serves_many_names: ClassVar[bool] = True

    def __init__(
        self,
        *,
        name: str = "openai-compatible",
        api_key: object = None,
        base_url: str | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        transport: Literal["httpx", "aiohttp"] = "httpx",
        project_id: str | None = None,
        profile: Profile | str | None = None,
        dialect: Dialect | Literal["auto"] | None = None,
        default_model: str | None = None,
        default_embedding_model: str | None = None,
        organization_id: str | None = None,
        api_version: str | None = None,
        download_images: DownloadImages = False,
        max_connections: int = MAX_CONNECTIONS,
        verify: bool | ssl.SSLContext = True,
        proxy: str | None = None,
    ) -> None:
        row = PROVIDER_CONFIGS.get(name) or ProviderConfig(type(self))
        known = resolve_profile(profile if profile is not None else row.profile, name)
        self.name = name  # type: ignore[misc]  # this one class serves many names
        self.base_url = resolve_base_url(name, project_address(name, project_id, base_url, row), row, known)
        self._key = find_key(name, api_key, row.env)
        self._default_model = default_model or row.default_model
        self._default_embedding_model = default_embedding_model or row.default_embedding_model
        self.cost_per_call = 0.0 if known.free else None
        self._dialect = check_dialect(dialect, name)
        if self._dialect is None and not has_choice(known):
            self._dialect = "chat"
        self._own_address = is_own_address(self.base_url, row.base_url)
        self._responses = ResponsesCodec(self._secrets)
        self._proven: set[tuple[str, bool]] = set()
        own_headers = {k.lower(): v for k, v in (headers or {}).items()}
        check_key(name, self._key, row, self.base_url, own_headers)
        billed, query = sent_fields(
            name,
            row,
            self.base_url,
            {
                "organization_id": organization_id,
                "project_id": None if row.project_url else project_id,
                "api_version": api_version,
            },
        )
        sent = auth_header(self._key, known) | billed | own_headers
        self.cache_scope = f"{urlencode(query)} {digest_of(sent)}".strip()
        own_secrets = tuple(Secret(value) for value in secrets_in(own_headers))
        self._masked = own_secrets if self._key is None else (self._key, *own_secrets)
        super().__init__(
            context=CodecContext(name, known),
            driver=HTTPDriver(
                self.base_url,
                headers=sent,
                timeout=timeout,
                transport=transport,
                max_connections=max_connections,
                verify=verify,
                proxy=proxy,
                query=query,
            ),
            chat=OpenAIChatCodec(self._secrets),
            embeddings=None if known.embeddings == "no" else OpenAIEmbeddingsCodec(self._secrets),
            models=OpenAIModelsCodec(self._secrets),
        )
        self.images = ImageFitter(download_images, name)

    @classmethod
    def settings_taken(cls, name: str, options: Mapping[str, object]) -> Mapping[str, tuple[str, ...]]:
        """See `openai_setup.settings_taken`."""
        return settings_taken(PROVIDER_CONFIGS[name], options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, base_url={self.base_url!r})"

    def _secrets(self) -> Sequence[str]:
        return [one.get_secret_value() for one in self._masked]

    # -- chat -------------------------------------------------------------------------------------------------------

    def codec_for(self, request: ChatRequest) -> ChatCodec:
        """The codec of the dialect that `request` takes."""
        dialect = self._dialect or choose_dialect(
            request, self.context.profile, self.context.provider, own_address=self._own_address
        )
        return self._responses if dialect == "responses" else self.chat_codec

    def chat(self, request: ChatRequest) -> ChatResponse:
        """See `LLMProvider.chat`."""
        try:
            return super().chat(request)
        except InvalidRequestError as exc:
            if not self._learn(exc, request):
                raise
        except ModelNotFoundError as exc:
            if not self._learn(exc, request):
                self._name_models(exc, request.model)
                raise
        return super().chat(request)

    async def chat_async(self, request: ChatRequest) -> ChatResponse:
        """See `LLMProvider.chat_async`."""
        try:
            return await super().chat_async(request)
        except InvalidRequestError as exc:
            if not self._learn(exc, request):
                raise
        except ModelNotFoundError as exc:
            if not self._learn(exc, request):
                await self._name_models_async(exc, request.model)
                raise
        return await super().chat_async(request)

    def stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        """See `LLMProvider.stream`."""
        return super().stream(request) if self._kind_of(request) in self._proven else self._first_stream(request)

    def stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """See `LLMProvider.stream_async`."""
        if self._kind_of(request) in self._proven:
            return super().stream_async(request)
        return self._first_stream_async(request)

    def _first_stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        """A stream that may be refused and learned from; later ones are spared the extra step per event."""
        try:
            with closing(cast("Generator[StreamEvent, None, None]", super().stream(request))) as events:
                for event in events:
                    self._proven.add(self._kind_of(request))
                    yield event
            return
        except InvalidRequestError as exc:
            if exc.partial is not None or not self._learn(exc, request):
                raise
        except ModelNotFoundError as exc:
            if not self._learn(exc, request):
                self._name_models(exc, request.model)
                raise
        yield from super().stream(request)

    async def _first_stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        try:
            async with aclosing(_generator(super().stream_async(request))) as events:
                async for event in events:
                    self._proven.add(self._kind_of(request))
                    yield event
            return
        except InvalidRequestError as exc:
            if exc.partial is not None or not self._learn(exc, request):
                raise
        except ModelNotFoundError as exc:
            if not self._learn(exc, request):
                await self._name_models_async(exc, request.model)
                raise
        async with aclosing(_generator(super().stream_async(request))) as events:
            async for event in events:
                yield event

    def _kind_of(self, request: ChatRequest) -> tuple[str, bool]:
        return request.model, request.config.max_tokens is not None

    # -- embeddings -------------------------------------------------------------------------------------------------

    def embed(self, request: EmbedRequest) -> Embeddings:
        """See `LLMProvider.embed`."""
        try:
            return super().embed(request)
        except InvalidRequestError as exc:
            if not self._learn(exc, request):
                raise
        except ModelNotFoundError as exc:
            if not self._learn(exc, request):
                self._name_models(exc, request.model)
                raise
        return super().embed(request)

    async def embed_async(self, request: EmbedRequest) -> Embeddings:
        """See `LLMProvider.embed_async`."""
        try:
            return await super().embed_async(request)
        except InvalidRequestError as exc:
            if not self._learn(exc, request):
                raise
        except ModelNotFoundError as exc:
            if not self._learn(exc, request):
                await self._name_models_async(exc, request.model)
                raise
        return await super().embed_async(request)

    # -- learning ---------------------------------------------------------------------------------------------------

    def _learn(self, error: InvalidRequestError | ModelNotFoundError, request: ChatRequest | EmbedRequest) -> bool:
        """Whether `error` taught how to ask this model; then the profile has one rule more."""
        changes = lesson(error, self.context.profile.for_model(request.model), request)
        if not changes or ("dialect" in changes and (self._dialect is not None or not self._own_address)):
            return False
        rule = ModelRule(f"^{re.escape(request.model.lower())}$", changes=changes)
        self.context = replace(self.context, profile=self.context.profile.with_rule(rule))
        return True

    # -- models that are gone ---------------------------------------------------------------------------------------

    def _name_models(self, error: ModelNotFoundError, model: str) -> None:
        """Put the names of current models into the hint: nothing is substituted, but nobody has to search."""
        if wants_advice(error, self.context.profile):
            with suppress(UnifiedLLMError):  # the error at hand matters more
                advise(error, model, self.list_models())

    async def _name_models_async(self, error: ModelNotFoundError, model: str) -> None:
        if wants_advice(error, self.context.profile):
            with suppress(UnifiedLLMError):
                advise(error, model, await self.list_models_async())

    # -- models -----------------------------------------------------------------------------------------------------

    def default_model(self) -> str | None:
        """The configured one, else the first loaded chat model of the server, else its only one.

        Raises:
            ConfigurationError: the server has several, or none; the hint lists them.
        """
        return self._default_model or self._choose(self.list_models())

    async def default_model_async(self) -> str | None:
        """`default_model`, without blocking the event loop."""
        return self._default_model or self._choose(await self.list_models_async())

    def default_embedding_model(self) -> str | None:
        """The configured one, else the server's first (loaded) embedding model, else its only model, else None."""
        if self._default_embedding_model:
            return self._default_embedding_model
        models = self.list_models()
        found = sorted((m for m in models if m.kind == "embedding"), key=lambda m: m.loaded is not True)
        if found:
            return found[0].id
        return models[0].id if len(models) == 1 else None

    def _choose(self, models: Sequence[ModelInfo]) -> str:
        chats = [m for m in models if m.kind in (None, "chat")]
        loaded = [m for m in chats if m.loaded]
        if loaded or len(chats) == 1:
            return (loaded or chats)[0].id
        ids = ", ".join(m.id for m in models[:20])
        raise ConfigurationError(
            f"{self.name} serves {'several chat models' if chats else 'no chat model'}, so one must be named",
            provider=self.name,
            hint=f"pass model=..., one of: {ids}" if ids else f"load a model in the server at {self.base_url}",
        )


def _generator(events: AsyncIterator[StreamEvent]) -> AsyncGenerator[StreamEvent, None]:
    """The base class streams with a generator, which has to be closed; its type promises an iterator only."""
    return cast("AsyncGenerator[StreamEvent, None]", events)
