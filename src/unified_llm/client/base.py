"""What every call of the client shares: its parts, the preparation of a request, and the last touches to an answer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias, Union

from unified_llm import attachments
from unified_llm.cache import ResponseCache
from unified_llm.conversations import ConversationManager
from unified_llm.costs import Ledger, PriceTable
from unified_llm.costs.estimates import tier_of
from unified_llm.errors import holds_key
from unified_llm.flow import CallInfo, Flow
from unified_llm.flow.admission import Place
from unified_llm.flow.partials import partial_of
from unified_llm.logs import redact_logs
from unified_llm.messages import Message
from unified_llm.policy import Send, Target
from unified_llm.preparation import build_request, prepare_chat
from unified_llm.providers.base import LLMProvider
from unified_llm.requests import ChatRequest, EmbedRequest, ModelConfig
from unified_llm.responses import Adjustment, Attempt, ChatResponse, Embeddings, Usage
from unified_llm.routing import Router
from unified_llm.stream import StreamEvent
from unified_llm.tools import ToolLike

__all__ = ["ClientBase", "Messages", "Tools", "retarget", "retry_of"]

logger = logging.getLogger("unified_llm")
redact_logs()

Messages: TypeAlias = Union[
    str, Message, Mapping[str, Any], Sequence[Union[Message, Mapping[str, Any], ChatResponse, str]]
]
Tools: TypeAlias = Union[Iterable[ToolLike], None]

_NOT_HEDGED = Adjustment("dropped", "hedge_after", "only whole answers to async calls are asked for twice")


class ClientBase:
    """The parts of a client, as `UnifiedLLM` makes them."""

    config: ModelConfig
    prices: PriceTable
    usage: Ledger
    conversations: ConversationManager
    _router: Router
    _flow: Flow
    _fallbacks: Sequence[str]
    _timeout: float | None
    _cache: ResponseCache | None
    _warned: set[tuple[str | None, str]]

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

    # What is found by asking somebody must be found before the deadline; most of the time it is known.

    def _targets(self, settings: ModelConfig, expires: float | None) -> tuple[Target, ...]:
        fallbacks = self._fallbacks if settings.fallbacks is None else settings.fallbacks
        if expires is None or self._router.current is not None:
            return self._router.targets(settings.model_name, fallbacks)
        return self._flow.in_time(expires, lambda: self._router.targets(settings.model_name, fallbacks))

    async def _targets_async(self, settings: ModelConfig, expires: float | None) -> tuple[Target, ...]:
        fallbacks = self._fallbacks if settings.fallbacks is None else settings.fallbacks
        if self._router.is_quick:
            return self._router.targets(settings.model_name, fallbacks)
        return await self._flow.in_time_async(expires, self._router.targets_async(settings.model_name, fallbacks))

    def _resolve(self, target: Target, expires: float | None) -> tuple[LLMProvider, str]:
        if (known := self._router.known(target)) is not None:
            return known
        return self._flow.in_time(expires, lambda: self._router.resolve(target))

    async def _resolve_async(self, target: Target, expires: float | None) -> tuple[LLMProvider, str]:
        if (known := self._router.known(target)) is not None:
            return known
        return await self._flow.in_time_async(expires, self._router.resolve_async(target))

    def _info(
        self,
        operation: Literal["chat", "stream", "embed"],
        target: Target,
        settings: ModelConfig,
        request: ChatRequest | EmbedRequest,
        expires: float | None,
    ) -> CallInfo:
        self._flow.open_streams.reclaim()  # what they hold is for those who come now
        return CallInfo(
            operation,
            target.provider,
            target.model,
            settings.label,
            request=request,
            prices=self.prices,
            expires=expires,
            home=target.provider,
        )

    def _for(self, step: Send, request: ChatRequest, model: str, info: CallInfo) -> ChatRequest:
        """The request for one target."""
        cache = None if request.config.cache is False else self._cache
        config = self._bounded(step, request.config)
        if step.target.provider != info.home:
            config, info.notes = for_another(config, info.home)
        return request.for_model(model, config=config, cache=cache)

    def _bounded(self, step: Send, config: ModelConfig) -> ModelConfig:
        """The options for one request: what is left of the deadline bounds it, and its silences."""
        if step.expires is None:
            return config
        left = silence = max(0.001, step.expires - self._flow.clock())  # finding the model, or a place, took time
        if (limit := config.timeout) is not None and limit < silence:
            silence = limit
        if (limit := self._timeout) is not None and limit < silence:
            silence = limit
        return config.with_limits(silence, left)

    def _finish(
        self,
        request: ChatRequest | None,
        response: ChatResponse,
        attempts: tuple[Attempt, ...] = (),
        notes: tuple[Adjustment, ...] = (),
    ) -> ChatResponse:
        """Log each adjustment once per client: a changed request must be seen, not only recorded."""
        if request is not None and (request.adjustments or notes):
            response._d.adjustments = request.adjustments + notes + response.adjustments
        settings = self.config if request is None else request.config
        if settings.on_unsupported != "drop":
            for adjustment in response.adjustments:
                self._warn(response.provider, adjustment)
        details = response._d
        provider, model = response.provider or "", response.model or ""
        if details.cost is None or (not details.cached and self.prices.own(provider, model) is not None):
            usage = details.usage
            cost = self.prices.cost if usage.native is None else self._cost  # no tier was told, or perhaps one
            details.cost = partial(cost, provider, model, usage)
        return response.with_details(attempts=attempts) if attempts else response

    def _cut(
        self, info: CallInfo, provider: LLMProvider, place: Place, said: Sequence[StreamEvent], reason: BaseException
    ) -> None:
        """Count what a request took that `reason` ended."""
        if (part := partial_of(info, said, reason)) is not None:
            place.used(part.usage)
            self._flow.hooks.call("on_partial", info, self._billed(part, provider))

    async def _cut_async(
        self, info: CallInfo, provider: LLMProvider, place: Place, said: Sequence[StreamEvent], reason: BaseException
    ) -> None:
        """`_cut`, without blocking the event loop."""
        if (part := partial_of(info, said, reason)) is not None:
            place.used(part.usage)
            await self._flow.hooks.call_async("on_partial", info, self._billed(part, provider))

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


def retarget(info: CallInfo, target: Target) -> None:
    """Say that `target` is the one that answers."""
    info.target, info.provider, info.model = target.key, target.provider, target.model


def for_another(config: ModelConfig, home: str) -> tuple[ModelConfig, tuple[Adjustment, ...]]:
    """`config` for another provider than `home`: without the keys in what is passed on as it is, and what is left out.

    Credentials never cross. Other headers and fields are sent to every provider that a call asks.
    """
    changed: dict[str, Any] = {}
    notes = []
    for option in ("extra_headers", "extra_body"):
        given: Mapping[str, Any] = getattr(config, option) or {}
        kept = {name: value for name, value in given.items() if not holds_key(name, value)}
        if len(kept) != len(given):
            changed[option] = kept
            notes += [
                Adjustment("dropped", f"{option}.{name}", f"it carries a key that was given for {home}")
                for name in given.keys() - kept.keys()
            ]
    return config.merge(**changed) if changed else config, tuple(notes)


def retry_of(settings: ModelConfig) -> dict[str, Any]:
    """The options that the plan of a call takes."""
    return {"max_retries": settings.max_retries, "deadline": settings.deadline}
