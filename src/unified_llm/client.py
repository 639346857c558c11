"""`UnifiedLLM`: the façade. Resolves the model, reads attachments, hands the request to a provider. Sync and async."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, Union, overload

from unified_llm import attachments
from unified_llm.arguments import check_arguments, checked_hooks
from unified_llm.cache import ResponseCache
from unified_llm.chat_stream import AsyncChatStream, AsyncTextStream, ChatStream, TextStream
from unified_llm.conversations import Conversation, ConversationManager
from unified_llm.costs import Ledger, PriceTable, UsageRecord
from unified_llm.costs.estimates import tier_of
from unified_llm.detection import Detection
from unified_llm.errors import ConfigurationError, InvalidRequestError, UnifiedLLMError, UnsupportedOptionError
from unified_llm.flow import CallInfo, Flow, FlowSettings, hedged
from unified_llm.flow.partials import partial_of
from unified_llm.flow.runner import Answered
from unified_llm.logs import redact_logs
from unified_llm.messages import Content, Message, RoleLike, ToolCall, ToolResult
from unified_llm.policy import BreakerSettings, Deployment, Limits, RetryPolicy, Send, Strategy, Target
from unified_llm.preparation import approximate_tokens, build_request, embed_texts, prepare_chat
from unified_llm.providers.base import LLMProvider, WireProvider
from unified_llm.providers.caching import CacheMiss, KeptOnly, begun, begun_async
from unified_llm.requests import ChatRequest, EmbedRequest, ModelConfig, texts
from unified_llm.responses import Adjustment, Attempt, ChatResponse, Embedding, Embeddings, ModelInfo, Usage
from unified_llm.routing import AvailableProviders, Router
from unified_llm.stream import StreamEnd, StreamEvent
from unified_llm.tools import Tool, ToolLike, normalize_tool

if TYPE_CHECKING:
    from unified_llm.providers.claude import ClaudeProvider
    from unified_llm.providers.llamacpp_server import LlamaCppServerProvider
    from unified_llm.providers.lmstudio import LMStudioProvider
    from unified_llm.providers.lollms import LollmsProvider, LollmsWebUIProvider
    from unified_llm.providers.ollama import OllamaProvider

__all__ = ["UnifiedLLM"]

logger = logging.getLogger("unified_llm")
redact_logs()

Messages: TypeAlias = Union[
    str, Message, Mapping[str, Any], Sequence[Union[Message, Mapping[str, Any], ChatResponse, str]]
]
Tools: TypeAlias = Union[Iterable[ToolLike], None]

_TYPICAL = Usage(3000, 1000)
"""What the prices of deployments are compared for: prompts are longer than answers."""

_NOT_HEDGED = Adjustment("dropped", "hedge_after", "only whole answers to async calls are asked for twice")


class UnifiedLLM:
    """One client for every language model.

    Args:
        provider: a provider's name, or "auto": UNIFIED_LLM_PROVIDER, else LM Studio when it answers on this machine,
            else Claude or another provider whose key is set, else a GGUF model found here, else "offline".
        api_key: key for `provider` (or for the one `model` names); never used for another provider.
        config_path: where the configuration file is, when it is not in its usual place.
        model: model id or ``provider:model``, used when a call names none.
        base_url: address of the server. Alone, it means ``provider="openai-compatible"``.
        embed_model: model id or ``provider:model`` of `embed`, when it is not the provider's own.
        config: options for every call; those of a call win.
        timeout: seconds without progress before `APITimeoutError`.
        connect_timeout: most seconds to connect (10); first_token_timeout: until a stream says something.
        hedge_after: seconds after which an async call without an answer is sent a second time (see `ModelConfig`).
        fallbacks: model references (``provider:model``) asked in order when a call fails (see `policy.plan`).
        max_retries: attempts after the first on failures that may pass, per target; default 2.
        deadline: most seconds for a whole call, retries and fallbacks included; None for no limit.
        retry: the whole `RetryPolicy`, when these two are not enough.
        deployments: a name to the `Deployment`s behind it; a call whose model is that name asks one of them, and the
            others when it fails.
        strategy: which of them is asked first: "weighted" (drawn by weight), "least_busy", "latency" (the fastest of
            the last minute), "cost" (the cheapest), or "order" (as given).
        breaker: leave a target alone after so many failures in a row; None (default) for never.
        limits: provider name to its `Limits`, shared by everybody who uses this client.
        fallback_after_delivery: start over on the next target when a stream breaks after its first delta.
        hooks: objects with any method of `unified_llm.flow.Hooks`, such as a `Budget`.
        on_usage: called with a `UsageRecord` after each call, sync or async; `usage` has the running totals.
        cache: a `MemoryCache` or `SQLiteCache`: a chat that was answered before is answered from there, unless it says
            ``cache=False``. Failures and partial answers are never kept.
        prices: a `PriceTable` with your own prices; the default one knows those of the extra `prices`.
        options: further keywords of the provider's constructor (``transport``, ``headers``, ``script``...).

    Nothing is imported, opened or asked before the first call, except that an explicit `provider` is created at
    once, so that a missing key shows here, and so does a missing package that it can do nothing without.

    Raises:
        UnknownProviderError: no provider has that name.
        MissingCredentialError (a ValueError): it needs a key and none was found.
        MissingDependencyError (an ImportError): it needs a package that is not installed.
        InvalidBaseURLError: the address cannot be one.

    The client may be shared by threads and used from several event loops.
    """

    _router_type: ClassVar[type[Router]] = Router

    def __init__(
        self,
        provider: str | LLMProvider | type[LLMProvider] = "auto",
        api_key: object = None,
        config_path: str | os.PathLike[str] | None = None,
        *,
        model: str | None = None,
        base_url: str | None = None,
        embed_model: str | None = None,
        config: ModelConfig | None = None,
        timeout: float | None = None,
        connect_timeout: float | None = None,
        first_token_timeout: float | None = None,
        hedge_after: float | None = None,
        fallbacks: Iterable[str] = (),
        max_retries: int | None = None,
        deadline: float | None = None,
        retry: RetryPolicy | None = None,
        deployments: Mapping[str, Sequence[Deployment | str]] | None = None,
        strategy: Strategy = "weighted",
        breaker: BreakerSettings | None = None,
        limits: Mapping[str, Limits] | None = None,
        fallback_after_delivery: bool = False,
        hooks: Iterable[object] = (),
        on_usage: Callable[[UsageRecord], Any] | None = None,
        prices: PriceTable | None = None,
        cache: ResponseCache | None = None,
        **options: Any,
    ) -> None:
        check_arguments(
            options
            | {"base_url": base_url, "timeout": timeout, "embed_model": embed_model, "deadline": deadline}
            | {"max_retries": max_retries, "retry": retry, "breaker": breaker, "prices": prices, "cache": cache}
            | {"limits": limits, "deployments": deployments, "on_usage": on_usage}
        )
        given = {"api_key": api_key, "base_url": base_url, "timeout": timeout, **options}
        if config is not None and not isinstance(config, ModelConfig):
            raise ConfigurationError(f"config is {type(config).__name__}", hint="pass ModelConfig(...)")
        self.config = (config or ModelConfig()).merge(
            connect_timeout=connect_timeout, first_token_timeout=first_token_timeout, hedge_after=hedge_after
        )
        self.prices = prices or PriceTable()
        self._router = self._router_type(
            provider,
            model=model or self.config.model_name,
            embed_model=embed_model,
            options={k: v for k, v in given.items() if v is not None},
            config_path=config_path,
            deployments=deployments,
            strategy=strategy,
            cost=lambda provider, model: self.prices.cost(provider, model, _TYPICAL),
        )
        self.usage = Ledger(on_usage)
        self._fallbacks = texts("fallbacks", fallbacks)
        for fallback in self._fallbacks:
            self._router.check(fallback)
        self._flow = Flow(
            FlowSettings(
                retry_policy(retry, max_retries, deadline),
                breaker,
                {self._router.check(f"{name}:"): limit for name, limit in (limits or {}).items()},
                fallback_after_delivery,
            ),
            [self.usage, *([self._router.balancer] if deployments else []), *checked_hooks(hooks)],
        )
        self._timeout = timeout
        self._cache = cache
        self._warned: set[tuple[str | None, str]] = set()
        self.conversations = ConversationManager(self)

    def __repr__(self) -> str:
        return f"UnifiedLLM(provider={self._router.described!r}, model={self._router.model!r})"

    # -- chat -------------------------------------------------------------------------------------------------------

    @overload
    def chat(
        self,
        messages: Messages,
        config: ModelConfig | None = ...,
        tools: Tools = ...,
        stream: Literal[False] = ...,
        **options: Any,
    ) -> ChatResponse: ...
    @overload
    def chat(
        self,
        messages: Messages,
        config: ModelConfig | None = ...,
        tools: Tools = ...,
        *,
        stream: Literal[True],
        **options: Any,
    ) -> TextStream: ...
    def chat(
        self,
        messages: Messages,
        config: ModelConfig | None = None,
        tools: Tools = None,
        stream: bool = False,
        **options: Any,
    ) -> ChatResponse | TextStream:
        """Answer `messages`.

        Args:
            messages: a text, or a list of dictionaries (OpenAI or Anthropic shape) or `Message`.
            config: options of this call.
            tools: `Tool`, functions, pydantic classes or dictionaries the model may call.
            stream: return an iterator of text pieces instead (`stream()` gives typed events).
            options: any option of `ModelConfig` by name (``temperature=0.2``, ``model="claude:..."``), and ``system=``.

        Raises:
            UnifiedLLMError: see `unified_llm.errors`; `InvalidRequestError` before anything is sent.
        """
        if stream:
            return TextStream(self.stream(messages, config, tools, **options))
        request, settings = self._prepare(messages, config, tools, options)
        targets = self._router.targets(
            settings.model_name, self._fallbacks if settings.fallbacks is None else settings.fallbacks
        )
        info = self._info("chat", targets[0], settings, request)

        def ask(step: Send) -> ChatResponse:
            if step.target is not targets[0] and (known := self._kept(step.target, request)) is not None:
                return known
            provider, model = self._router.resolve(step.target)
            with self._flow.admission.admitted(step, request) as place:
                response = provider.chat(self._for(step, request, model))
                place.used(response.usage)
                return response

        try:
            self._flow.hooks.call("before_call", info)
            if (kept := self._kept(targets[0], request)) is not None:
                _retarget(info, targets[0])
                self._flow.hooks.call("on_request", info)
                answer = Answered(kept, ())
            else:
                answer = self._flow.run(targets, info, ask, **_retry_of(settings))
            response = self._finish(request, answer.value, answer.attempts)
            self._flow.hooks.call("on_response", info, response)
        finally:
            self._flow.hooks.call("on_end", info)
        return response

    @overload
    async def chat_async(
        self,
        messages: Messages,
        config: ModelConfig | None = ...,
        tools: Tools = ...,
        stream: Literal[False] = ...,
        **options: Any,
    ) -> ChatResponse: ...
    @overload
    async def chat_async(
        self,
        messages: Messages,
        config: ModelConfig | None = ...,
        tools: Tools = ...,
        *,
        stream: Literal[True],
        **options: Any,
    ) -> AsyncTextStream: ...
    async def chat_async(
        self,
        messages: Messages,
        config: ModelConfig | None = None,
        tools: Tools = None,
        stream: bool = False,
        **options: Any,
    ) -> ChatResponse | AsyncTextStream:
        """`chat`, without blocking the event loop."""
        if stream:
            return AsyncTextStream(self.stream_async(messages, config, tools, **options))
        request, settings = await self._prepare_async(messages, config, tools, options)
        targets = await self._router.targets_async(
            settings.model_name, self._fallbacks if settings.fallbacks is None else settings.fallbacks
        )
        info = self._info("chat", targets[0], settings, request)

        async def ask(step: Send) -> ChatResponse:
            if step.target is not targets[0] and (known := await self._kept_async(step.target, request)) is not None:
                return known
            if settings.hedge_after is None:
                return await self._ask_async(step, request)
            other = replace(step, target=_after(step.target, targets))
            twin = replace(info, state={}, target=other.target.key, provider=other.target.provider)
            twin.model = other.target.model
            response, by_second = await hedged(
                settings.hedge_after,
                lambda: self._ask_async(step, request),
                lambda: self._ask_again(other, request, twin),
            )
            if by_second:
                info.target, info.provider, info.model = twin.target, twin.provider, twin.model
            return response

        try:
            await self._flow.hooks.call_async("before_call", info)
            if (kept := await self._kept_async(targets[0], request)) is not None:
                _retarget(info, targets[0])
                await self._flow.hooks.call_async("on_request", info)
                answer = Answered(kept, ())
            else:
                answer = await self._flow.run_async(targets, info, ask, **_retry_of(settings))
            response = self._finish(request, answer.value, answer.attempts)
            await self._flow.hooks.call_async("on_response", info, response)
        finally:
            await self._flow.hooks.call_async("on_end", info)
        return response

    async def _ask_again(self, step: Send, request: ChatRequest, info: CallInfo) -> ChatResponse:
        """A hedged request, with a `CallInfo` of its own for the hooks."""
        await self._flow.hooks.call_async("on_request", info)
        try:
            return await self._ask_async(step, request)
        finally:
            await self._flow.hooks.call_async("on_end", info)

    async def _ask_async(self, step: Send, request: ChatRequest) -> ChatResponse:
        provider, model = await self._router.resolve_async(step.target)
        async with self._flow.admission.admitted(step, request) as place:
            response = await provider.chat_async(self._for(step, request, model))
            place.used(response.usage)
            return response

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
        request, settings = self._prepare(messages, config, tools, options, stream=True)
        targets = self._router.targets(
            settings.model_name, self._fallbacks if settings.fallbacks is None else settings.fallbacks
        )
        info = self._info("stream", targets[0], settings, request)

        def ask(step: Send) -> Iterator[StreamEvent]:
            if step.target is not targets[0] and (known := self._kept_events(step.target, request)) is not None:
                yield from known
                return
            provider, model = self._router.resolve(step.target)
            said: list[StreamEvent] = []
            with self._flow.admission.admitted(step, request) as place:
                try:
                    for event in provider.stream(self._for(step, request, model)):
                        if isinstance(event, StreamEnd):
                            place.used(event.response.usage)
                        said.append(event)
                        yield event
                except BaseException as exc:
                    if (part := partial_of(info, said, exc)) is not None:
                        place.used(part.usage)
                        self._flow.hooks.call("on_partial", info, self._billed(part, provider))
                    raise

        try:
            self._flow.hooks.call("before_call", info)
            if (kept := self._kept_events(targets[0], request)) is not None:
                _retarget(info, targets[0])
                self._flow.hooks.call("on_request", info)
            for event in kept or self._flow.stream(targets, info, ask, **_retry_of(settings)):
                if isinstance(event, StreamEnd):
                    self._finish(request, event.response)
                    self._flow.hooks.call("on_response", info, event.response)
                yield event
        finally:
            self._flow.hooks.call("on_end", info)

    def stream_async(
        self, messages: Messages, config: ModelConfig | None = None, tools: Tools = None, **options: Any
    ) -> AsyncChatStream:
        """`stream` for ``async for``; returns at once."""
        return AsyncChatStream(self._events_async(messages, config, tools, options))

    async def _events_async(
        self, messages: Messages, config: ModelConfig | None, tools: Tools, options: dict[str, Any]
    ) -> AsyncIterator[StreamEvent]:
        request, settings = await self._prepare_async(messages, config, tools, options, stream=True)
        targets = await self._router.targets_async(
            settings.model_name, self._fallbacks if settings.fallbacks is None else settings.fallbacks
        )
        info = self._info("stream", targets[0], settings, request)

        async def ask(step: Send) -> AsyncGenerator[StreamEvent, None]:
            first = step.target is targets[0]
            if not first and (known := await self._kept_events_async(step.target, request)) is not None:
                async for event in known:
                    yield event
                return
            provider, model = await self._router.resolve_async(step.target)
            said: list[StreamEvent] = []
            async with self._flow.admission.admitted(step, request) as place:
                try:
                    async with closing(provider.stream_async(self._for(step, request, model))) as events:
                        async for event in events:
                            if isinstance(event, StreamEnd):
                                place.used(event.response.usage)
                            said.append(event)
                            yield event
                except BaseException as exc:
                    if (part := partial_of(info, said, exc)) is not None:
                        place.used(part.usage)
                        await self._flow.hooks.call_async("on_partial", info, self._billed(part, provider))
                    raise

        try:
            await self._flow.hooks.call_async("before_call", info)
            if (kept := await self._kept_events_async(targets[0], request)) is not None:
                _retarget(info, targets[0])
                await self._flow.hooks.call_async("on_request", info)
            async with closing(
                kept or self._flow.stream_async(targets, info, ask, settings.first_token_timeout, **_retry_of(settings))
            ) as events:
                async for event in events:
                    if isinstance(event, StreamEnd):
                        self._finish(request, event.response)
                        await self._flow.hooks.call_async("on_response", info, event.response)
                    yield event
        finally:
            await self._flow.hooks.call_async("on_end", info)

    def _prepare(
        self,
        messages: Messages,
        config: ModelConfig | None,
        tools: Tools,
        options: dict[str, Any],
        stream: bool = False,
    ) -> tuple[ChatRequest, ModelConfig]:
        merged, normal, notes = prepare_chat(self.config, messages, config, options)
        if attachments.needs_reading(normal):
            normal = attachments.resolve(normal)
        if merged.hedge_after is not None:
            notes.append(_NOT_HEDGED)
        return build_request(normal, merged, tools, stream, notes), merged

    async def _prepare_async(
        self,
        messages: Messages,
        config: ModelConfig | None,
        tools: Tools,
        options: dict[str, Any],
        stream: bool = False,
    ) -> tuple[ChatRequest, ModelConfig]:
        merged, normal, notes = prepare_chat(self.config, messages, config, options)
        if attachments.needs_reading(normal):
            normal = await attachments.resolve_async(normal)
        if merged.hedge_after is not None and stream:
            notes.append(_NOT_HEDGED)
        return build_request(normal, merged, tools, stream, notes), merged

    def _info(
        self,
        operation: Literal["chat", "stream", "embed"],
        target: Target,
        settings: ModelConfig,
        request: ChatRequest | EmbedRequest,
    ) -> CallInfo:
        return CallInfo(operation, target.provider, target.model, settings.label, request=request, prices=self.prices)

    def _for(self, step: Send, request: ChatRequest, model: str) -> ChatRequest:
        """The request for one target."""
        cache = None if request.config.cache is False else self._cache
        return request.for_model(model, config=self._bounded(step, request.config), cache=cache)

    def _bounded(self, step: Send, config: ModelConfig) -> ModelConfig:
        """The options for one request: what is left of the deadline bounds it, and its silences."""
        if step.expires is None:
            return config
        left = max(0.001, step.expires - self._flow.clock())  # finding the model, or waiting for a place, took time
        bounds = (config.timeout, self._timeout, left)
        return config.with_limits(min(b for b in bounds if b is not None), left)

    # What the cache has is given without a turn, a place or a breaker. Whatever is wrong with a target, the plan meets
    # it again, and knows what to do then: here it means that there is nothing.

    def _kept(self, target: Target, request: ChatRequest) -> ChatResponse | None:
        if self._cache is None or request.config.cache is False:
            return None
        try:
            provider, model = self._router.resolve(target)
            return provider.chat(_kept_only(provider, request, model, self._cache))
        except (CacheMiss, UnifiedLLMError):
            return None

    async def _kept_async(self, target: Target, request: ChatRequest) -> ChatResponse | None:
        if self._cache is None or request.config.cache is False:
            return None
        try:
            provider, model = await self._router.resolve_async(target)
            return await provider.chat_async(_kept_only(provider, request, model, self._cache))
        except (CacheMiss, UnifiedLLMError):
            return None

    def _kept_events(self, target: Target, request: ChatRequest) -> Iterator[StreamEvent] | None:
        if self._cache is None or request.config.cache is False:
            return None
        try:
            provider, model = self._router.resolve(target)
            return begun(provider.stream(_kept_only(provider, request, model, self._cache)))
        except (CacheMiss, UnifiedLLMError):
            return None

    async def _kept_events_async(self, target: Target, request: ChatRequest) -> AsyncIterator[StreamEvent] | None:
        if self._cache is None or request.config.cache is False:
            return None
        try:
            provider, model = await self._router.resolve_async(target)
            return await begun_async(provider.stream_async(_kept_only(provider, request, model, self._cache)))
        except (CacheMiss, UnifiedLLMError):
            return None

    def _finish(
        self, request: ChatRequest | None, response: ChatResponse, attempts: tuple[Attempt, ...] = ()
    ) -> ChatResponse:
        """Log each adjustment once per client: a changed request must be seen, not only recorded."""
        if request is not None and request.adjustments:
            response._d.adjustments = request.adjustments + response.adjustments
        settings = self.config if request is None else request.config
        if settings.on_unsupported != "drop":
            for adjustment in response.adjustments:
                self._warn(response.provider, adjustment)
        details = response._d
        provider, model = response.provider or "", response.model or ""
        if details.cost is None or (not details.cached and self.prices.own(provider, model) is not None):
            details.cost = partial(self._cost, provider, model, response.usage)
        return response.with_details(attempts=attempts) if attempts else response

    def _billed(self, part: ChatResponse, provider: LLMProvider) -> ChatResponse:
        """A partial answer with its cost."""
        part._d.cost = getattr(provider, "cost_per_call", None)
        return self._finish(None, part)

    def _cost(self, provider: str, model: str, usage: Usage) -> float | None:
        return self.prices.cost(provider, model, usage, tier=tier_of(usage))

    def _priced(self, vectors: Embeddings, provider: LLMProvider, target: Target) -> Embeddings:
        own = self.prices.own(target.provider, target.model or "")
        free = None if own is not None else getattr(provider, "cost_per_call", None)
        if vectors.usage.input_tokens is not None and vectors.usage.output_tokens is None:
            vectors.usage = replace(vectors.usage, output_tokens=0)  # a vector is not made of tokens
        lookup = partial(self._cost, target.provider, target.model or "", vectors.usage)
        return vectors.priced(lookup if free is None else free)

    def _warn(self, provider: str | None, adjustment: Adjustment) -> None:
        if (provider, adjustment.what) in self._warned:
            return
        self._warned.add((provider, adjustment.what))
        logger.warning("%s: %s %s: %s", provider, adjustment.what, adjustment.kind, adjustment.reason)

    # -- embeddings, models, tokens -----------------------------------------------------------------------------------

    @overload
    def embed(  # type: ignore[overload-overlap]  # a str is an Iterable[str] too; the first overload wins
        self,
        text: str,
        model_name: str | None = ...,
        *,
        dimensions: int | None = ...,
        label: str | None = ...,
        deadline: float | None = ...,
        max_retries: int | None = ...,
    ) -> Embedding: ...
    @overload
    def embed(
        self,
        text: Iterable[str],
        model_name: str | None = ...,
        *,
        dimensions: int | None = ...,
        label: str | None = ...,
        deadline: float | None = ...,
        max_retries: int | None = ...,
    ) -> Embeddings: ...
    def embed(
        self,
        text: str | Iterable[str],
        model_name: str | None = None,
        *,
        dimensions: int | None = None,
        label: str | None = None,
        deadline: float | None = None,
        max_retries: int | None = None,
    ) -> Embedding | Embeddings:
        """The vector of a text (a list of float), or the vectors of several, in order.

        Args:
            text: a text, or several.
            model_name: model id or ``provider:model``; None: the client's `embed_model`, else the provider's own.
            dimensions: shorter vectors, where the model can.
            label, deadline, max_retries: as for `chat`.

        Raises:
            UnsupportedOptionError: the provider has no embeddings and no `embed_model` was configured.
            InvalidRequestError: something is no text, or an empty one.
        """
        texts = embed_texts(text)
        if not texts:
            return Embeddings([])
        settings = self.config.merge(label=label, deadline=deadline, max_retries=max_retries)
        provider, target = self._router.embed_target(model_name)
        request = EmbedRequest(target.model or "", texts, dimensions, settings)
        info = self._info("embed", target, settings, request)

        def ask(step: Send) -> Embeddings:
            with self._flow.admission.admitted(step, request) as place:
                started = time.perf_counter()
                vectors = provider.embed(replace(request, config=self._bounded(step, settings)))
                vectors.latency = time.perf_counter() - started
                place.used(vectors.usage)
                return vectors

        try:
            self._flow.hooks.call("before_call", info)
            answer = self._flow.run([target], info, ask, **_retry_of(settings))
            vectors = self._priced(answer.value, provider, target)
            self._flow.hooks.call("on_response", info, vectors)
        finally:
            self._flow.hooks.call("on_end", info)
        return vectors[0] if isinstance(text, str) else vectors

    @overload
    async def embed_async(  # type: ignore[overload-overlap]  # as above
        self,
        text: str,
        model_name: str | None = ...,
        *,
        dimensions: int | None = ...,
        label: str | None = ...,
        deadline: float | None = ...,
        max_retries: int | None = ...,
    ) -> Embedding: ...
    @overload
    async def embed_async(
        self,
        text: Iterable[str],
        model_name: str | None = ...,
        *,
        dimensions: int | None = ...,
        label: str | None = ...,
        deadline: float | None = ...,
        max_retries: int | None = ...,
    ) -> Embeddings: ...
    async def embed_async(
        self,
        text: str | Iterable[str],
        model_name: str | None = None,
        *,
        dimensions: int | None = None,
        label: str | None = None,
        deadline: float | None = None,
        max_retries: int | None = None,
    ) -> Embedding | Embeddings:
        """`embed`, without blocking the event loop."""
        texts = embed_texts(text)
        if not texts:
            return Embeddings([])
        settings = self.config.merge(label=label, deadline=deadline, max_retries=max_retries)
        provider, target = await self._router.embed_target_async(model_name)
        request = EmbedRequest(target.model or "", texts, dimensions, settings)
        info = self._info("embed", target, settings, request)

        async def ask(step: Send) -> Embeddings:
            async with self._flow.admission.admitted(step, request) as place:
                started = time.perf_counter()
                vectors = await provider.embed_async(replace(request, config=self._bounded(step, settings)))
                vectors.latency = time.perf_counter() - started
                place.used(vectors.usage)
                return vectors

        try:
            await self._flow.hooks.call_async("before_call", info)
            answer = await self._flow.run_async([target], info, ask, **_retry_of(settings))
            vectors = self._priced(answer.value, provider, target)
            await self._flow.hooks.call_async("on_response", info, vectors)
        finally:
            await self._flow.hooks.call_async("on_end", info)
        return vectors[0] if isinstance(text, str) else vectors

    def list_models(self, provider: str | None = None) -> list[ModelInfo]:
        """The models of the current provider, or of the one named. Their ids are accepted as they are."""
        return self._router.provider(provider).list_models()

    async def list_models_async(self, provider: str | None = None) -> list[ModelInfo]:
        """`list_models`, without blocking the event loop."""
        return await (await self._router.provider_async(provider)).list_models_async()

    def supported_models(self) -> list[str]:
        """The ids of `list_models`."""
        return [m.id for m in self.list_models()]

    async def supported_models_async(self) -> list[str]:
        """The ids of `list_models_async`."""
        return [m.id for m in await self.list_models_async()]

    def count_tokens(
        self,
        messages: Messages,
        config: ModelConfig | None = None,
        tools: Tools = None,
        *,
        exact: bool = True,
        **options: Any,
    ) -> int:
        """Tokens of the prompt, counted by the provider; or estimated when it cannot and `exact` is False.

        Raises:
            UnsupportedOptionError: the provider cannot count, and `exact` is True.
        """
        request, settings = self._prepare(messages, config, tools, options)
        provider, model = self._router.resolve(self._router.targets(settings.model_name)[0])
        request = request.for_model(model)
        try:
            return provider.count_tokens(request)
        except UnsupportedOptionError:
            if exact:
                raise
            return approximate_tokens(request)

    async def count_tokens_async(
        self,
        messages: Messages,
        config: ModelConfig | None = None,
        tools: Tools = None,
        *,
        exact: bool = True,
        **options: Any,
    ) -> int:
        """`count_tokens`, without blocking the event loop."""
        request, settings = await self._prepare_async(messages, config, tools, options)
        provider, model = await self._router.resolve_async((await self._router.targets_async(settings.model_name))[0])
        request = request.for_model(model)
        try:
            return await provider.count_tokens_async(request)
        except UnsupportedOptionError:
            if exact:
                raise
            return approximate_tokens(request)

    # -- providers ----------------------------------------------------------------------------------------------------

    @overload
    def get_provider(self, name: None = ...) -> str: ...
    @overload
    def get_provider(self, name: Literal["claude"]) -> ClaudeProvider: ...
    @overload
    def get_provider(self, name: Literal["lmstudio"]) -> LMStudioProvider: ...
    @overload
    def get_provider(self, name: Literal["ollama"]) -> OllamaProvider: ...
    @overload
    def get_provider(self, name: Literal["llamacpp"]) -> LlamaCppServerProvider: ...
    @overload
    def get_provider(self, name: Literal["lollms"]) -> LollmsProvider: ...
    @overload
    def get_provider(self, name: Literal["lollms-webui"]) -> LollmsWebUIProvider: ...
    @overload
    def get_provider(self, name: str) -> LLMProvider: ...
    def get_provider(self, name: str | None = None) -> str | LLMProvider:
        """Name of the current provider; detects it if that has not been done yet (300 ms at most).

        With a name: that provider itself, for what only it can do, such as ``get_provider("ollama").pull("llama3.2")``.

        Raises:
            ConfigurationError: unknown name, missing key or package.
        """
        return self._router.current_name() if name is None else self._router.provider(name)

    @property
    def current_provider(self) -> str | None:
        """Name of the current provider; None as long as it has not been detected. Never asks anybody."""
        return self._router.current

    @property
    def detection(self) -> Detection | None:
        """Why the current provider was chosen; None when it was given, or before it was needed."""
        return self._router.detection

    @overload
    async def get_provider_async(self, name: None = ...) -> str: ...
    @overload
    async def get_provider_async(self, name: Literal["claude"]) -> ClaudeProvider: ...
    @overload
    async def get_provider_async(self, name: Literal["lmstudio"]) -> LMStudioProvider: ...
    @overload
    async def get_provider_async(self, name: Literal["ollama"]) -> OllamaProvider: ...
    @overload
    async def get_provider_async(self, name: Literal["llamacpp"]) -> LlamaCppServerProvider: ...
    @overload
    async def get_provider_async(self, name: Literal["lollms"]) -> LollmsProvider: ...
    @overload
    async def get_provider_async(self, name: Literal["lollms-webui"]) -> LollmsWebUIProvider: ...
    @overload
    async def get_provider_async(self, name: str) -> LLMProvider: ...
    async def get_provider_async(self, name: str | None = None) -> str | LLMProvider:
        """`get_provider`, without blocking the event loop."""
        if name is None:
            return await asyncio.to_thread(self._router.current_name)
        return await self._router.provider_async(name)

    def set_provider(self, name: str, *, model: str | None = None, **options: Any) -> None:
        """Make `name` the current provider from now on. `options` are its constructor's keywords.

        Raises:
            ConfigurationError: unknown name, missing key or package; the current provider then stays.
        """
        self._router.set_provider(name, model, options)

    def configure_provider(self, name: str, options: Mapping[str, Any]) -> None:
        """Set the constructor keywords (api_key, base_url...) of a provider for later use."""
        self._router.configure(name, options)

    def set_api_key(self, provider: str, key: object) -> None:
        """Set the key of one provider; it is never used for another."""
        self._router.configure(provider, {"api_key": key})

    @property
    def available_providers(self) -> AvailableProviders:
        """Providers usable now without a network look-up (key and package present): a mapping that can be called."""
        return self._router.available()

    def list_providers(self) -> list[str]:
        """The names of `available_providers`."""
        return list(self.available_providers)

    # -- values -------------------------------------------------------------------------------------------------------

    def create_message(
        self,
        role: RoleLike,
        content: Content = None,
        file_paths: Iterable[str | os.PathLike[str]] | None = None,
        tool_call: ToolCall | None = None,
        tool_result: ToolResult | None = None,
    ) -> Message:
        """A `Message`."""
        return Message(role, content, [os.fspath(p) for p in file_paths or ()], tool_call, tool_result)

    def create_tool(self, name: Any, description: str = "", parameters: Mapping[str, Any] | None = None) -> Tool:
        """A `Tool`, of a name, description and JSON Schema, or of a function."""
        if not isinstance(name, str):
            return normalize_tool(name)
        return Tool(name, description, parameters or {"type": "object", "properties": {}})

    def create_conversation(
        self, model_config: ModelConfig | None = None, system_message: str | None = None
    ) -> Conversation:
        """A conversation in `conversations`, which sends its messages."""
        return self.conversations.create_conversation(model_config, system_message)

    # -- closing ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close every connection. The client can be used again; it opens new ones."""
        for provider in self._router.opened():
            provider.close()

    async def aclose(self) -> None:
        """`close`, for the running event loop's connections too."""
        for provider in self._router.opened():
            await provider.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # a client is shared: it holds connections

    def __reduce__(self) -> tuple[Any, ...]:
        raise InvalidRequestError(
            "a UnifiedLLM client is not pickled: it holds connections and keys",
            hint="make a new client in the other process, or pickle its settings",
        )


def retry_policy(retry: RetryPolicy | None, max_retries: int | None, deadline: float | None) -> RetryPolicy:
    """`retry`, or the default, with what was given besides."""
    base = retry or RetryPolicy()
    return replace(
        base,
        max_retries=base.max_retries if max_retries is None else max_retries,
        deadline=base.deadline if deadline is None else deadline,
    )


def _after(target: Target, targets: Sequence[Target]) -> Target:
    """The next target, or the same one when it is the last: a second request may still find a faster machine."""
    following = targets[targets.index(target) + 1 :]
    return following[0] if following else target


def _retarget(info: CallInfo, target: Target) -> None:
    info.target, info.provider, info.model = target.key, target.provider, target.model


def _kept_only(provider: LLMProvider, request: ChatRequest, model: str, cache: ResponseCache) -> ChatRequest:
    """The request that is answered from the cache or not at all. Raises `CacheMiss` for providers without one."""
    if not isinstance(provider, WireProvider):
        raise CacheMiss
    return request.for_model(model, cache=KeptOnly(cache))


def _retry_of(settings: ModelConfig) -> dict[str, Any]:
    return {"max_retries": settings.max_retries, "deadline": settings.deadline}


@asynccontextmanager
async def closing(events: AsyncIterator[StreamEvent]) -> AsyncIterator[AsyncIterator[StreamEvent]]:
    """Close an async iterator at the end, if it can be closed: the upstream request must not wait for the collector."""
    try:
        yield events
    finally:
        close: Any = getattr(events, "aclose", None)
        if close is not None:
            await close()
