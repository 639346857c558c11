"""Conversations that LM Studio keeps: a chat names the response it goes on from, and sends what is new since.

Our own history stays the truth. The server's copy is used only for a history that equals, message by message, what was
sent and answered before; when the server has lost it (restarted, expired), the whole history is sent, once.
https://lmstudio.ai/docs/developer/openai-compat/responses
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from typing import cast

from unified_llm.codecs.calls import json_body
from unified_llm.codecs.responses_encode import Continuation
from unified_llm.errors import InvalidRequestError, ModelNotFoundError, UnifiedLLMError
from unified_llm.forks import renew_in_child
from unified_llm.message_dumps import dump_message
from unified_llm.messages import Audio, Message, MessageRole
from unified_llm.requests import ChatRequest
from unified_llm.responses import Adjustment, ChatResponse
from unified_llm.stream import StreamEnd, StreamEvent

__all__ = ["StoredResponses", "fits_responses", "names_stored_response"]

_KEPT = 256
_NOT_FOUND = "previous_response_not_found"
_NAMED = re.compile(r"previous.?response", re.IGNORECASE)
_REFUSED = (InvalidRequestError, ModelNotFoundError)
# What the Responses API has not: a call that asks for it goes the usual way, and is not stored.
_CHAT_OPTIONS = ("seed", "stop_sequences", "presence_penalty", "frequency_penalty", "top_k", "min_p", "logprobs")


def fits_responses(request: ChatRequest, provider: str) -> bool:
    """Whether all that a chat asks for exists in the Responses API, and nothing in it says otherwise."""
    config = request.config
    return (
        request.response_format is None
        and all(getattr(config, name) is None for name in _CHAT_OPTIONS)
        and not names_stored_response(request, provider)
        and not any(type(part) is Audio for message in request.messages for part in message.parts)
    )


def names_stored_response(request: ChatRequest, provider: str) -> bool:
    """Whether the caller names a stored response or conversation himself."""
    config = request.config
    given = {**((config.provider_options or {}).get(provider) or {}), **(config.extra_body or {})}
    return bool(given.get("previous_response_id") or given.get("conversation"))


class StoredResponses:
    """Which response of the server holds which history. Safe to share between threads; forgets the oldest of 256."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._ids: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    def takes(self, request: ChatRequest) -> bool:
        """Whether a chat can be carried by stored responses."""
        return fits_responses(request, self._provider)

    def continuation(self, request: ChatRequest) -> Continuation:
        """The latest stored response that holds the beginning of the history, or none at all."""
        messages = request.messages
        digests = _digests(request.model, messages)
        for begin in range(len(messages) - 1, 0, -1):
            if messages[begin].role is MessageRole.SYSTEM:
                break  # such servers take system messages first, so that none can follow what they have
            known = self._ids.get(digests[begin - 1])
            if known is not None:
                return Continuation(known, begin)
        return Continuation(None, 0)

    def same(self, request: ChatRequest, fitted: ChatRequest) -> None:
        """Take note that `fitted` is `request`, message by message, with its images as the server takes them."""
        if fitted.messages is request.messages:
            return
        pairs = zip(_digests(request.model, request.messages), _digests(request.model, fitted.messages), strict=True)
        with self._lock:
            for asked, sent in pairs:
                if asked in self._ids:
                    self._ids[sent] = self._ids[asked]
            self._forget_oldest()

    # -- calls ------------------------------------------------------------------------------------------------------

    def chat(self, request: ChatRequest, send: Callable[[ChatRequest], ChatResponse]) -> ChatResponse:
        """The answer that `send` gives, asked once more when the server lost what it is to go on from."""
        gone = self.continuation(request).response_id
        try:
            return self._keep(request, send(request))
        except _REFUSED as exc:
            if not self._lost(exc, gone, request):
                raise
        return self._keep(request, send(request), gone)

    async def chat_async(
        self, request: ChatRequest, send: Callable[[ChatRequest], Awaitable[ChatResponse]]
    ) -> ChatResponse:
        """`chat`, without blocking the event loop."""
        gone = self.continuation(request).response_id
        try:
            return self._keep(request, await send(request))
        except _REFUSED as exc:
            if not self._lost(exc, gone, request):
                raise
        return self._keep(request, await send(request), gone)

    def stream(
        self, request: ChatRequest, send: Callable[[ChatRequest], Iterator[StreamEvent]]
    ) -> Iterator[StreamEvent]:
        """The events that `send` gives, asked once more when the loss shows before the answer begins."""
        gone = self.continuation(request).response_id
        said = ""
        try:
            with closing(cast("Generator[StreamEvent, None, None]", send(request))) as events:
                for event in events:
                    said = event.type
                    yield self._kept(request, event)
            return
        except _REFUSED as exc:
            if said not in ("", "start") or not self._lost(exc, gone, request):
                raise
        with closing(cast("Generator[StreamEvent, None, None]", send(request))) as events:
            for event in events:
                if not said or event.type != "start":  # once is enough
                    yield self._kept(request, event, gone)

    async def stream_async(
        self, request: ChatRequest, send: Callable[[ChatRequest], AsyncIterator[StreamEvent]]
    ) -> AsyncIterator[StreamEvent]:
        """`stream`, without blocking the event loop."""
        gone = self.continuation(request).response_id
        said = ""
        try:
            async with aclosing(cast("AsyncGenerator[StreamEvent, None]", send(request))) as events:
                async for event in events:
                    said = event.type
                    yield self._kept(request, event)
            return
        except _REFUSED as exc:
            if said not in ("", "start") or not self._lost(exc, gone, request):
                raise
        async with aclosing(cast("AsyncGenerator[StreamEvent, None]", send(request))) as events:
            async for event in events:
                if not said or event.type != "start":
                    yield self._kept(request, event, gone)

    # -- remembering ------------------------------------------------------------------------------------------------

    def _keep(self, request: ChatRequest, response: ChatResponse, gone: str | None = None) -> ChatResponse:
        """Remember what holds the history up to `response`; `gone` is what it should have gone on from."""
        if response.response_id is not None:
            digest = _digests(request.model, (*request.messages, response.message))[-1]
            with self._lock:
                self._ids[digest] = response.response_id
                self._forget_oldest()
        if gone is None:
            return response
        why = f"{self._provider} no longer has the response {gone}: the whole history was sent again"
        note = Adjustment("changed", "previous_response_id", why)
        return response.with_details(adjustments=(note, *response.adjustments))

    def _forget_oldest(self) -> None:
        while len(self._ids) > _KEPT:
            self._ids.popitem(last=False)

    def _kept(self, request: ChatRequest, event: StreamEvent, gone: str | None = None) -> StreamEvent:
        return StreamEnd(self._keep(request, event.response, gone)) if isinstance(event, StreamEnd) else event

    def _lost(self, exc: UnifiedLLMError, response_id: str | None, request: ChatRequest) -> bool:
        """Whether a refusal means that the server has `response_id` no more.

        Then all that is known of this history is forgotten: a server that was restarted has lost the earlier responses,
        too, and the second request must not go on from one of them.
        """
        if response_id is None or not (exc.status == 404 or exc.code == _NOT_FOUND or _NAMED.search(exc.message)):
            return False
        digests = _digests(request.model, request.messages)
        with self._lock:
            gone = {response_id, *(self._ids[d] for d in digests if d in self._ids)}
            for digest in [d for d, known in self._ids.items() if known in gone]:
                del self._ids[digest]
        return True


def _digests(model: str, messages: Sequence[Message]) -> list[bytes]:
    """For each message, what tells the history up to it (and the model) from every other one."""
    running = hashlib.sha256(model.encode("utf-8", "surrogatepass"))
    found = []
    for message in messages:
        running.update(json_body(dump_message(message)))
        found.append(running.digest())
    return found
