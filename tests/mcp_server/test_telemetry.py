"""OpenTelemetry: the SDK's spans of tool calls stay on, joined to the caller's trace, and hold no text and no key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from testkit.mcp_clients import ERAS, SDK_2, in_memory
from testkit.probe_provider import ProbeProvider
from unified_llm import UnifiedLLM
from unified_llm.errors import ServerError
from unified_llm_mcp import build_server

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

pytestmark = [
    pytest.mark.parametrize("era", ERAS),
    pytest.mark.skipif(not SDK_2, reason="the SDK's 1.x line makes no spans"),
]
KEY = "sk-proj-9f8e7d6c5b4a39281706f5e4d3c2b1a0"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    import mcp.shared._otel
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    found, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    # As set_tracer_provider() would, which a process can do only once.
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(mcp.shared._otel, "_tracer", provider.get_tracer("test"))
    return found


def server_span(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = [s for s in exporter.get_finished_spans() if s.kind.name == "SERVER" and s.name == "tools/call chat"]
    return span


async def test_a_call_is_a_span_within_the_callers_trace(era: str, exporter: InMemorySpanExporter) -> None:
    async with in_memory(build_server(UnifiedLLM(provider=ProbeProvider("the answer"))), era) as client:
        await client.call("chat", prompt="a secret plan")
    span = server_span(exporter)
    assert span.attributes is not None
    assert span.attributes["gen_ai.tool.name"] == "chat"
    assert span.status.status_code.name != "ERROR"
    assert "a secret plan" not in span.to_json()
    assert "the answer" not in span.to_json()
    if era == "legacy":  # in memory, the client of the other era hands its calls over without a span
        callers = [s for s in exporter.get_finished_spans() if s.name == "MCP send tools/call chat"]
        assert span.parent is not None
        assert [caller.context and caller.context.span_id for caller in callers] == [span.parent.span_id]


async def test_a_call_that_fails_is_a_span_that_says_so_without_the_key(
    era: str, exporter: InMemorySpanExporter
) -> None:
    provider = ProbeProvider()
    provider.error = ServerError(f"broken: {KEY}", status=500)
    async with in_memory(build_server(UnifiedLLM(provider=provider)), era) as client:
        assert (await client.call("chat", prompt="x")).is_error
    span = server_span(exporter)
    assert span.status.status_code.name == "ERROR"
    assert KEY not in span.to_json()


async def test_no_span_is_made_before_anybody_set_tracing_up_and_each_call_after(
    era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcp.shared._otel import otel_span
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    made = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        return otel_span(*arguments, **options)

    monkeypatch.setattr("mcp.server._otel.otel_span", counted)
    async with in_memory(build_server(UnifiedLLM(provider=ProbeProvider("the answer"))), era) as client:
        await client.call("chat", prompt="one")
        assert made == 0
        monkeypatch.setattr(trace, "get_tracer_provider", TracerProvider)
        await client.call("chat", prompt="two")
        assert made == 1
