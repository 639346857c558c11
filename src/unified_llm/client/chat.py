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
        started = self._flow.clock()
        request, settings = self._prepare(messages, config, tools, options)
        expires = self._flow.expiry(started, settings.deadline)
        targets = self._targets(settings, expires)
        info = self._info("chat", targets[0], settings, request, expires)

        def ask(step: Send) -> ChatResponse:
            if step.target is not targets[0] and (known := self._kept(step.target, request, expires)) is not None:
                return known
            return self._ask(step, request, info)

        try:
            self._flow.hooks.call("before_call", info)
            if (kept := self._kept(targets[0], request, expires)) is not None:
                retarget(info, targets[0])
                self._flow.hooks.call("on_request", info)
                answer = Answered(kept, ())
            else:
                answer = self._flow.run(targets, info, ask, **retry_of(settings))
            response = self._finish(request, answer.value, answer.attempts, info.notes)
            self._flow.hooks.call("on_response", info, response)
        finally:
            if self._flow.hooks.ends(info):
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
        started = self._flow.clock()
        request, settings = await self._prepare_async(messages, config, tools, options)
        expires = self._flow.expiry(started, settings.deadline)
        targets = await self._targets_async(settings, expires)
        info = self._info("chat", targets[0], settings, request, expires)

        async def ask(step: Send) -> ChatResponse:
            first = step.target is targets[0]
            if not first and (known := await self._kept_async(step.target, request, expires)) is not None:
                return known
            if settings.hedge_after is None:
                return await self._ask_async(step, request, info)
            other = replace(step, target=_after(step.target, [t for t in targets if self._flow.is_well(t)]))
            return await self._ask_twice(settings.hedge_after, step, other, request, info)

        try:
            await self._flow.hooks.call_async("before_call", info)
            if (kept := await self._kept_async(targets[0], request, expires)) is not None:
                retarget(info, targets[0])
                await self._flow.hooks.call_async("on_request", info)
                answer = Answered(kept, ())
            else:
                answer = await self._flow.run_async(targets, info, ask, **retry_of(settings))
            response = self._finish(request, answer.value, answer.attempts, info.notes)
            await self._flow.hooks.call_async("on_response", info, response)
        finally:
            if self._flow.hooks.ends(info):
                await self._flow.hooks.call_async("on_end", info)
        return response

    def _ask(self, step: Send, request: ChatRequest, info: CallInfo) -> ChatResponse:
        provider, model = self._resolve(step.target, step.expires)
        with self._flow.admission.admitted(step, info) as place:
            if place.waiting:
                place.wait()
            try:
                response = provider.chat(self._for(step, request, model, info))
            except BaseException as exc:
                self._cut(info, provider, place, (), exc)
                raise
            place.used(response.usage)
            return response

    async def _ask_async(self, step: Send, request: ChatRequest, info: CallInfo) -> ChatResponse:
        provider, model = await self._resolve_async(step.target, step.expires)
        with self._flow.admission.admitted(step, info) as place:
            if place.waiting:
                await place.wait_async()
            try:
                response = await provider.chat_async(self._for(step, request, model, info))
            except BaseException as exc:
                await self._cut_async(info, provider, place, (), exc)
                raise
            place.used(response.usage)
            return response

    async def _ask_twice(
        self, seconds: float, step: Send, other: Send, request: ChatRequest, info: CallInfo
    ) -> ChatResponse:
        """A hedged request. Both are billed: the one that lost is told to the hooks as what was cut."""
        twin = replace(info, state={}, target=other.target.key, provider=other.target.provider)
        twin.model = other.target.model
        began = False
        answers: list[tuple[CallInfo, ChatResponse]] = []

        async def first() -> ChatResponse:
            answers.append((info, await self._ask_async(step, request, info)))
            return answers[-1][1]

        async def again() -> ChatResponse:
            nonlocal began
            began = True
            answers.append((twin, await self._ask_again(other, request, twin)))
            return answers[-1][1]

        try:
            try:
                won = await hedged(seconds, first, again)
            except BaseException:  # cancelled when an answer was there already
                for who, answer in answers:
                    await self._flow.hooks.call_async("on_partial", who, self._finish(request, answer))
                raise
            if won.lost is not None:  # both answered at once
                loser = info if won.by_second else twin
                await self._flow.hooks.call_async("on_partial", loser, self._finish(request, won.lost))
            if won.by_second:
                if won.failure is not None:  # the second tells of itself
                    await self._flow.hooks.call_async("on_error", info, won.failure)
                    self._flow.note(step.target, won.failure)
                info.target, info.provider, info.model = twin.target, twin.provider, twin.model
                info.state, twin.state = twin.state, info.state  # what hooks keep of the one that won goes on
            return won.value
        finally:
            if began and self._flow.hooks.ends(twin):
                await self._flow.hooks.call_async("on_end", twin)

    async def _ask_again(self, step: Send, request: ChatRequest, info: CallInfo) -> ChatResponse:
        """The second of two requests, with a `CallInfo` of its own for the hooks. It has to be allowed, too."""
        await self._flow.hooks.call_async("before_call", info)
        await self._flow.hooks.call_async("on_request", info)
        try:
            answer = await self._ask_async(step, request, info)
        except BaseException as exc:
            await self._flow.hooks.call_async("on_error", info, exc)
            self._flow.note(step.target, exc)
            raise
        self._flow.note(step.target, None)
        return answer


def _after(target: Target, targets: Sequence[Target]) -> Target:
    """The next target, or the same one when it is the last: a second request may still find a faster machine."""
    following = targets[targets.index(target) + 1 :] if target in targets else ()
    return following[0] if following else target
