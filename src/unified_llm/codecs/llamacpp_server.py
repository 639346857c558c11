"""What a llama.cpp server can do besides chats and embeddings, as calls and readers of their answers.

Source: https://github.com/ggml-org/llama.cpp/tree/master/tools/server. All paths are relative to the server's root.
With several models (router mode) a call names its model: in the body, or in the query of a GET.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.calls import json_body, more_headers
from unified_llm.codecs.errors import request_id_of
from unified_llm.codecs.openai_draft import DIALECT, Draft
from unified_llm.codecs.openai_encode import chat_body, overlay
from unified_llm.codecs.openai_options import put_options
from unified_llm.errors import InvalidRequestError
from unified_llm.messages import Message, Origin
from unified_llm.requests import ChatRequest, ModelConfig
from unified_llm.responses import ChatResponse, FinishReason, Usage
from unified_llm.wire import WireCall, WireReply

__all__ = [
    "Ranked",
    "count_call",
    "detokenize_call",
    "infill_call",
    "model_call",
    "props_call",
    "read_content",
    "read_count",
    "read_infill",
    "read_list",
    "read_object",
    "read_ranking",
    "read_success",
    "read_tokens",
    "rerank_call",
    "slots_call",
    "tokenize_call",
]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document and how well it answers the query: the higher the `score`, the better. `index` is where it was."""

    index: int
    score: float
    document: str


def props_call(model: str | None) -> WireCall:
    """Properties of the server: its model, template, window and default sampling."""
    return _get("props", model)


def slots_call(model: str | None) -> WireCall:
    """What each slot is doing."""
    return _get("slots", model)


def tokenize_call(text: str, *, add_special: bool, parse_special: bool, model: str | None) -> WireCall:
    """Tokens of a text."""
    return _post("tokenize", {"content": text, "add_special": add_special, "parse_special": parse_special}, model)


def detokenize_call(tokens: Sequence[int], *, model: str | None) -> WireCall:
    """Text of some tokens."""
    return _post("detokenize", {"tokens": list(tokens)}, model)


def rerank_call(query: str, documents: Sequence[str], *, top_n: int | None, model: str | None) -> WireCall:
    """Scores of documents for a query.

    Raises:
        InvalidRequestError: there are no documents, which the server refuses.
    """
    if not documents or not all(isinstance(d, str) for d in documents):
        raise InvalidRequestError("rerank needs documents", hint="pass a list of texts that is not empty")
    body: dict[str, Any] = {"query": query, "documents": list(documents)}
    return _post("rerank", body | ({"top_n": top_n} if top_n is not None else {}), model)


def count_call(request: ChatRequest, context: CodecContext) -> WireCall:
    """Tokens of the prompt that a chat would have, its template and tools included."""
    body = chat_body(request, Draft(request, context))
    return WireCall(
        "v1/chat/completions/input_tokens",
        json_body(body),
        headers=more_headers(request.config),
        timeout=request.config.timeout,
    )


def infill_call(
    prefix: str,
    suffix: str,
    *,
    prompt: str,
    files: Mapping[str, str],
    config: ModelConfig,
    model: str | None,
    context: CodecContext,
) -> WireCall:
    """Text between `prefix` and `suffix`; `prompt` is its beginning, `files` are others of the project."""
    draft = Draft(ChatRequest(model or "", (), config), context)
    body: dict[str, Any] = {"input_prefix": prefix, "input_suffix": suffix}
    if prompt:
        body["prompt"] = prompt
    if files:
        body["input_extra"] = [{"filename": name, "text": text} for name, text in files.items()]
    put_options(body, config, draft, has_tools=False)
    if "max_tokens" in body:
        body["n_predict"] = body.pop("max_tokens")
    overlay(body, (config.provider_options or {}).get(context.provider))
    overlay(body, config.extra_body)
    call = _post("infill", body, model)
    return WireCall(
        call.path,
        call.body,
        headers=more_headers(config),
        timeout=config.timeout,
        adjustments=tuple(draft.adjustments),
    )


def model_call(action: str, model: str) -> WireCall:
    """``load`` or ``unload`` a model of a router."""
    return _post(f"models/{action}", {"model": model}, None)


def _get(path: str, model: str | None) -> WireCall:
    return WireCall(f"{path}?model={quote(model, safe='')}" if model else path, method="GET")


def _post(path: str, body: Mapping[str, Any], model: str | None) -> WireCall:
    return WireCall(path, json_body({**body, "model": model} if model else body))


# -- answers ----------------------------------------------------------------------------------------------------------
# Each takes a decoded body and returns None when it is not what it should be; the provider says so.


def read_object(value: Any) -> dict[str, Any] | None:
    """An object, as it is."""
    return value if isinstance(value, dict) else None


def read_list(value: Any) -> list[dict[str, Any]] | None:
    """A list of objects, as it is."""
    return value if isinstance(value, list) and all(isinstance(v, dict) for v in value) else None


def read_tokens(value: Any) -> list[int] | None:
    """``tokens``."""
    tokens = value.get("tokens") if isinstance(value, dict) else None
    return tokens if isinstance(tokens, list) and all(type(t) is int for t in tokens) else None


def read_content(value: Any) -> str | None:
    """``content``."""
    content = value.get("content") if isinstance(value, dict) else None
    return content if isinstance(content, str) else None


def read_count(value: Any) -> int | None:
    """``input_tokens``."""
    count = value.get("input_tokens") if isinstance(value, dict) else None
    return count if type(count) is int else None


def read_success(value: Any) -> bool | None:
    """``success``."""
    return True if isinstance(value, dict) and value.get("success") is True else None


def read_ranking(value: Any, documents: Sequence[str]) -> list[Ranked] | None:
    """The documents in the answer, the best first."""
    results = value.get("results") if isinstance(value, dict) else None
    try:
        ranked = [Ranked(r["index"], float(r["relevance_score"]), documents[r["index"]]) for r in results or ()]
        if any(type(r.index) is not int or r.index < 0 for r in ranked):
            return None
    except (KeyError, TypeError, IndexError, ValueError):
        return None
    return sorted(ranked, key=lambda r: -r.score) if isinstance(results, list) else None


_STOPS = {"eos": FinishReason.STOP, "limit": FinishReason.LENGTH, "word": FinishReason.STOP_SEQUENCE}


def read_infill(value: Any, reply: WireReply, call: WireCall, context: CodecContext) -> ChatResponse | None:
    """The text in between, as a response."""
    text = read_content(value)
    if text is None:
        return None
    model, stop = str(value.get("model") or ""), value.get("stop_type")
    given, made = value.get("tokens_evaluated"), value.get("tokens_predicted")
    return ChatResponse(
        Message("assistant", text, origin=Origin(context.provider, DIALECT, model)),
        model=model or None,
        provider=context.provider,
        finish_reason=_STOPS.get(str(stop)),
        native_finish_reason=stop if isinstance(stop, str) else None,
        usage=Usage(
            given if type(given) is int else None,
            made if type(made) is int else None,
            native={"timings": value["timings"]} if isinstance(value.get("timings"), dict) else None,
        ),
        cost=0.0,
        adjustments=call.adjustments,
        request_id=request_id_of(reply.headers),
        raw=value,
        headers=reply.headers,
    )
