"""`UnifiedLLM` itself: its settings, its small values, and its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Self

from unified_llm.arguments import check_arguments, checked_hooks
from unified_llm.cache import ResponseCache
from unified_llm.client.chat import ChatCalls
from unified_llm.client.embeddings import EmbedCalls
from unified_llm.client.models import ModelCalls
from unified_llm.client.providers import ProviderChoice
from unified_llm.conversations import Conversation, ConversationManager
from unified_llm.costs import Ledger, PriceTable, UsageRecord
from unified_llm.errors import ConfigurationError, InvalidRequestError
from unified_llm.flow import Flow, FlowSettings
from unified_llm.messages import Content, Message, RoleLike, ToolCall, ToolResult
from unified_llm.policy import BreakerSettings, Deployment, Limits, RetryPolicy, Strategy
from unified_llm.providers.base import LLMProvider
from unified_llm.requests import ModelConfig, texts
from unified_llm.responses import Usage
from unified_llm.routing import Router
from unified_llm.tools import Tool, normalize_tool

__all__ = ["UnifiedLLM"]

_TYPICAL = Usage(3000, 1000)
"""What the prices of deployments are compared for: prompts are longer than answers."""


class UnifiedLLM(ChatCalls, EmbedCalls, ModelCalls, ProviderChoice):
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
        fallbacks: model references (``provider:model``) asked in order when a call fails (see `policy.plan`). The bare
            name of a provider is that provider, with its default model.
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
            self._router.check(self._router.fallback_ref(fallback))
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

    def add_hook(self, hook: object) -> None:
        """Add a hook to those given as `hooks`. It sees the calls that begin from now on.

        Raises:
            ConfigurationError: it has none of the methods of `unified_llm.flow.Hooks`.
        """
        self._flow.hooks.add(*checked_hooks([hook]))

    # -- chat -------------------------------------------------------------------------------------------------------
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
