"""Whole answers of the client, sync and async."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, overload

from unified_llm.chat_stream import AsyncTextStream, TextStream
from unified_llm.client.base import Messages, Tools, retarget, retry_of
from unified_llm.client.streams import StreamCalls
from unified_llm.flow import CallInfo, hedged
from unified_llm.flow.runner import Answered
from unified_llm.policy import Send, Target
from unified_llm.requests import ChatRequest, ModelConfig
from unified_llm.responses import ChatResponse

__all__ = ["ChatCalls"]


class ChatCalls(StreamCalls):
    """The calls that answer a chat."""

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
                retarget(info, targets[0])
                self._flow.hooks.call("on_request", info)
                answer = Answered(kept, ())
            else:
                answer = self._flow.run(targets, info, ask, **retry_of(settings))
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
                retarget(info, targets[0])
                await self._flow.hooks.call_async("on_request", info)
                answer = Answered(kept, ())
            else:
                answer = await self._flow.run_async(targets, info, ask, **retry_of(settings))
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


def _after(target: Target, targets: Sequence[Target]) -> Target:
    """The next target, or the same one when it is the last: a second request may still find a faster machine."""
    following = targets[targets.index(target) + 1 :]
    return following[0] if following else target
