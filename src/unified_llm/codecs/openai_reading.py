"""What whole and streamed answers of the OpenAI chat dialect share: usage, finish reasons, reasoning, calls."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from unified_llm import _json
from unified_llm.codecs.fields import count_of
from unified_llm.codecs.openai_draft import DIALECT
from unified_llm.message_formats import split_data_url
from unified_llm.messages import Audio, Image, Native, Opaque, ToolCall, new_id
from unified_llm.requests import ChatRequest
from unified_llm.responses import FinishReason, Usage

__all__ = [
    "arguments_text",
    "as_dict",
    "as_list",
    "call_extras",
    "content_pieces",
    "details_text",
    "finish_reason",
    "is_complete",
    "known_call_ids",
    "merge_details",
    "message_extra",
    "read_audio",
    "read_image",
    "read_sources",
    "read_usage",
    "reasoning_text",
    "told_cost",
    "tool_call",
    "word",
]

_FINISH: dict[str, FinishReason] = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.CONTEXT_OVERFLOW,  # Mistral: the window is full, not the limit reached
    "tool_calls": FinishReason.TOOL_CALLS,
    "tool_use": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    # Gemini's own words: https://ai.google.dev/api/generate-content#FinishReason
    **dict.fromkeys(("safety", "recitation", "blocklist", "prohibited_content", "spii"), FinishReason.CONTENT_FILTER),
    **dict.fromkeys(("image_safety", "image_recitation", "image_prohibited_content"), FinishReason.CONTENT_FILTER),
    "refusal": FinishReason.REFUSAL,
    "abort": FinishReason.CANCELLED,  # vLLM, SGLang, AnythingLLM
    "cancelled": FinishReason.CANCELLED,
    "error": FinishReason.ERROR,
    "malformed_function_call": FinishReason.ERROR,
    "insufficient_system_resource": FinishReason.ERROR,  # DeepSeek
}
_ENDED = (FinishReason.STOP, FinishReason.STOP_SEQUENCE, FinishReason.TOOL_CALLS, None)
_CALL_FIELDS = frozenset({"id", "index", "type", "function"})


# -- fields of another kind than documented ---------------------------------------------------------------------------


def as_dict(value: Any) -> dict[str, Any]:
    """`value` if it is an object, else an empty one: for fields that only add to an answer."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def word(value: Any) -> str | None:
    """A name or an id: a text, or a number as text. None for what is neither, and for an empty one."""
    if isinstance(value, str):
        return value or None
    return str(value) if type(value) is int else None


def finish_reason(native: str | None, choice: Mapping[str, Any], *, calls: bool, refused: bool) -> FinishReason | None:
    """The server's word in our vocabulary. "stop" with calls means calls: many servers never say ``tool_calls``."""
    if native is None:
        return FinishReason.TOOL_CALLS if calls else None
    reason = _FINISH.get(native.lower(), FinishReason.OTHER)
    if reason is FinishReason.STOP:
        if calls:
            return FinishReason.TOOL_CALLS
        if refused:
            return FinishReason.REFUSAL
        if isinstance(choice.get("stop_reason"), str):  # vLLM: the stop sequence that was met
            return FinishReason.STOP_SEQUENCE
    return reason


def is_complete(reason: FinishReason | None) -> bool:
    """Whether generation ended by itself, so that what was said last is whole."""
    return reason in _ENDED


def read_sources(value: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """What was searched for an answer, told beside its choices: Perplexity's results, or bare URLs (xAI's too)."""
    results = value.get("search_results") or value.get("citations")
    found = results if isinstance(results, list) else []
    return tuple(
        one if isinstance(one, dict) else {"url": one} for one in found if one and isinstance(one, (dict, str))
    )


# -- usage ------------------------------------------------------------------------------------------------------------


def read_usage(value: Mapping[str, Any], tier: Any = None) -> Usage | None:
    """The usage in a body or chunk, or None when it has none. llama.cpp's ``timings`` stand in for a missing one.

    The tier that served the request decides its price, and stands beside the usage: it is put into ``native``. `tier`
    is the one that an earlier chunk told.
    """
    usage = value.get("usage") or as_dict(value.get("x_groq")).get("usage")
    timings = value.get("timings")
    if isinstance(usage, dict):
        tier = value.get("service_tier") or tier
        if tier and isinstance(tier, str) and "service_tier" not in usage:
            usage = usage | {"service_tier": tier}
        return _usage(usage, timings)
    if isinstance(timings, dict) and count_of(timings.get("predicted_n")) is not None:
        cached = count_of(timings.get("cache_n"))
        fresh = count_of(timings.get("prompt_n"))
        whole = None if fresh is None else fresh + (cached or 0)
        return Usage(whole, count_of(timings["predicted_n"]), cached, native={"timings": timings})
    return None


def told_cost(usage: Usage | None) -> float | None:
    """What the service itself says that the call cost, in USD: OpenRouter as a number, Perplexity in an object."""
    cost = (usage.native or {}).get("cost") if usage is not None else None
    if isinstance(cost, Mapping):
        cost = cost.get("total_cost")
    return float(cost) if isinstance(cost, (int, float)) and type(cost) is not bool and cost >= 0 else None


def _usage(usage: dict[str, Any], timings: Any) -> Usage:
    prompt = as_dict(usage.get("prompt_tokens_details"))
    completion = as_dict(usage.get("completion_tokens_details"))
    given, taken = count_of(usage.get("prompt_tokens")), count_of(usage.get("completion_tokens"))
    reasoning = _first(completion.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    total = count_of(usage.get("total_tokens"))
    if reasoning and given is not None and taken is not None and total == given + taken + reasoning:
        taken += reasoning  # xAI counts reasoning beside the completion
    return Usage(
        given,
        taken,
        _first(prompt.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"), usage.get("cached_tokens")),
        _first(prompt.get("cache_write_tokens"), usage.get("cache_creation_input_tokens")),
        reasoning,
        native=usage | {"timings": timings} if isinstance(timings, dict) else usage,
    )


def _first(*values: Any) -> int | None:
    for value in values:
        if type(value) is int and value >= 0:
            return value
    return None


# -- reasoning and content --------------------------------------------------------------------------------------------


def reasoning_text(message: Mapping[str, Any], *, details: bool = True) -> str:
    """The readable reasoning of a message or delta, whichever field it is in; `details` allows OpenRouter's."""
    for name in ("reasoning_content", "reasoning"):
        text = message.get(name)
        if text and isinstance(text, str):
            return text
    return details_text(message.get("reasoning_details")) if details else ""


def details_text(details: Any) -> str:
    """The readable text in OpenRouter's ``reasoning_details``."""
    if not isinstance(details, list):
        return ""
    return "".join(str(d.get("text") or d.get("summary") or "") for d in details if isinstance(d, dict))


def merge_details(known: list[dict[str, Any]], details: Any) -> None:
    """Add streamed ``reasoning_details`` to those before: pieces of one detail share ``index`` and ``type``."""
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        last = known[-1] if known else None
        if last is None or any(last.get(k) != detail.get(k) for k in ("index", "type")):
            known.append(dict(detail))
            continue
        for name, value in detail.items():
            if name in ("text", "summary", "data") and isinstance(value, str):
                last[name] = (last.get(name) or "") + value
            elif value is not None:
                last[name] = value


def content_pieces(content: Any) -> list[tuple[str, str]]:
    """(``thinking`` or ``text``, text) of content given as a list of parts (Mistral), or as one of them.

    Raises:
        TypeError: it is something else, so that an answer would be lost.
    """
    if isinstance(content, dict) and isinstance(content.get("text", content.get("thinking")), (str, list)):
        content = [content]
    if not isinstance(content, list | None):
        raise TypeError(f"content is {type(content).__name__}")
    pieces: list[tuple[str, str]] = []
    for part in content or ():
        if isinstance(part, str):
            pieces.append(("text", part))
        elif isinstance(part, dict) and part.get("type") == "thinking":
            pieces += (("thinking", text) for _, text in content_pieces(_in_list(part.get("thinking"))))
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            pieces.append(("text", part["text"]))
    return [p for p in pieces if p[1]]


def _in_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def message_extra(name: str, value: Any, provider: str, model: str | None) -> Opaque:
    """A field of the message that must return to the server unchanged, as a part."""
    return Opaque(Native(DIALECT, {"type": name, name: value}, provider, model))


def read_image(image: Any) -> Image | None:
    """An image that the model made (OpenRouter's ``images``), or None when it is not readable."""
    url = as_dict(as_dict(image).get("image_url")).get("url")
    if not isinstance(url, str):
        return None
    if not url.startswith("data:"):
        return Image(url=url)
    try:
        data, media_type = split_data_url(url)
    except ValueError:
        return None
    return Image(data=data, media_type=media_type)


def read_audio(audio: Any) -> tuple[Audio | None, str]:
    """Spoken output and its transcript."""
    if not isinstance(audio, dict):
        return None, ""
    transcript = word(audio.get("transcript")) or ""
    try:
        data = base64.b64decode(audio.get("data") or "")
    except (binascii.Error, TypeError, ValueError):
        return None, transcript
    return (Audio(data=data, file_id=word(audio.get("id"))) if data else None), transcript


# -- tool calls -------------------------------------------------------------------------------------------------------


def known_call_ids(request: ChatRequest) -> set[str]:
    """Ids of the calls in the history: a new call must not have one of them."""
    return {call.id for message in request.messages for call in message.tool_calls}


def arguments_text(arguments: Any) -> str:
    """Arguments as JSON text: servers send text, an object, or nothing."""
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else _json.dumps_str(arguments)


def tool_call(
    name: str,
    arguments: str,
    call_id: str | None,
    *,
    taken: set[str],
    extras: Mapping[str, Any],
    provider: str,
    model: str | None,
    cut: bool = False,
) -> ToolCall:
    """A finished call. A missing or repeated id is replaced; what only this server understands is kept in `native`.

    `cut` says that generation stopped inside the call. No arguments at all would then look like a call without
    arguments, so an opening brace stands for what is missing: it never parses.
    """
    unique = call_id if call_id and call_id not in taken else new_id()
    taken.add(unique)
    if cut and not arguments.strip():
        arguments = "{"
    native = None
    if extras:
        function = {"name": name, "arguments": arguments}
        native = Native(DIALECT, {"id": unique, "type": "function", "function": function, **extras}, provider, model)
    return ToolCall(name, arguments, unique, native=native)


def call_extras(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a call besides the documented ones: Gemini's ``extra_content`` with its thought signature."""
    return {k: v for k, v in raw.items() if k not in _CALL_FIELDS and v is not None}
