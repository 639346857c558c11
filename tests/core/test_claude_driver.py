"""Claude over the real SDK and over plain HTTP, against the strict double: the same behaviour through both."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Literal

import anyio
import pytest

from testkit.claude_calls import request
from testkit.claude_double import ClaudeDouble, Raw, Reply, answer, failure
from testkit.claude_double import text as text_block
from unified_llm import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ResponseError,
    ServerError,
    StreamInterruptedError,
    UnifiedLLMError,
)
from unified_llm.messages import Text
from unified_llm.providers.claude import ClaudeProvider
from unified_llm.stream import StreamEnd, StreamEvent, TextDelta

Transport = Literal["sdk", "sdk-aiohttp", "http"]


@pytest.fixture(params=["sdk", "http"])
def claude(claude_double: ClaudeDouble, request: pytest.FixtureRequest) -> Iterator[ClaudeProvider]:
    """A provider that talks to the double, over each transport."""
    provider = ClaudeProvider(api_key=claude_double.key, base_url=claude_double.url, transport=request.param)
    yield provider
    provider.close()


@pytest.fixture(params=["sdk", "sdk-aiohttp", "http"])
async def claude_async(claude_double: ClaudeDouble, request: pytest.FixtureRequest) -> AsyncIterator[ClaudeProvider]:
    """The same, closed in the loop of the test."""
    provider = ClaudeProvider(api_key=claude_double.key, base_url=claude_double.url, transport=request.param)
    yield provider
    await provider.aclose()


def slow(pieces: int = 50, pause: float = 0.1) -> Reply:
    return answer("word " * 50, pieces=pieces, pause=pause)


def text_of(events: list[StreamEvent]) -> str:
    return "".join(e.text for e in events if isinstance(e, TextDelta))


# -- what goes out and comes back -------------------------------------------------------------------------------------


def test_a_chat_brings_text_usage_and_request_id(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    response = claude.chat(request("Hello"))
    assert response == "You said: Hello"
    assert response.request_id is not None
    assert response.request_id.startswith("req_")
    assert response.usage.total_tokens
    assert response.latency is not None
    assert response.headers is not None
    assert response.headers["anthropic-ratelimit-requests-remaining"] == "999"
    assert claude_double.requests[0].headers["anthropic-version"] == "2026-10-21"


async def test_an_async_chat_brings_the_same(claude_async: ClaudeProvider) -> None:
    response = await claude_async.chat_async(request("Hello"))
    assert response == "You said: Hello"
    assert response.request_id


def test_a_stream_ends_with_the_whole_response(claude: ClaudeProvider) -> None:
    events = list(claude.stream(request("Hello", thinking=True)))
    end = events[-1]
    assert isinstance(end, StreamEnd)
    assert end.response == text_of(events) == "You said: Hello"
    assert end.response.reasoning == "The user wants: Hello"
    assert end.response.time_to_first_token is not None


async def test_an_async_stream_ends_with_the_whole_response(claude_async: ClaudeProvider) -> None:
    events = [event async for event in claude_async.stream_async(request("Hello"))]
    assert isinstance(events[-1], StreamEnd)
    assert text_of(events) == "You said: Hello"


def test_headers_of_the_call_and_of_the_provider_arrive(claude_double: ClaudeDouble) -> None:
    for transport in ("sdk", "http"):
        provider = ClaudeProvider(
            api_key=claude_double.key, base_url=claude_double.url, transport=transport, headers={"X-Team": "blue"}
        )
        provider.chat(request("Hi", extra_headers={"X-Trace": "7"}))
        provider.close()
        sent = claude_double.requests[-1].headers
        assert (sent["x-team"], sent["x-trace"]) == ("blue", "7")


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_the_address_works_with_and_without_v1(claude_double: ClaudeDouble, suffix: str) -> None:
    provider = ClaudeProvider(api_key=claude_double.key, base_url=claude_double.url + suffix, transport="http")
    assert provider.chat(request("Hi"))
    assert claude_double.requests[-1].path == "/v1/messages"
    provider.close()


def test_betas_reach_the_server_as_a_header(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude.chat(request("Hi", provider_options={"claude": {"betas": ["context-management-2025-06-27"]}}))
    assert claude_double.requests[-1].headers["anthropic-beta"] == "context-management-2025-06-27"


def test_the_same_bytes_give_the_same_events_over_both_transports(claude_double: ClaudeDouble) -> None:
    found = []
    for transport in ("sdk", "http"):
        claude_double.script([answer("Same.", text_block("Bytes."), model="claude-sonnet-5-5")])
        provider = ClaudeProvider(api_key=claude_double.key, base_url=claude_double.url, transport=transport)
        found.append([(type(e), getattr(e, "text", None)) for e in provider.stream(request("x"))])
        provider.close()
    assert found[0] == found[1]


# -- failures ---------------------------------------------------------------------------------------------------------

STATUSES: list[tuple[int, str, type[UnifiedLLMError]]] = [
    (400, "tools.0: bad", InvalidRequestError),
    (400, "prompt is too long: 250000 tokens > 200000 maximum", ContextLengthError),
    (401, "invalid x-api-key", AuthenticationError),
    (402, "credit balance is too low", PaymentRequiredError),
    (403, "not allowed", PermissionDeniedError),
    (404, "model: claude-2.1", ModelNotFoundError),
    (413, "too large", RequestTooLargeError),
    (429, "slow down", RateLimitError),
    (500, "oops", ServerError),
    (529, "Overloaded", OverloadedError),
]


@pytest.mark.parametrize(("status", "message", "expected"), STATUSES)
def test_each_status_is_its_error_and_is_asked_once(
    claude: ClaudeProvider, claude_double: ClaudeDouble, status: int, message: str, expected: type[UnifiedLLMError]
) -> None:
    claude_double.script([failure(status, message, headers={"retry-after": "7"})] * 2)
    with pytest.raises(expected) as whole:
        claude.chat(request("x"))
    with pytest.raises(expected) as streamed:
        list(claude.stream(request("x")))
    for caught in (whole.value, streamed.value):
        assert (caught.status, caught.provider, caught.model) == (status, "claude", "claude-sonnet-5-5")
        assert caught.request_id is not None
        assert caught.hint
    if status == 429:
        assert whole.value.retry_after == 7
    assert len(claude_double.requests) == 2  # the SDK's own retries are off


async def test_an_async_failure_is_typed_too(claude_async: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([failure(529), failure(429)])
    with pytest.raises(OverloadedError):
        await claude_async.chat_async(request("x"))
    with pytest.raises(RateLimitError):
        async for _ in claude_async.stream_async(request("x")):
            pass
    assert len(claude_double.requests) == 2


def test_a_wrong_key_is_an_authentication_error_that_never_shows_it(claude_double: ClaudeDouble) -> None:
    for transport in ("sdk", "http"):
        provider = ClaudeProvider(api_key="wrong-key-value-123", base_url=claude_double.url, transport=transport)
        with pytest.raises(AuthenticationError) as caught:
            provider.chat(request("x"))
        assert "wrong-key-value-123" not in repr(vars(caught.value)) + str(caught.value) + repr(provider)
        provider.close()


def test_an_error_in_mid_stream_is_typed_and_keeps_the_text_so_far(
    claude: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    claude_double.script([answer("one two three", error_after=(5, "overloaded_error", "Overloaded"))])
    with pytest.raises(OverloadedError) as caught:
        list(claude.stream(request("x")))
    assert caught.value.partial is not None
    assert "one two three".startswith(caught.value.partial)
    assert len(caught.value.partial) > 0


@pytest.mark.parametrize("events", [0, 1, 5])
def test_a_stream_that_is_cut_is_an_interruption_with_the_text_so_far(
    claude: ClaudeProvider, claude_double: ClaudeDouble, events: int
) -> None:
    claude_double.script([answer("one two three", cut_after=events)])
    with pytest.raises(StreamInterruptedError) as caught:
        list(claude.stream(request("x")))
    assert caught.value.retryable
    if events == 5:
        assert caught.value.partial


async def test_an_async_stream_that_is_cut_is_an_interruption(
    claude_async: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    claude_double.script([answer("one two three", cut_after=5)])
    with pytest.raises(StreamInterruptedError) as caught:
        async for _ in claude_async.stream_async(request("x")):
            pass
    assert caught.value.partial


def test_an_html_answer_is_a_response_error(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([Raw(200, b"<!doctype html><title>Portal</title>", "text/html")] * 2)
    with pytest.raises(ResponseError, match="HTML"):
        claude.chat(request("x"))
    with pytest.raises(ResponseError, match="HTML"):
        list(claude.stream(request("x")))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("transport", ["sdk", "http"])
def test_nothing_that_listens_is_a_connection_error_with_the_address(transport: Transport) -> None:
    port = free_port()
    provider = ClaudeProvider(api_key="k", base_url=f"http://127.0.0.1:{port}", transport=transport)
    with pytest.raises(APIConnectionError, match=f"127.0.0.1:{port}: connection refused") as caught:
        provider.chat(request("x"))
    assert caught.value.retryable
    with pytest.raises(APIConnectionError):
        list(provider.stream(request("x")))
    provider.close()


@pytest.mark.parametrize("transport", ["sdk", "sdk-aiohttp", "http"])
async def test_nothing_that_listens_is_an_async_connection_error(transport: Transport) -> None:
    provider = ClaudeProvider(api_key="k", base_url=f"http://127.0.0.1:{free_port()}", transport=transport)
    with pytest.raises(APIConnectionError):
        await provider.chat_async(request("x"))
    await provider.aclose()


def test_silence_before_the_answer_is_a_timeout(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([answer("late", pause=5)])
    started = time.monotonic()
    with pytest.raises(APITimeoutError, match="first byte") as caught:
        claude.chat(request("x", timeout=0.2))
    assert time.monotonic() - started < 2
    assert caught.value.retryable


def test_silence_inside_a_stream_is_a_timeout(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([answer("late", pause=5)])
    with pytest.raises(APITimeoutError, match="next byte"):
        list(claude.stream(request("x", timeout=0.2)))


async def test_async_silence_is_a_timeout(claude_async: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([answer("late", pause=5), answer("late", pause=5)])
    with pytest.raises(APITimeoutError):
        await claude_async.chat_async(request("x", timeout=0.2))
    with pytest.raises(APITimeoutError):
        async for _ in claude_async.stream_async(request("x", timeout=0.2)):
            pass


# -- abandoning -------------------------------------------------------------------------------------------------------


def test_closing_a_stream_closes_the_request_upstream(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([slow()])
    events = claude.stream(request("x"))
    next(e for e in events if isinstance(e, TextDelta))
    events.close()  # type: ignore[attr-defined]  # a generator
    assert claude_double.wait_for_disconnect(0.5)
    assert claude.chat(request("again")) == "You said: again"


def test_dropping_a_stream_closes_the_request_upstream(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([slow()])
    for event in claude.stream(request("x")):
        if isinstance(event, TextDelta):
            break
    gc.collect()
    assert claude_double.wait_for_disconnect(0.5)


def test_an_interrupt_between_two_pieces_closes_the_request_upstream(
    claude: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    claude_double.script([slow()])

    def consume() -> None:
        for event in claude.stream(request("x")):
            if isinstance(event, TextDelta):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    gc.collect()
    assert claude_double.wait_for_disconnect(0.5)


async def test_leaving_an_async_stream_closes_the_request_upstream(
    claude_async: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    claude_double.script([slow()])
    async with aclosing(claude_async.stream_async(request("x"))) as events:  # type: ignore[type-var]  # a generator
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert await asyncio.to_thread(claude_double.wait_for_disconnect, 0.5)


async def test_cancelling_a_task_that_reads_a_stream_closes_the_request_upstream(
    claude_async: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    claude_double.script([slow()])
    begun = asyncio.Event()

    async def read() -> None:
        async for event in claude_async.stream_async(request("x")):
            if isinstance(event, TextDelta):
                begun.set()

    task = asyncio.create_task(read())
    await asyncio.wait_for(begun.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(claude_double.wait_for_disconnect, 0.5)


async def test_cancelling_a_chat_closes_the_request_upstream(
    claude_async: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    claude_double.script([answer("late", pause=5)])
    task = asyncio.create_task(claude_async.chat_async(request("x")))
    await asyncio.to_thread(claude_double.wait_for_request)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(claude_double.wait_for_disconnect, 0.5)


async def test_a_cancel_scope_that_cancels_again_and_again_still_closes_the_request(
    claude_async: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    claude_double.script([slow()])
    with anyio.CancelScope() as scope:
        async with aclosing(claude_async.stream_async(request("x"))) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, TextDelta):
                    scope.cancel()
                    await anyio.sleep(1)
    assert await asyncio.to_thread(claude_double.wait_for_disconnect, 0.5)


# -- loops and threads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["sdk", "sdk-aiohttp", "http"])
def test_two_event_loops_one_after_the_other_leave_nothing_open(
    claude_double: ClaudeDouble,
    transport: Transport,
    recwarn: pytest.WarningsRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider = ClaudeProvider(api_key=claude_double.key, base_url=claude_double.url, transport=transport)

    async def talk() -> tuple[str, str]:
        whole = await provider.chat_async(request("Hi"))
        events = [e async for e in provider.stream_async(request("Hi"))]
        return str(whole), text_of(events)

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(talk()) == asyncio.run(talk()) == ("You said: Hi", "You said: Hi")
        provider.close()
        gc.collect()
    assert caplog.records == []
    assert [w for w in recwarn if issubclass(w.category, ResourceWarning)] == []


async def test_many_tasks_of_one_loop_share_a_client(claude_async: ClaudeProvider) -> None:
    answers = await asyncio.gather(*(claude_async.chat_async(request(f"n{i}")) for i in range(20)))
    assert [str(a) for a in answers] == [f"You said: n{i}" for i in range(20)]


def test_many_threads_share_a_client(claude: ClaudeProvider) -> None:
    answers: dict[int, str] = {}

    def ask(n: int) -> None:
        answers[n] = str(claude.chat(request(f"n{n}")))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == {n: f"You said: n{n}" for n in range(8)}


def test_a_closed_provider_opens_again(claude: ClaudeProvider) -> None:
    assert claude.chat(request("a"))
    claude.close()
    assert claude.chat(request("b")) == "You said: b"


async def test_a_closed_async_provider_opens_again(claude_async: ClaudeProvider) -> None:
    await claude_async.chat_async(request("a"))
    await claude_async.aclose()
    assert await claude_async.chat_async(request("b")) == "You said: b"


def test_the_sdk_is_imported_at_the_first_call_and_not_before(claude_double: ClaudeDouble) -> None:
    script = (
        "import sys; from unified_llm.providers.claude import ClaudeProvider as C; "
        f"p = C(api_key={claude_double.key!r}, base_url={claude_double.url!r}); "
        "assert not {'anthropic', 'httpx2'} & sys.modules.keys(); "
        "p.list_models(); assert 'anthropic' in sys.modules; p.close()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr


def test_a_text_part_is_a_text_part(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([answer("a", "b")])
    parts = claude.chat(request("x")).message.parts
    assert parts == (Text("a"), Text("b"))
