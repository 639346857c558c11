"""Short ways to run the OpenAI codec on recorded bytes."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.openai_chat import OpenAIChatCodec
from unified_llm.messages import Message, ToolCall
from unified_llm.profiles import PROFILES, Profile
from unified_llm.requests import ChatRequest, ModelConfig
from unified_llm.responses import ChatResponse
from unified_llm.stream import Accumulator, StreamEvent
from unified_llm.tools import Tool
from unified_llm.wire import WireCall, WireReply

__all__ = [
    "ADD",
    "FIXTURES",
    "MUL",
    "PNG",
    "SCHEMA",
    "ask",
    "body_of",
    "collect",
    "context",
    "decode",
    "encode",
    "respond",
    "said",
    "sent",
    "stream",
    "turn",
    "wires",
]

FIXTURES = Path(__file__).parents[2] / "fixtures" / "openai"

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False}
MUL = Tool("mul", "Multiplies")
ADD = Tool(
    "add",
    "Adds one",
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False},
)


def context(profile: str | Profile = "openai", provider: str | None = None) -> CodecContext:
    """A context for a profile; the provider has the profile's name unless told otherwise."""
    found = PROFILES[profile] if isinstance(profile, str) else profile
    return CodecContext(provider or found.name, found)


def ask(messages: str | Sequence[Message] = "Hi", *, model: str = "m", **options: Any) -> ChatRequest:
    """A chat request: fields of `ChatRequest`, and every other keyword an option of `ModelConfig`."""
    fields = {k: options.pop(k) for k in ("tools", "tool_choice", "response_format", "stream") if k in options}
    turns = (Message("user", messages),) if isinstance(messages, str) else tuple(messages)
    return ChatRequest(model, turns, ModelConfig(**options), **fields)


def encode(request: ChatRequest, profile: str | Profile = "openai", provider: str | None = None) -> WireCall:
    """The call of `request`."""
    return OpenAIChatCodec().encode(request, context(profile, provider))


def body_of(call: WireCall) -> dict[str, Any]:
    """The decoded body of a call."""
    assert call.body is not None
    body: dict[str, Any] = _json.loads(call.body)
    return body


def wires(messages: Sequence[Message], profile: str | Profile = "openai") -> list[dict[str, Any]]:
    """The wire messages of a history."""
    found: list[dict[str, Any]] = body_of(encode(ask(messages), profile))["messages"]
    return found


def said(request: ChatRequest, profile: str | Profile = "openai") -> list[tuple[str, str]]:
    """(kind, what) of every adjustment; each must have a reason."""
    adjustments = encode(request, profile).adjustments
    assert all(a.reason for a in adjustments)
    return [(a.kind, a.what) for a in adjustments]


def sent(profile: str | Profile = "openai", model: str = "gpt-4o", **options: Any) -> dict[str, Any]:
    """The body without model and messages."""
    body = body_of(encode(ask(model=model, **options), profile))
    return {k: v for k, v in body.items() if k not in ("model", "messages")}


def turn(*calls: ToolCall, text: str | None = None, **fields: Any) -> Message:
    """An assistant turn with tool calls."""
    return Message("assistant", text, tool_call=calls, **fields)


def decode(name: str, profile: str | Profile = "openai", request: ChatRequest | None = None) -> ChatResponse:
    """The response in ``answers/<name>.json``."""
    body = (FIXTURES / "answers" / f"{name}.json").read_bytes()
    reply = WireReply(200, {"x-request-id": "req_1", "content-type": "application/json"}, body)
    return OpenAIChatCodec().decode(reply, request or ask(), context(profile))


def stream(
    pieces: bytes | Iterable[bytes],
    profile: str | Profile = "openai",
    request: ChatRequest | None = None,
    into: list[StreamEvent] | None = None,
) -> list[StreamEvent]:
    """The events of streamed bytes, given whole or in pieces; `into` holds what came before an error."""
    decoder = OpenAIChatCodec().decoder({"x-request-id": "req_1"}, request or ask(stream=True), context(profile))
    events: list[StreamEvent] = [] if into is None else into
    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
        events.extend(decoder.feed(piece))
    events.extend(decoder.close())
    return events


def collect(events: Iterable[StreamEvent]) -> ChatResponse:
    """The response that events add up to."""
    accumulator = Accumulator()
    for event in events:
        accumulator.add(event)
    return accumulator.response()


def respond(name: str, profile: str | Profile = "openai") -> ChatResponse:
    """The response in ``streams/<name>``."""
    return collect(stream((FIXTURES / "streams" / name).read_bytes(), profile))
