"""Batches of Claude: `ClaudeProvider.batches`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from unified_llm.codecs.anthropic_batches import Batch, BatchCodec
from unified_llm.codecs.anthropic_messages import AnthropicMessages
from unified_llm.codecs.anthropic_models import CURRENT_MODELS
from unified_llm.codecs.anthropic_objects import Pages
from unified_llm.errors import APITimeoutError, ConfigurationError, UnifiedLLMError
from unified_llm.providers.claude_files import checked
from unified_llm.requests import ChatRequest, ModelConfig
from unified_llm.responses import ChatResponse
from unified_llm.wire import LineSplitter, WireCall, WireReply

if TYPE_CHECKING:
    from unified_llm.providers.claude import ClaudeProvider

__all__ = ["Batches"]

logger = logging.getLogger("unified_llm")

_WHERE = "list_batches() shows what there is"
Asked = Mapping[str, ChatRequest]


class Batches:
    """Many requests at half the price, answered within a day.

        batches = llm.get_provider("claude").batches
        batch = batches.create(
            {"fr": "Say hello in French", "de": "Say hello in German"}, model="claude-haiku-5-5", max_tokens=100
        )
        batches.wait(batch.id)
        for name, answer in batches.results(batch.id):
            print(name, answer)  # a ChatResponse, or the error in its place

    Every method raises the `UnifiedLLMError` of what the API says.
    """

    def __init__(self, provider: ClaudeProvider, messages: AnthropicMessages) -> None:
        self._provider = provider
        self._codec = BatchCodec(messages)

    def create(
        self, requests: Mapping[str, Any], *, model: str | None = None, tools: Any = None, **options: Any
    ) -> Batch:
        """Start a batch: name to messages, in any form `chat` takes, or to a `ChatRequest`.

        `model`, `tools` and further options are those of `chat`, for all of them. A provider knows nothing of the
        client's model, so `model` is needed unless each request is a `ChatRequest`. What the API has no field for is
        logged, and recorded in `Batch.adjustments`, as `on_unsupported` says.

        Raises:
            ConfigurationError: there is no model.
            InvalidRequestError: there are no requests, or they cannot be in one batch.
        """
        call = self._create(requests, model, tools, options)
        return self._started(call, self._send(call), options)

    async def create_async(
        self, requests: Mapping[str, Any], *, model: str | None = None, tools: Any = None, **options: Any
    ) -> Batch:
        """`create`, without blocking the event loop."""
        call = await asyncio.to_thread(self._create, requests, model, tools, options)  # it may read files
        return self._started(call, await self._send_async(call), options)

    def get(self, batch_id: str) -> Batch:
        """A batch as it is now."""
        return self._batch(self._send(self._codec.one(batch_id)))

    async def get_async(self, batch_id: str) -> Batch:
        """`get`, without blocking the event loop."""
        return self._batch(await self._send_async(self._codec.one(batch_id)))

    def cancel(self, batch_id: str) -> Batch:
        """Answer no further requests of a batch; those already answered stay."""
        return self._batch(self._send(self._codec.one(batch_id, cancel=True)))

    async def cancel_async(self, batch_id: str) -> Batch:
        """`cancel`, without blocking the event loop."""
        return self._batch(await self._send_async(self._codec.one(batch_id, cancel=True)))

    def list_batches(self) -> list[Batch]:
        """All batches of the workspace, newest first."""
        pages: Pages[Batch] = Pages(self._provider.name)
        while pages.more:
            pages.add(self._page(self._send(self._codec.page(pages.after))))
        return pages.found

    async def list_batches_async(self) -> list[Batch]:
        """`list`, without blocking the event loop."""
        pages: Pages[Batch] = Pages(self._provider.name)
        while pages.more:
            pages.add(self._page(await self._send_async(self._codec.page(pages.after))))
        return pages.found

    def wait(self, batch_id: str, *, every: float = 30.0, timeout: float | None = None) -> Batch:
        """Look at a batch `every` so many seconds until it has ended.

        Raises:
            APITimeoutError: it had not ended after `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not (batch := self.get(batch_id)).ended:
            time.sleep(_pause(batch, every, end))
        return batch

    async def wait_async(self, batch_id: str, *, every: float = 30.0, timeout: float | None = None) -> Batch:  # noqa: ASYNC109
        """`wait`, without blocking the event loop."""
        end = None if timeout is None else time.monotonic() + timeout
        while not (batch := await self.get_async(batch_id)).ended:  # noqa: ASYNC110  # the API tells nobody
            await asyncio.sleep(_pause(batch, every, end))
        return batch

    def results(
        self, batch_id: str, requests: Asked | None = None
    ) -> Iterator[tuple[str, ChatResponse | UnifiedLLMError]]:
        """Name and answer of each request, as they come, in no order. An error is given, not raised.

        `requests`, where they are at hand, tell which answers are structured output.
        """
        batch = self.get(batch_id)
        lines = LineSplitter()
        with self._provider.driver.open(self._codec.results(batch)) as reply:
            if not 200 <= reply.status < 300:
                checked(self._provider, WireReply(reply.status, reply.headers, reply.read()), _WHERE)
            for chunk in reply:
                for line in lines.feed(chunk):
                    yield self._codec.result(line, requests or {}, self._provider.context)
            for line in lines.close():
                yield self._codec.result(line, requests or {}, self._provider.context)

    async def results_async(
        self, batch_id: str, requests: Asked | None = None
    ) -> AsyncIterator[tuple[str, ChatResponse | UnifiedLLMError]]:
        """`results`, for ``async for``."""
        batch = await self.get_async(batch_id)
        lines = LineSplitter()
        async with self._provider.driver.open_async(self._codec.results(batch)) as reply:
            if not 200 <= reply.status < 300:
                checked(self._provider, WireReply(reply.status, reply.headers, await reply.read()), _WHERE)
            async for chunk in reply:
                for line in lines.feed(chunk):
                    yield self._codec.result(line, requests or {}, self._provider.context)
            for line in lines.close():
                yield self._codec.result(line, requests or {}, self._provider.context)

    # -- what both sides share --------------------------------------------------------------------------------------

    def _create(self, requests: Mapping[str, Any], model: str | None, tools: Any, options: dict[str, Any]) -> WireCall:
        asked = {name: self._request(one, model, tools, dict(options)) for name, one in requests.items()}
        for name, one in asked.items():
            fitted, notes = self._provider._fitted(one)
            asked[name] = replace(fitted, adjustments=(*one.adjustments, *notes))
        return self._codec.create(asked, self._provider.context)

    def _request(self, given: Any, model: str | None, tools: Any, options: dict[str, Any]) -> ChatRequest:
        if isinstance(given, ChatRequest) and given.model:
            return given
        if not model:
            raise ConfigurationError(
                "a batch needs a model: the provider does not know the one of the client",
                provider="claude",
                hint=f"create(..., model={CURRENT_MODELS[0]!r}); current ones: {', '.join(CURRENT_MODELS)}",
            )
        if isinstance(given, ChatRequest):
            return given.for_model(model)
        # What the façade does for one chat; it stands above the providers, so it is fetched when it is needed.
        from unified_llm import attachments
        from unified_llm.preparation import build_request, prepare_chat

        config, messages, notes = prepare_chat(ModelConfig(), given, None, options)
        if attachments.needs_reading(messages):
            messages = attachments.resolve(messages)
        return build_request(messages, config, tools, False, notes).for_model(model)

    def _started(self, call: WireCall, reply: WireReply, options: Mapping[str, Any]) -> Batch:
        if options.get("on_unsupported") != "drop":
            for adjustment in call.adjustments:
                logger.warning("claude: %s %s: %s", adjustment.what, adjustment.kind, adjustment.reason)
        return replace(self._batch(reply), adjustments=call.adjustments)

    def _batch(self, reply: WireReply) -> Batch:
        return self._codec.decode(reply, self._provider.context)

    def _page(self, reply: WireReply) -> tuple[list[Batch], str | None]:
        return self._codec.decode_page(reply, self._provider.context)

    def _send(self, call: WireCall) -> WireReply:
        return checked(self._provider, self._provider.driver.send(call), _WHERE)

    async def _send_async(self, call: WireCall) -> WireReply:
        return checked(self._provider, await self._provider.driver.send_async(call), _WHERE)


def _pause(batch: Batch, every: float, end: float | None) -> float:
    left = None if end is None else end - time.monotonic()
    if left is not None and left <= 0:
        raise APITimeoutError(
            f"batch {batch.id} has not ended yet", provider="claude", hint="it may take a day: look again later"
        )
    return every if left is None else min(every, left)
