"""OpenTelemetry: a span and metrics for each request, by the semantic conventions for generative AI (``gen_ai.*``).

The conventions are still in development; the names are those of opentelemetry-semantic-conventions 0.66b2. They are
written out here, because that package promises no stable names either.
"""

from __future__ import annotations

import atexit
import json
import os
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unified_llm._optional import require
from unified_llm.collecting import is_collecting, watch_collector
from unified_llm.messages import Message, MessageRole, Text, Thinking, ToolCall, ToolResult
from unified_llm.providers.registry import PROVIDER_CONFIGS
from unified_llm.requests import ChatRequest, ModelConfig
from unified_llm.responses import ChatResponse, Embeddings, Usage

if TYPE_CHECKING:
    from unified_llm.flow.hooks import CallInfo

__all__ = ["OpenTelemetryHooks"]

_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURED = ("true", "span_only", "span_and_event")  # the last two as opentelemetry-util-genai spells it
_DURATIONS = [0.01 * 2**n for n in range(14)]
_TOKENS = [4**n for n in range(14)]
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "max_tokens",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "stop_sequences": "stop_sequences",
}
_USAGE = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}


class OpenTelemetryHooks:
    """Hooks that report every request: ``UnifiedLLM(hooks=[OpenTelemetryHooks()])``.

    Each request is one client span (a call with two retries has three), a child of the span that is current when it
    is sent. Metrics: operation duration, token usage, and time to the first chunk of streams. Nothing is reported
    unless an OpenTelemetry SDK is configured, by the application or by ``opentelemetry-instrument``.

    Args:
        capture_content: also record prompts and answers on the span. Default: the variable
            OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, else no.
        tracer_provider, meter_provider: instead of the global ones.

    Raises:
        MissingDependencyError: opentelemetry-api is not installed (extra ``otel``).
    """

    def __init__(
        self, *, capture_content: bool | None = None, tracer_provider: Any = None, meter_provider: Any = None
    ) -> None:
        self._trace = require("opentelemetry.trace", extra="otel", purpose="telemetry")
        metrics = require("opentelemetry.metrics", extra="otel", purpose="telemetry")
        if capture_content is None:
            capture_content = os.environ.get(_CAPTURE, "").strip().lower() in _CAPTURED
        self.capture_content = capture_content
        self._tracer = self._trace.get_tracer("unified_llm", tracer_provider=tracer_provider)
        meter = metrics.get_meter("unified_llm", meter_provider=meter_provider)

        def histogram(name: str, unit: str, description: str, bounds: list[Any]) -> Any:
            return meter.create_histogram(
                f"gen_ai.client.{name}", unit, description, explicit_bucket_boundaries_advisory=bounds
            )

        self._duration = histogram("operation.duration", "s", "GenAI operation duration.", _DURATIONS)
        self._first = histogram("operation.time_to_first_chunk", "s", "Time to receive the first chunk.", _DURATIONS)
        self._tokens = histogram("token.usage", "{token}", "Number of input and output tokens used.", _TOKENS)
        watch_collector()
        self._was_asked = False

    def on_request(self, info: CallInfo) -> None:
        """Start the span of a request (the client calls this)."""
        if _DROPPED:
            _report_dropped()
        if not self._was_asked:  # by now the SDK is configured
            self._was_asked = True
            atexit.unregister(_report_dropped)
            atexit.register(_report_dropped)  # what is registered last runs first: before the SDK shuts down
        common = _common(info)
        span = self._tracer.start_span(
            f"{common['gen_ai.operation.name']} {info.model or ''}".strip(),
            kind=self._trace.SpanKind.CLIENT,
            attributes=common | _of_request(info),
        )
        if self.capture_content and isinstance(info.request, ChatRequest) and span.is_recording():
            span.set_attributes(_prompt(info.request))
        info.state[self] = (span, common, time.perf_counter())

    def on_response(self, info: CallInfo, response: ChatResponse | Embeddings) -> None:
        """End the span of the request that answered (the client calls this)."""
        span, common, started = info.state.pop(self, (None, {}, 0.0))
        if span is None:
            return
        span.set_attributes(_of_response(response))
        if self.capture_content and isinstance(response, ChatResponse) and span.is_recording():
            span.set_attribute("gen_ai.output.messages", _dumps([_answer(response)]))
        span.end()
        if response.model:
            common["gen_ai.response.model"] = response.model
        self._measure(common, time.perf_counter() - started, response)

    def on_error(self, info: CallInfo, error: BaseException) -> None:
        """End the span of a request that failed (the client calls this). An abandoned stream is no failure."""
        span, common, started = info.state.pop(self, (None, {}, 0.0))
        if span is None:
            return
        if isinstance(error, GeneratorExit):
            _DROPPED.append((span, time.time_ns(), self._duration, time.perf_counter() - started, common))
            _report_dropped()
            return
        common["error.type"] = type(error).__name__
        span.set_attribute("error.type", type(error).__name__)
        status = getattr(error, "status", None)
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        description = getattr(error, "message", type(error).__name__)  # ours are redacted
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, description))
        span.end()
        self._duration.record(time.perf_counter() - started, common)

    def on_end(self, info: CallInfo) -> None:
        """End what is left, should a hook of somebody else have stopped the call (the client calls this)."""
        span, _, _ = info.state.pop(self, (None, {}, 0.0))
        if span is not None:
            span.end()

    def _measure(self, common: dict[str, Any], seconds: float, response: ChatResponse | Embeddings) -> None:
        self._duration.record(seconds, common)
        if getattr(response, "cached", False):
            return  # no tokens were used
        for kind, count in (("input", response.usage.input_tokens), ("output", response.usage.output_tokens)):
            if count is not None:
                self._tokens.record(count, {**common, "gen_ai.token.type": kind})
        first = getattr(response, "time_to_first_token", None)
        if first is not None:
            self._first.record(first, common)


_DROPPED: deque[tuple[Any, int, Any, float, dict[str, Any]]] = deque()
"""Streams that were left: span, end in ns since the epoch, histogram of durations, seconds, attributes."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_DROPPED.clear)  # the parent reports them


def _report_dropped() -> None:
    """Report the streams that were left: now, or at the next request where the garbage collector ended them.

    It may do so while its own thread holds a lock of the SDK, for which whoever reports would wait for ever.
    """
    if is_collecting():
        return
    while _DROPPED:
        try:
            span, ended, durations, seconds, common = _DROPPED.popleft()
        except IndexError:  # another thread was faster
            return
        span.end(ended)
        durations.record(seconds, common)


def _common(info: CallInfo) -> dict[str, Any]:
    """What spans and metrics share."""
    config = PROVIDER_CONFIGS.get(info.provider)
    values = {
        "gen_ai.operation.name": "embeddings" if info.operation == "embed" else "chat",
        "gen_ai.provider.name": (config.vendor if config else None) or info.provider,
        "gen_ai.request.model": info.model,
    }
    return {k: v for k, v in values.items() if v is not None}


def _of_request(info: CallInfo) -> dict[str, Any]:
    config = info.request.config if info.request is not None else ModelConfig()
    values = {f"gen_ai.request.{name}": getattr(config, field) for field, name in _SETTINGS.items()}
    values["gen_ai.request.stream"] = True if info.operation == "stream" else None
    values["gen_ai.output.type"] = "json" if getattr(info.request, "response_format", None) is not None else None
    values["unified_llm.label"] = info.label
    values["unified_llm.attempt"] = info.attempt
    values["unified_llm.target"] = info.target if info.target != info.provider else None
    return {k: v for k, v in values.items() if v is not None}


def _of_response(response: ChatResponse | Embeddings) -> dict[str, Any]:
    values: dict[str, Any] = {"gen_ai.response.model": response.model, "unified_llm.cost.usd": response.cost}
    values |= _of_usage(response.usage)
    if isinstance(response, ChatResponse):
        values["gen_ai.response.id"] = response.response_id
        values["gen_ai.response.finish_reasons"] = [response.finish_reason.value] if response.finish_reason else None
        values["gen_ai.response.time_to_first_chunk"] = response.time_to_first_token
        values["unified_llm.cached"] = True if response.cached else None
    elif len(response):
        values["gen_ai.embeddings.dimension.count"] = len(response.vectors[0])
    return {k: v for k, v in values.items() if v is not None}


def _of_usage(usage: Usage) -> dict[str, int]:
    return {name: value for field, name in _USAGE.items() if (value := getattr(usage, field)) is not None}


def _prompt(request: ChatRequest) -> dict[str, str]:
    """The messages, in the JSON shape of the conventions; system messages apart."""
    system = [m for m in request.messages if m.role is MessageRole.SYSTEM]
    rest = [m for m in request.messages if m.role is not MessageRole.SYSTEM]
    values = {"gen_ai.input.messages": _dumps([{"role": m.role.value, "parts": _parts(m)} for m in rest])}
    if system:
        values["gen_ai.system_instructions"] = _dumps([part for m in system for part in _parts(m)])
    if request.tools:
        tools = [{"type": "function", "name": t.name, "description": t.description} for t in request.tools]
        values["gen_ai.tool.definitions"] = _dumps(tools)
    return values


def _answer(response: ChatResponse) -> dict[str, Any]:
    reason = response.finish_reason.value if response.finish_reason else None
    told = "tool_call" if reason == "tool_calls" else reason  # the one that the conventions call otherwise
    return {"role": "assistant", "parts": _parts(response.message), "finish_reason": told}


def _parts(message: Message) -> list[dict[str, Any]]:
    return [_part(part) for part in message.parts]


def _part(part: Any) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "content": part.text}
    if isinstance(part, Thinking):
        return {"type": "reasoning", "content": part.text}
    if isinstance(part, ToolCall):
        given = part.arguments_json if part.arguments is None else part.arguments
        return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": given}
    if isinstance(part, ToolResult):
        return {"type": "tool_call_response", "id": part.call_id, "response": part.text}
    return {"type": type(part).__name__.lower()}  # media: that it was there, not its bytes


def _dumps(value: list[Mapping[str, Any]] | list[dict[str, Any]]) -> str:
    return json.dumps(value, ensure_ascii=False)
