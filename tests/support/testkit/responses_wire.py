"""Short ways to run the Responses codec on values, and on the bytes of the double."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from testkit.openai_wire import ask, body_of, collect, context
from testkit.responses_double import Item, stream_events
from unified_llm.codecs.responses_api import ResponsesCodec
from unified_llm.messages import Message
from unified_llm.profiles import Profile
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse
from unified_llm.stream import StreamEvent
from unified_llm.wire import WireCall, WireReply

__all__ = ["MODEL", "answer", "ask_responses", "collect", "decode", "encode", "items", "said", "sent", "sse", "stream"]

MODEL = "gpt-5-mini"


def ask_responses(messages: str | Sequence[Message] = "Hi", **options: Any) -> ChatRequest:
    """A chat request for a model that reasons."""
    return ask(messages, **{"model": MODEL, **options})


def encode(request: ChatRequest, profile: str | Profile = "openai", provider: str | None = None) -> WireCall:
    """The call of `request`."""
    return ResponsesCodec().encode(request, context(profile, provider))


def sent(profile: str | Profile = "openai", **options: Any) -> dict[str, Any]:
    """The body without model and input."""
    body = body_of(encode(ask_responses(**options), profile))
    return {k: v for k, v in body.items() if k not in ("model", "input")}


def items(messages: Sequence[Message], profile: str | Profile = "openai", **options: Any) -> list[Item]:
    """The input items of a history."""
    found: list[Item] = body_of(encode(ask_responses(messages, **options), profile))["input"]
    return found


def said(request: ChatRequest, profile: str | Profile = "openai") -> list[tuple[str, str]]:
    """(kind, what) of every adjustment; each must have a reason."""
    adjustments = encode(request, profile).adjustments
    assert all(a.reason for a in adjustments)
    return [(a.kind, a.what) for a in adjustments]


def answer(*output: Item, **fields: Any) -> dict[str, Any]:
    """A response object."""
    usage = {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 15, "cache_write_tokens": 3},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 29,
    }
    begin = {"id": "resp_1", "object": "response", "created_at": 1.0, "status": "completed", "model": "gpt-5-mini-1"}
    return {**begin, "error": None, "incomplete_details": None, "output": list(output), "usage": usage, **fields}


def decode(value: Any, profile: str = "openai", request: ChatRequest | None = None) -> ChatResponse:
    """The response in a body, given as bytes or as a value."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    reply = WireReply(200, {"x-request-id": "req_1", "content-type": "application/json"}, body)
    return ResponsesCodec().decode(reply, request or ask_responses(), context(profile))


def sse(response: dict[str, Any]) -> bytes:
    """The bytes of a streamed response."""
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in stream_events(response)
    )


def stream(
    pieces: bytes | Iterable[bytes],
    profile: str = "openai",
    request: ChatRequest | None = None,
    into: list[StreamEvent] | None = None,
) -> list[StreamEvent]:
    """The events of streamed bytes, given whole or in pieces; `into` holds what came before an error."""
    codec = ResponsesCodec()
    decoder = codec.decoder({"x-request-id": "req_1"}, request or ask_responses(stream=True), context(profile))
    events: list[StreamEvent] = [] if into is None else into
    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
        events.extend(decoder.feed(piece))
    events.extend(decoder.close())
    return events
