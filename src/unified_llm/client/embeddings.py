"""Embeddings of the client, sync and async."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import overload

from unified_llm.client.base import ClientBase, retry_of
from unified_llm.policy import Send
from unified_llm.preparation import embed_texts
from unified_llm.requests import EmbedRequest
from unified_llm.responses import Embedding, Embeddings

__all__ = ["EmbedCalls"]


class EmbedCalls(ClientBase):
    """The calls that make vectors."""

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
        expires = self._flow.expiry(self._flow.clock(), settings.deadline)
        provider, target = self._flow.in_time(expires, lambda: self._router.embed_target(model_name))
        request = EmbedRequest(target.model or "", texts, dimensions, settings)
        info = self._info("embed", target, settings, request, expires)

        def ask(step: Send) -> Embeddings:
            with self._flow.admission.admitted(step, info) as place:
                if place.waiting:
                    place.wait()
                started = time.perf_counter()
                try:
                    vectors = provider.embed(replace(request, config=self._bounded(step, settings)))
                except BaseException as exc:
                    self._cut(info, provider, place, (), exc)
                    raise
                vectors.latency = time.perf_counter() - started
                place.used(vectors.usage)
                return vectors

        try:
            self._flow.hooks.call("before_call", info)
            answer = self._flow.run([target], info, ask, **retry_of(settings))
            vectors = self._priced(answer.value, provider, target)
            self._flow.hooks.call("on_response", info, vectors)
        finally:
            if self._flow.hooks.ends(info):
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
        expires = self._flow.expiry(self._flow.clock(), settings.deadline)
        provider, target = await self._flow.in_time_async(expires, self._router.embed_target_async(model_name))
        request = EmbedRequest(target.model or "", texts, dimensions, settings)
        info = self._info("embed", target, settings, request, expires)

        async def ask(step: Send) -> Embeddings:
            with self._flow.admission.admitted(step, info) as place:
                if place.waiting:
                    await place.wait_async()
                started = time.perf_counter()
                try:
                    vectors = await provider.embed_async(replace(request, config=self._bounded(step, settings)))
                except BaseException as exc:
                    await self._cut_async(info, provider, place, (), exc)
                    raise
                vectors.latency = time.perf_counter() - started
                place.used(vectors.usage)
                return vectors

        try:
            await self._flow.hooks.call_async("before_call", info)
            answer = await self._flow.run_async([target], info, ask, **retry_of(settings))
            vectors = self._priced(answer.value, provider, target)
            await self._flow.hooks.call_async("on_response", info, vectors)
        finally:
            if self._flow.hooks.ends(info):
                await self._flow.hooks.call_async("on_end", info)
        return vectors[0] if isinstance(text, str) else vectors
