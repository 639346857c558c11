"""The OpenAI embeddings dialect (``/v1/embeddings``). Vectors stay packed float32: no number becomes an object."""

from __future__ import annotations

import binascii
import sys
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.calls import json_body, more_headers
from unified_llm.codecs.errors import error_from_body, has_error, request_id_of, unusable_body
from unified_llm.codecs.openai_encode import overlay
from unified_llm.codecs.openai_reading import read_usage
from unified_llm.errors import ResponseError, UnsupportedOptionError
from unified_llm.profiles import Profile
from unified_llm.requests import EmbedRequest
from unified_llm.responses import Adjustment, Embeddings, Usage
from unified_llm.wire import WireCall, WireReply

__all__ = ["OpenAIEmbeddingsCodec"]

PATH = "embeddings"


class OpenAIEmbeddingsCodec:
    """See `EmbedCodec`. Texts are sent as strings, never as tokens: several servers take nothing else."""

    def __init__(self, secrets: Callable[[], Sequence[str]] = tuple) -> None:
        self._secrets = secrets

    def encode(self, request: EmbedRequest, context: CodecContext) -> list[WireCall]:
        """One call per batch of the profile's size; none for no texts.

        Raises:
            UnsupportedOptionError: `dimensions` on a server without them, under `on_unsupported="error"`.
        """
        profile = context.profile.for_model(request.model)
        refused = _adjustments(request, profile, context.provider)
        if refused and request.config.on_unsupported == "error":
            raise UnsupportedOptionError(
                refused[0].reason, provider=context.provider, hint="leave dimensions out, and cut the vectors yourself"
            )
        step = profile.embedding_batch
        return [
            self._call(request, request.texts[start : start + step], profile, context)
            for start in range(0, len(request.texts), step)
        ]

    def _call(self, request: EmbedRequest, texts: Sequence[str], profile: Profile, context: CodecContext) -> WireCall:
        config = request.config
        body: dict[str, Any] = {"model": request.model, "input": list(texts)}
        if profile.embedding_base64:
            body["encoding_format"] = "base64"
        if request.dimensions is not None and profile.embedding_dimensions:
            body["dimensions"] = request.dimensions
        if config.user is not None and "user" not in profile.unsupported:
            body["user"] = config.user
        overlay(body, (config.provider_options or {}).get(context.provider))
        overlay(body, config.extra_body)
        return WireCall(PATH, json_body(body), headers=more_headers(config), timeout=config.timeout)

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
            usage = told if usage is None else usage + told if told else usage
            model = model or value.get("model")
        if len(vectors) != len(request.texts):
            raise _wrong(context, replies[-1], f"{len(vectors)} vectors for {len(request.texts)} texts")
        if len({len(v) for v in vectors}) > 1:
            raise _wrong(context, replies[-1], "vectors of different lengths")
        return Embeddings(
            vectors,
            model=model or request.model,
            provider=context.provider,
            usage=usage,
            adjustments=self._told(request, vectors, context),
            request_id=request_id_of(replies[-1].headers) if replies else None,
        )

    def _told(
        self, request: EmbedRequest, vectors: Sequence[array[float]], context: CodecContext
    ) -> tuple[Adjustment, ...]:
        adjustments = _adjustments(request, context.profile.for_model(request.model), context.provider)
        if not adjustments and request.dimensions and vectors and len(vectors[0]) != request.dimensions:
            reason = f"{request.model} answered with {len(vectors[0])} dimensions"
            adjustments = (Adjustment("changed", "dimensions", reason),)
        return adjustments

    def _value(self, reply: WireReply, context: CodecContext) -> dict[str, Any]:
        try:
            value = _json.loads(reply.body)
        except ValueError as exc:
            raise _wrong(context, reply, "something that is not JSON", self._secrets()) from exc
        if has_error(value):
            raise error_from_body(
                value,
                provider=context.provider,
                status=reply.status,
                headers=reply.headers,
                secrets=self._secrets(),
            )
        if not isinstance(value, dict) or not isinstance(value.get("data"), list):
            raise _wrong(context, reply, "no list of vectors", self._secrets())
        return value

    def _vectors(self, value: dict[str, Any], reply: WireReply, context: CodecContext) -> list[array[float]]:
        """The vectors of one batch, by ``index``; without indices their order counts."""
        items = value["data"]
        places = [_place(i) for i in items]
        if None not in places:
            items = [i for _, i in sorted(zip(places, items, strict=True), key=lambda pair: pair[0] or 0)]
            if sorted(p for p in places if p is not None) != list(range(len(items))):
                raise _wrong(context, reply, "indices that repeat or leave gaps")
        try:
            return [_vector(i["embedding"]) for i in items]
        except (KeyError, TypeError, ValueError) as exc:
            raise _wrong(context, reply, f"a vector that is none ({exc})") from exc


def _place(item: Any) -> int | None:
    """The ``index`` of a vector: a number, which some servers send as text. None where there is none."""
    index = item.get("index") if isinstance(item, dict) else None
    if isinstance(index, str) and index.isdecimal():
        return int(index)
    return index if type(index) is int else None


def _vector(value: Any) -> array[float]:
    """Packed float32 from base64, or from a list of numbers (one level of nesting is llama.cpp without pooling)."""
    if isinstance(value, str):
        packed = array("f")
        packed.frombytes(binascii.a2b_base64(value, strict_mode=True))
        if sys.byteorder == "big":
            packed.byteswap()
    else:
        packed = array("f", value[0] if len(value) == 1 and isinstance(value[0], list) else value)
    if not packed:
        raise ValueError("it is empty")
    return packed


def _adjustments(request: EmbedRequest, profile: Profile, provider: str) -> tuple[Adjustment, ...]:
    if request.dimensions is None or profile.embedding_dimensions:
        return ()
    return (Adjustment("dropped", "dimensions", f"{provider} cannot shorten vectors"),)


def _wrong(context: CodecContext, reply: WireReply, why: str, secrets: Sequence[str] = ()) -> ResponseError:
    return unusable_body(reply.status, reply.headers, reply.body, provider=context.provider, why=why, secrets=secrets)
