"""Claude, through the `anthropic` SDK or plain HTTP: the same codec, so the same answers."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from unified_llm._optional import installed, missing
from unified_llm.codecs.anthropic_encode import output_limit
from unified_llm.codecs.anthropic_messages import AnthropicMessages, AnthropicModels
from unified_llm.codecs.base import CodecContext
from unified_llm.credentials import missing_key, secret
from unified_llm.drivers.base import Driver
from unified_llm.drivers.urls import normalize_base_url
from unified_llm.errors import ConfigurationError, InvalidRequestError, UnifiedLLMError, UnsupportedOptionError
from unified_llm.messages import Thinking
from unified_llm.profiles import PROFILES
from unified_llm.providers.base import WireProvider
from unified_llm.providers.claude_batches import Batches
from unified_llm.providers.claude_credentials import ClaudeCredential, find_claude_credential
from unified_llm.providers.claude_files import Files
from unified_llm.providers.claude_platforms import platform_options, settings_taken
from unified_llm.providers.own_headers import digest_of, mask_given, secrets_in
from unified_llm.providers.registry import PROVIDER_CONFIGS
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import ChatResponse, Embeddings
from unified_llm.stream import StreamEnd, StreamEvent
from unified_llm.wire import WireReply

__all__ = ["ClaudeProvider"]

_OFFICIAL = "https://api.anthropic.com"
_LONGEST_WHOLE_ANSWER = 21_333
"""Output tokens that fit in the ten minutes after which idle connections get cut; the SDK has the same limit."""

_WITHOUT_SDK = "or pass transport='http', which needs no package"

_STALE_THINKING = re.compile(
    r"bound to a different conversation|invalid `?signature`? in `?thinking|thinking`? blocks?\b.*\bcannot be modified",
    re.IGNORECASE,
)


class ClaudeProvider(WireProvider):
    """Chats with Claude, and with servers of the same dialect (`base_url`): llama.cpp, LM Studio, gateways.

    Args:
        api_key: else ANTHROPIC_API_KEY, the other sources of credentials, then whatever the SDK finds by itself
            (ANTHROPIC_AUTH_TOKEN, profiles, workload identity). A server of your own may need none.
        base_url: with or without ``/v1``; else ANTHROPIC_BASE_URL, else the official API.
        timeout: seconds without progress.
        headers: sent with every request.
        transport: "sdk" (the `anthropic` package), "sdk-aiohttp" (with aiohttp's parser for async calls: faster with
            many calls in flight), or "http" (no SDK needed).
        platform: where Claude runs: "anthropic", or Amazon Bedrock ("bedrock", or "aws" for its newer gateway), Google
            Vertex AI ("vertex"), Microsoft Foundry ("foundry"). The SDK's client for it finds credentials and address
            the way that platform does; only an `api_key` and a `base_url` given here are passed on.
        region: of the cloud (bedrock, aws, vertex). project_id: of the project there (vertex). Else the variables and
            files that the SDK reads for that platform.
        sdk_options: further keyword arguments of the SDK's client, such as ``{"profile": "work"}`` or
            ``{"aws_region": "eu-west-3"}``.

    Answers longer than 21,333 tokens are streamed inside `chat`, because connections without traffic get cut; `raw` is
    then None. When the API refuses preserved thinking because the history before it was edited, the request is sent
    once more without thinking, which `adjustments` records.

    Raises:
        MissingCredentialError: no credential was found for the official API.
        MissingDependencyError: transport "sdk" or "sdk-aiohttp" without the package `anthropic`.
    """

    name: ClassVar[str] = "claude"

    def __init__(
        self,
        *,
        api_key: object = None,
        base_url: str | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        transport: Literal["sdk", "sdk-aiohttp", "http"] = "sdk",
        platform: Literal["anthropic", "bedrock", "vertex", "foundry", "aws"] = "anthropic",
        region: str | None = None,
        project_id: str | None = None,
        sdk_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.transport = transport
        self.platform = platform
        elsewhere = platform != "anthropic"  # neither our address nor our key belongs there
        self.base_url = base_url if elsewhere else _base_url(base_url)
        credential = (
            ClaudeCredential(key=secret(api_key)) if elsewhere else find_claude_credential(api_key, sdk_options or {})
        )
        self._check_credential(credential)
        sdk_headers = (sdk_options or {}).get("default_headers") or {}
        held = (credential.key, credential.token)
        secrets = (
            *(s.get_secret_value() for s in held if s is not None),
            *secrets_in(headers, sdk_options, sdk_headers),
        )
        context = CodecContext(self.name, PROFILES["claude"])
        options = platform_options(platform, {"region": region, "project_id": project_id}, sdk_options or {})
        driver = self._driver(credential, timeout, dict(headers or {}), options)
        self._codec = AnthropicMessages(secrets=secrets)
        super().__init__(context=context, driver=driver, chat=self._codec, models=AnthropicModels())
        self.batches = Batches(self, self._codec)
        self.files = Files(self)
        self._codec_without_thinking = AnthropicMessages(replay_thinking=False, secrets=secrets)
        self._without_thinking = WireProvider(context=context, driver=driver, chat=self._codec_without_thinking)
        if elsewhere:
            self.cache_scope = " ".join([platform, region or "", project_id or ""])
        own = digest_of(
            _auth_headers(credential, both=False) | {**sdk_headers, **(headers or {}), **(sdk_options or {})}
        )
        self.cache_scope = f"{self.cache_scope} {own}".strip()
        self._without_thinking.cache_scope = f"{self.base_url or ''} {self.cache_scope}".strip()

    @classmethod
    def settings_taken(cls, name: str, options: Mapping[str, object]) -> Mapping[str, tuple[str, ...]]:
        """See `claude_platforms.settings_taken`."""
        return settings_taken(options)

    def __repr__(self) -> str:
        return f"ClaudeProvider(base_url={self.base_url or _OFFICIAL!r}, transport={self.transport!r})"

    def _check_credential(self, credential: ClaudeCredential) -> None:
        if self.platform != "anthropic":
            self._check_platform()
            return
        if self.transport not in ("sdk", "sdk-aiohttp", "http"):
            raise ConfigurationError(
                f"unknown transport {self.transport!r}", provider=self.name, hint="use 'sdk', 'sdk-aiohttp' or 'http'"
            )
        if credential or not _is_official(self.base_url):
            if credential.sdk and self.transport == "http":
                raise ConfigurationError(
                    "profiles and workload identity are read by the SDK only",
                    provider=self.name,
                    hint="use transport='sdk', or pass api_key=...",
                )
            return
        raise missing_key(self.name, PROVIDER_CONFIGS[self.name].env)

    def _check_platform(self) -> None:
        from unified_llm.drivers.anthropic_clients import PLATFORMS

        if self.platform not in PLATFORMS:
            raise ConfigurationError(
                f"unknown platform {self.platform!r}", provider=self.name, hint=f"use one of {', '.join(PLATFORMS)}"
            )
        if self.transport == "http":
            raise ConfigurationError(
                f"platform={self.platform!r} needs the SDK's client", provider=self.name, hint="use transport='sdk'"
            )

    def _driver(
        self,
        credential: ClaudeCredential,
        timeout: float | None,
        headers: dict[str, str],
        sdk_options: dict[str, Any],
    ) -> Driver:
        own_server = not _is_official(self.base_url)
        if self.transport == "http":
            from unified_llm.drivers.http import HTTPDriver

            headers = _auth_headers(credential, both=own_server) | headers
            return HTTPDriver(self.base_url or _OFFICIAL, headers=headers, timeout=timeout)
        if not installed("anthropic"):  # it is imported by the first call; that it is missing shows now
            raise missing("anthropic", extra="claude", purpose="Claude through its SDK", otherwise=_WITHOUT_SDK)
        from unified_llm.drivers.anthropic_sdk import AnthropicSDKDriver, SDKSettings

        if own_server and credential.key is not None and self.platform == "anthropic":
            # The SDK sends one of the two, depending on its version; servers of this dialect read one or the other.
            headers = _auth_headers(credential, both=True) | headers
        if credential.token is not None:
            sdk_options = {"auth_token": credential.token.get_secret_value()} | sdk_options
        return AnthropicSDKDriver(
            SDKSettings(
                base_url=self.base_url,
                api_key=credential.key,
                anonymous=not credential,
                timeout=timeout,
                headers=headers,
                options=sdk_options,
                aiohttp=self.transport == "sdk-aiohttp",
                platform=self.platform,
            )
        )

    # -- chat -----------------------------------------------------------------------------------------------------

    def chat(self, request: ChatRequest) -> ChatResponse:
        """See `LLMProvider.chat`."""
        if _too_long_for_one_answer(request):
            return _whole([event for event in self.stream(request) if event.type == "end"])
        try:
            return super().chat(request)
        except InvalidRequestError as exc:
            if not _thinking_is_stale(exc, request):
                raise
        return self._without_thinking.chat(request)

    async def chat_async(self, request: ChatRequest) -> ChatResponse:
        """See `LLMProvider.chat_async`."""
        if _too_long_for_one_answer(request):
            return _whole([event async for event in self.stream_async(request) if event.type == "end"])
        try:
            return await super().chat_async(request)
        except InvalidRequestError as exc:
            if not _thinking_is_stale(exc, request):
                raise
        return await self._without_thinking.chat_async(request)

    def stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        """See `LLMProvider.stream`."""
        request = replace(request, stream=True)
        try:
            yield from super().stream(request)
            return
        except InvalidRequestError as exc:
            if not _thinking_is_stale(exc, request):
                raise
        yield from self._without_thinking.stream(request)

    async def stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """See `LLMProvider.stream_async`."""
        request = replace(request, stream=True)
        try:
            async with aclosing(super().stream_async(request)) as events:  # type: ignore[type-var]  # a generator
                async for event in events:
                    yield event
            return
        except InvalidRequestError as exc:
            if not _thinking_is_stale(exc, request):
                raise
        async with aclosing(self._without_thinking.stream_async(request)) as events:  # type: ignore[type-var]
            async for event in events:
                yield event

    # -- other calls ----------------------------------------------------------------------------------------------

    def count_tokens(self, request: ChatRequest) -> int:
        """Tokens of the prompt, counted by the API (free of charge, rate limited)."""
        request, _ = self._fitted(request)
        try:
            return self._count(self.driver.send(self._codec.encode_count(request, self.context)))
        except UnifiedLLMError as exc:
            if not _thinking_is_stale(exc, request):
                mask_given(exc.with_context(provider=self.name, model=request.model), request.config)
                raise
        return self._count(self.driver.send(self._codec_without_thinking.encode_count(request, self.context)))

    async def count_tokens_async(self, request: ChatRequest) -> int:
        """`count_tokens`, without blocking the event loop."""
        request, _ = await self._fitted_async(request)
        try:
            return self._count(await self.driver.send_async(self._codec.encode_count(request, self.context)))
        except UnifiedLLMError as exc:
            if not _thinking_is_stale(exc, request):
                mask_given(exc.with_context(provider=self.name, model=request.model), request.config)
                raise
        call = self._codec_without_thinking.encode_count(request, self.context)
        return self._count(await self.driver.send_async(call))

    def _count(self, reply: WireReply) -> int:
        self._check(reply)
        return self._codec.decode_count(reply, self.context)

    def embed(self, request: EmbedRequest) -> Embeddings:
        """Claude has no embeddings. Raises `UnsupportedOptionError`."""
        raise _no_embeddings()

    async def embed_async(self, request: EmbedRequest) -> Embeddings:
        """Claude has no embeddings. Raises `UnsupportedOptionError`."""
        raise _no_embeddings()

    def default_model(self) -> str | None:
        """See `LLMProvider.default_model`."""
        return PROVIDER_CONFIGS[self.name].default_model

    async def default_model_async(self) -> str | None:
        """See `LLMProvider.default_model_async`."""
        return self.default_model()


def _base_url(given: str | None) -> str | None:
    """The address without ``/v1``, or None when nobody named one."""
    text = given if given is not None else os.environ.get("ANTHROPIC_BASE_URL", "").strip()
    if given is None and not text:
        return None
    return normalize_base_url(text).removesuffix("/v1").rstrip("/")


def _is_official(base_url: str | None) -> bool:
    host = urlsplit(base_url or _OFFICIAL).hostname or ""
    return host == "anthropic.com" or host.endswith(".anthropic.com")


def _auth_headers(credential: ClaudeCredential, *, both: bool) -> dict[str, str]:
    headers = {}
    if credential.key is not None:
        headers["x-api-key"] = credential.key.get_secret_value()
    bearer = credential.token or (credential.key if both else None)
    if bearer is not None:
        headers["authorization"] = f"Bearer {bearer.get_secret_value()}"
    return headers


def _too_long_for_one_answer(request: ChatRequest) -> bool:
    if request.config.timeout is not None:  # the caller decided how long silence may last
        return False
    return output_limit(request, ClaudeProvider.name) > _LONGEST_WHOLE_ANSWER


def _whole(events: list[StreamEvent]) -> ChatResponse:
    return next(event.response for event in events if isinstance(event, StreamEnd))


def _thinking_is_stale(exc: UnifiedLLMError, request: ChatRequest) -> bool:
    """Whether the API refused preserved thinking of the history (an edited prefix, another account)."""
    stale = isinstance(exc, InvalidRequestError) and _STALE_THINKING.search(exc.message) is not None
    return stale and any(isinstance(part, Thinking) for message in request.messages for part in message.parts)


def _no_embeddings() -> UnsupportedOptionError:
    return UnsupportedOptionError(
        "Claude has no embedding models",
        provider="claude",
        hint="name another provider for them: UnifiedLLM(provider='claude', embed_model='local:') runs one here, "
        "'openai:text-embedding-3-small' asks OpenAI",
    )
