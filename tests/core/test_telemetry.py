"""OpenTelemetry: one span a request with the conventions' names, metrics, no content unless asked; redacted logs."""

from __future__ import annotations

import gc
import json
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider, SimpleFixedSizeExemplarReservoir
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from unified_llm import (
    MemoryCache,
    MissingDependencyError,
    OpenTelemetryHooks,
    RateLimitError,
    RedactingFilter,
    RetryPolicy,
    ToolCall,
    UnifiedLLM,
)
from unified_llm.testing import Failure, FakeLLM, Reply

USAGE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}


class Telemetry:
    """Hooks, and what they reported."""

    def __init__(self, views: Sequence[View] = (), **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        meters = MeterProvider([self.reader], views=views)
        self.hooks = OpenTelemetryHooks(tracer_provider=self.provider, meter_provider=meters, **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_chat_is_one_client_span_with_the_conventions_names(telemetry: Telemetry) -> None:
    llm = FakeLLM(*[Reply("hi", usage=USAGE)] * 2, hooks=[telemetry.hooks])
    llm.chat("secret prompt", model="claude:claude-sonnet-5-5", temperature=0.5, max_tokens=9, label="greeting")
    await llm.chat_async("secret prompt", model="claude:claude-sonnet-5-5", temperature=0.5, max_tokens=9)
    span = telemetry.spans[0]
    assert span.name == "chat claude-sonnet-5-5"
    assert span.kind is SpanKind.CLIENT
    found = attributes(span)
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-5-5",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "unified_llm.label": "greeting",
        "unified_llm.attempt": 0,
        "unified_llm.cost.usd": 0.0,
    }
    assert expected.items() <= found.items()
    assert "secret" not in str(found)
    assert telemetry.spans[1].name == span.name


async def test_a_stream_is_a_span_with_the_time_to_its_first_chunk(telemetry: Telemetry) -> None:
    llm = FakeLLM("one two", "one two", hooks=[telemetry.hooks])
    list(llm.stream("x"))
    assert [e.type async for e in llm.stream_async("x")][-1] == "end"
    for span in telemetry.spans:
        found = attributes(span)
        assert found["gen_ai.request.stream"] is True
        assert found["gen_ai.response.time_to_first_chunk"] >= 0
    (point,) = telemetry.points("gen_ai.client.operation.time_to_first_chunk")
    assert point.count == 2


def test_embeddings_have_their_own_operation(telemetry: Telemetry) -> None:
    FakeLLM(hooks=[telemetry.hooks]).embed("x")
    found = attributes(telemetry.span)
    assert found["gen_ai.operation.name"] == "embeddings"
    assert found["gen_ai.embeddings.dimension.count"] > 0


def test_each_attempt_is_a_span_and_failures_say_why(telemetry: Telemetry) -> None:
    llm = FakeLLM(
        Failure(status=429), "good", hooks=[telemetry.hooks], retry=RetryPolicy(max_retries=1, base=0), max_retries=1
    )
    with telemetry.provider.get_tracer("app").start_as_current_span("work") as work:
        llm.chat("x")
    failed, good, _ = telemetry.spans
    assert failed.status.status_code is StatusCode.ERROR
    assert attributes(failed)["error.type"] == "RateLimitError"
    assert attributes(failed)["http.response.status_code"] == 429
    assert attributes(good)["unified_llm.attempt"] == 1
    assert {s.parent.span_id for s in (failed, good) if s.parent} == {work.get_span_context().span_id}


def test_an_abandoned_stream_ends_its_span_and_is_no_error(telemetry: Telemetry) -> None:
    with FakeLLM("one two three", hooks=[telemetry.hooks]).stream("x") as stream:
        next(iter(stream))
    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(telemetry.span)


class Collecting(SimpleFixedSizeExemplarReservoir):
    """Collects garbage while the SDK, which calls it, holds its lock."""

    def collect(self, point_attributes: Any) -> list[Any]:
        gc.collect()
        return super().collect(point_attributes)


class Chat:
    """An object of an application, in a circle with itself: only the collector ends its stream."""

    def __init__(self, llm: UnifiedLLM) -> None:
        self.me = self
        self.stream = llm.stream("x")
        next(self.stream)


def test_a_stream_that_the_collector_ends_within_a_lock_of_the_sdk_is_reported_by_the_next_request() -> None:
    view = View(instrument_name="*", exemplar_reservoir_factory=lambda _: lambda **given: Collecting())
    telemetry = Telemetry(views=[view])
    llm = FakeLLM("one", "two three", "four", hooks=[telemetry.hooks])
    gc.collect()
    gc.disable()
    try:
        llm.chat("x")
        Chat(llm)
        exporting = threading.Thread(target=telemetry.reader.get_metrics_data, daemon=True)
        exporting.start()
        exporting.join(10)
        assert not exporting.is_alive()
    finally:
        gc.enable()
    assert len(telemetry.spans) == 1
    later = time.time_ns()
    llm.chat("x")
    assert len(telemetry.spans) == 3
    dropped = telemetry.spans[1]
    assert dropped.attributes is not None
    assert dropped.attributes["gen_ai.request.stream"] is True
    assert dropped.status.status_code is StatusCode.UNSET
    assert dropped.end_time is not None
    assert dropped.end_time < later
    assert sum(point.count for point in telemetry.points("gen_ai.client.operation.duration")) == 3


def test_a_collection_at_the_end_of_python_is_no_error() -> None:
    program = textwrap.dedent(
        """
        import gc
        from unified_llm import collecting

        class Late:
            def __del__(self, collect=gc.collect):
                collect()

        collecting.watch_collector()
        collecting.late = Late()  # goes with the names of that module
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50)
    assert done.stderr == ""


@pytest.mark.parametrize("steps", [("configure()", "make()"), ("make()", "configure()")], ids=["before", "after"])
def test_a_stream_that_the_collector_ends_last_is_reported_when_the_process_ends(steps: Sequence[str]) -> None:
    """`steps`: the application may configure the SDK after it has made its client."""
    program = """
        import gc
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
        from opentelemetry.trace import set_tracer_provider
        from unified_llm import OpenTelemetryHooks
        from unified_llm.testing import FakeLLM
        def configure():
            provider = TracerProvider()
            provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(formatter=lambda span: span.name)))
            set_tracer_provider(provider)
        def make():
            global llm
            llm = FakeLLM("one two", hooks=[OpenTelemetryHooks()])
        STEPS
        stream = llm.stream("x")
        next(stream)
        circle = [stream]
        circle.append(circle)
        del stream, circle
        gc.collect()
    """
    command = [sys.executable, "-c", textwrap.dedent(program).replace("STEPS", "; ".join(steps))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.startswith("chat")


def test_durations_and_tokens_are_measured(telemetry: Telemetry) -> None:
    llm = FakeLLM(Reply("x", usage=USAGE), Failure(status=429), hooks=[telemetry.hooks], cache=MemoryCache())
    llm.chat("x")
    assert llm.chat("x").cached
    with pytest.raises(RateLimitError):
        llm.chat("y")
    tokens = {p.attributes["gen_ai.token.type"]: p.sum for p in telemetry.points("gen_ai.client.token.usage")}
    assert tokens == {"input": 100, "output": 50}
    durations = telemetry.points("gen_ai.client.operation.duration")
    assert {p.attributes.get("error.type"): p.count for p in durations} == {None: 2, "RateLimitError": 1}
    assert attributes(telemetry.spans[1])["unified_llm.cached"] is True


@pytest.mark.parametrize("wish", ["true", "SPAN_ONLY"])
def test_content_is_recorded_only_when_asked_for(wish: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", wish)
    by_variable = Telemetry()
    llm = FakeLLM(ToolCall("look", {"at": "it"}, "c1"), hooks=[by_variable.hooks])
    llm.chat("what is it?", system="be brief", tools=[{"name": "look", "description": "looks", "parameters": {}}])
    found = attributes(by_variable.span)
    assert json.loads(found["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "what is it?"}]}
    ]
    assert json.loads(found["gen_ai.system_instructions"]) == [{"type": "text", "content": "be brief"}]
    (answer,) = json.loads(found["gen_ai.output.messages"])
    assert answer["finish_reason"] == "tool_call"
    assert answer["parts"] == [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"at": "it"}}]
    assert json.loads(found["gen_ai.tool.definitions"])[0]["name"] == "look"
    refused = Telemetry(capture_content=False)
    FakeLLM("answer", hooks=[refused.hooks]).chat("prompt")
    assert not [name for name in attributes(refused.span) if "messages" in name]


@pytest.mark.parametrize(
    ("written", "expected"),
    [("\n", {}), (" ", {}), ("null", {}), ('"{\\"at\\": 1}"', {"at": 1}), ("{'at': 1}", "{'at': 1}"), ("[1]", "[1]")],
)
def test_arguments_are_recorded_as_the_tool_gets_them_and_else_as_they_came(written: str, expected: object) -> None:
    telemetry = Telemetry(capture_content=True)
    FakeLLM(ToolCall("look", written, "c1"), hooks=[telemetry.hooks]).chat("x")
    (answer,) = json.loads(attributes(telemetry.span)["gen_ai.output.messages"])
    assert answer["parts"][0]["arguments"] == expected
    assert telemetry.points("gen_ai.client.operation.duration")


def test_calls_at_the_same_time_have_spans_of_their_own(telemetry: Telemetry) -> None:
    llm = FakeLLM("a b", "c d", hooks=[telemetry.hooks])
    first, second = llm.stream("x"), llm.stream("y")
    next(first), next(second)
    list(second), list(first)
    assert len({s.context.span_id for s in telemetry.spans if s.context}) == 2


def test_without_the_package_the_error_names_the_extra() -> None:
    code = (
        "import sys\nsys.modules['opentelemetry'] = None\nsys.modules['opentelemetry.trace'] = None\n"
        "from unified_llm import OpenTelemetryHooks\n"
        "try:\n    OpenTelemetryHooks()\nexcept ImportError as exc:\n    print(type(exc).__name__, exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(MissingDependencyError.__name__)
    assert "unified-llm[otel]" in done.stdout


# -- the log --------------------------------------------------------------------------------------------------------

KEY = "sk-planted-0123456789abcdef"


@pytest.mark.parametrize("name", ["unified_llm", "unified_llm.drivers"])
def test_the_librarys_loggers_mask_keys(name: str, caplog: pytest.LogCaptureFixture) -> None:
    UnifiedLLM("offline")
    logger = logging.getLogger(name)
    with caplog.at_level(logging.DEBUG, logger=name):
        logger.debug("the server said %r and %d", f"bad key {KEY}", 3)
        try:
            raise RuntimeError(f"with {KEY}")
        except RuntimeError:
            logger.exception("it failed")
    formatted = "\n".join(logging.Formatter().format(record) for record in caplog.records)
    assert KEY not in formatted
    assert "[redacted]" in formatted
    assert "RuntimeError" in formatted


def test_the_filter_leaves_other_records_as_they_are() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s calls of %s", (3, "tool"), None)
    assert RedactingFilter().filter(record)
    assert (record.msg, record.args) == ("%s calls of %s", (3, "tool"))


def test_the_filter_is_put_on_once() -> None:
    UnifiedLLM("offline")
    UnifiedLLM("offline")
    filters = [f for f in logging.getLogger("unified_llm").filters if isinstance(f, RedactingFilter)]
    assert len(filters) == 1
