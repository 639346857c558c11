"""Short ways to encode and decode the Anthropic dialect in tests, each body judged by the double's rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from testkit.claude_rules import faults_of
from unified_llm import ModelConfig
from unified_llm.codecs.anthropic_messages import AnthropicMessages
from unified_llm.codecs.base import CodecContext
from unified_llm.message_formats import normalize_messages
from unified_llm.profiles import PROFILES
from unified_llm.requests import ChatRequest
from unified_llm.responses import Adjustment, ChatResponse
from unified_llm.schemas import normalize_response_format
from unified_llm.stream import Accumulator, StreamEvent
from unified_llm.tools import normalize_tool_choice, normalize_tools
from unified_llm.wire import WireCall, WireReply

__all__ = ["CONTEXT", "FIXTURES", "decode", "decoded_fixture", "encode", "events", "judged", "request", "response_of"]

FIXTURES = Path(__file__).parents[2] / "fixtures" / "anthropic"
CONTEXT = CodecContext("claude", PROFILES["claude"])
MODEL = "claude-sonnet-5-5"


def request(
    messages: object = "Hi",
    model: str = MODEL,
    tools: Sequence[Any] | None = None,
    stream: bool = False,
    **options: Any,
) -> ChatRequest:
    """A request as the façade builds it; messages are of any form it takes."""
    config = ModelConfig(**options)
    return ChatRequest(
        model=model,
        messages=normalize_messages(messages),
        config=config,
        tools=normalize_tools(tools),
        tool_choice=normalize_tool_choice(config.tool_choice),
        response_format=normalize_response_format(config.response_format),
        stream=stream,
    )


def encode(
    messages: object = "Hi", model: str = MODEL, tools: Sequence[Any] | None = None, **options: Any
) -> tuple[dict[str, Any], tuple[Adjustment, ...]]:
    """Body and adjustments of a request; fails when the API would refuse the body."""
    call = AnthropicMessages().encode(request(messages, model, tools, **options), CONTEXT)
    return judged(call), call.adjustments


def judged(call: WireCall) -> dict[str, Any]:
    """The decoded body of a call that the API would take (models nobody knows are judged as sonnet 4.6)."""
    assert call.body is not None
    body: dict[str, Any] = json.loads(call.body)
    headers = dict(call.headers)
    betas = tuple(filter(None, headers.get("anthropic-beta", "").split(",")))
    subject = body if body["model"].startswith("claude-") else body | {"model": "claude-sonnet-4-6"}
    assert faults_of(subject, version=headers["anthropic-version"], betas=betas) == []
    return body


def decode(body: bytes | dict[str, Any], asked: ChatRequest | None = None, status: int = 200) -> ChatResponse:
    """The response of a whole answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = WireReply(status, {"request-id": "req_1", "content-type": "application/json"}, data)
    return AnthropicMessages().decode(reply, asked or request(), CONTEXT)


def decoded_fixture(name: str, asked: ChatRequest | None = None) -> ChatResponse:
    """The response of ``tests/fixtures/anthropic/<name>.json``."""
    return decode((FIXTURES / f"{name}.json").read_bytes(), asked)


def events(chunks: Iterable[bytes], asked: ChatRequest | None = None) -> list[StreamEvent]:
    """All events of a streamed answer that arrives in these chunks."""
    decoder = AnthropicMessages().decoder({"request-id": "req_1"}, asked or request(stream=True), CONTEXT)
    found = [event for chunk in chunks for event in decoder.feed(chunk)]
    return [*found, *decoder.close()]


def response_of(found: Iterable[StreamEvent]) -> ChatResponse:
    """What the accumulator makes of events."""
    accumulator = Accumulator()
    for event in found:
        accumulator.add(event)
    return accumulator.response()
