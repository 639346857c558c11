"""Ollama's own embeddings dialect (``/api/embed``): many texts in one call, vectors as lists of numbers."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.calls import json_body, more_headers
from unified_llm.codecs.errors import has_error, request_id_of, unusable_body
from unified_llm.codecs.ollama_encode import own_fields
from unified_llm.codecs.ollama_reading import read_usage, streamed_failure
from unified_llm.codecs.openai_encode import overlay
from unified_llm.errors import UnifiedLLMError
from unified_llm.requests import EmbedRequest
from unified_llm.responses import Adjustment, Embeddings, Usage
from unified_llm.wire import WireCall, WireReply

__all__ = ["OllamaEmbeddingsCodec"]

# Options of a client hold for its chats and its embeddings alike.
_CHATS_ONLY = frozenset({"format", "logprobs", "shift", "think", "top_logprobs"})


class OllamaEmbeddingsCodec:
    """See `EmbedCodec`. `defaults` are body fields of every call, under the call's own."""

    def __init__(self, secrets: Callable[[], Sequence[str]] = tuple, defaults: Mapping[str, Any] | None = None) -> None:
        self._secrets = secrets
        self._defaults = dict(defaults or {})

    def encode(self, request: EmbedRequest, context: CodecContext) -> list[WireCall]:
        """One call per batch of the profile's size; none for no texts."""
        step = context.profile.for_model(request.model).embedding_batch
        return [
            self._call(request, request.texts[start : start + step], context)
            for start in range(0, len(request.texts), step)
        ]

    def _call(self, request: EmbedRequest, texts: Sequence[str], context: CodecContext) -> WireCall:
        """``truncate`` is off: else a text that is too long gets the vector of its beginning, without a word."""
        config = request.config
        body: dict[str, Any] = {"model": request.model, "input": list(texts), "truncate": False}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        overlay(body, self._defaults)
        own = own_fields((config.provider_options or {}).get(context.provider))
        overlay(body, {k: v for k, v in own.items() if k not in _CHATS_ONLY})
        overlay(body, config.extra_body)
        return WireCall("api/embed", json_body(body), headers=more_headers(config), timeout=config.timeout)

    def decode(self, replies: list[WireReply], request: EmbedRequest, context: CodecContext) -> Embeddings:
        """Vectors in the order of the texts, usage summed over the batches.

        Raises:
            ResponseError: not JSON, not one vector per text, or a vector that is none.
        """
        vectors: list[array[float]] = []
        usage: Usage | None = None
        model = None
        for reply in replies:
            value = self._value(reply, context)
            vectors += self._vectors(value, reply, context)
            told = read_usage(value)
            usage = told if usage is None else usage + told
            model = model or value.get("model")
        if len(vectors) != len(request.texts):
            raise self._wrong(replies[-1], context, f"{len(vectors)} vectors for {len(request.texts)} texts")
        if len({len(v) for v in vectors}) > 1:
            raise self._wrong(replies[-1], context, "vectors of different lengths")
        return Embeddings(
            vectors,
            model=model or request.model,
            provider=context.provider,
            usage=usage,
            adjustments=_adjustments(request, vectors),
            request_id=request_id_of(replies[-1].headers) if replies else None,
        )

    def _value(self, reply: WireReply, context: CodecContext) -> dict[str, Any]:
        try:
            value = _json.loads(reply.body)
        except ValueError as exc:
            raise self._wrong(reply, context, "something that is not JSON") from exc
        if has_error(value):
            raise streamed_failure(value, reply.headers, provider=context.provider, secrets=self._secrets())
        if not isinstance(value, dict) or not isinstance(value.get("embeddings"), list):
            raise self._wrong(reply, context, "no list of vectors")
        return value

    def _vectors(self, value: Mapping[str, Any], reply: WireReply, context: CodecContext) -> list[array[float]]:
        try:
            vectors = [array("f", vector) for vector in value["embeddings"]]
        except TypeError as exc:
            raise self._wrong(reply, context, f"a vector that is none ({exc})") from exc
        if not all(vectors):
            raise self._wrong(reply, context, "a vector that is empty")
        return vectors

    def _wrong(self, reply: WireReply, context: CodecContext, why: str) -> UnifiedLLMError:
        return unusable_body(
            reply.status, reply.headers, reply.body, provider=context.provider, why=why, secrets=self._secrets()
        )


def _adjustments(request: EmbedRequest, vectors: Sequence[array[float]]) -> tuple[Adjustment, ...]:
    """Vectors shorter than the wish come back as they are: the server only cuts."""
    if not request.dimensions or not vectors or len(vectors[0]) == request.dimensions:
        return ()
    return (Adjustment("changed", "dimensions", f"{request.model} answered with {len(vectors[0])} dimensions"),)
