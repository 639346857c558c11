"""The four limits of time: to connect, to the first token, between tokens, and in total."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from testkit.wire_server import HANG, Pause, Request, Step, WireServer, json_reply, sse
from unified_llm import APITimeoutError, InvalidRequestError, Limits, RetryPolicy, UnifiedLLM

ONCE = RetryPolicy(max_retries=0)
SOON = 0.2


def delta(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"id": "c1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


ROLE = {"id": "c1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
SILENT: dict[str, list[Step]] = {
    "not even a head": [HANG],
    "a head": [*sse([], end=False), HANG],
    "a chunk without text": [*sse([ROLE], end=False), HANG],
    "comments": [*sse([b": wait\n\n", Pause(0.05)] * 40, end=False), HANG],
}
GOOD = sse([delta("It rains."), delta("", "stop")])


def client(server: WireServer, **options: Any) -> UnifiedLLM:
    return UnifiedLLM(base_url=server.url + "/v1", model="m", **{"retry": ONCE, "timeout": 1, **options})


@pytest.mark.parametrize("says", SILENT)
async def test_a_stream_that_says_nothing_is_given_up(says: str) -> None:
    with WireServer(lambda _: SILENT[says]) as server, client(server, first_token_timeout=SOON) as llm:
        started = time.monotonic()
        with pytest.raises(APITimeoutError, match="first token") as failure:
            list(llm.stream("Hi"))
        with pytest.raises(APITimeoutError, match="first token"):
            async for _ in llm.stream_async("Hi"):
                pass
        assert time.monotonic() - started < 4
        assert (failure.value.provider, failure.value.model) == ("openai-compatible", "m")
        assert failure.value.hint
        assert all([await request.wait_gone_async(1.0) for request in server.requests])


CLAUDE_OPENS = b'event: message_start\ndata: {"type": "message_start", "message": {"id": "m", "role": "assistant", '
CLAUDE_OPENS += b'"model": "m", "content": [], "usage": {"input_tokens": 3}}}\n\n'


@pytest.mark.parametrize("transport", ["openai", "claude, SDK", "claude, http"])
async def test_a_blocking_stream_that_opened_without_a_token_is_not_waited_for_longer(transport: str) -> None:
    """The driver has seen a beginning, and would wait for `timeout`, ten minutes."""
    opening: Any = ROLE if transport == "openai" else CLAUDE_OPENS
    with WireServer(lambda _: [*sse([opening], end=False), HANG]) as server:
        claude = {"provider": "claude", "api_key": "sk-x", "model": "claude-haiku-5-5", "base_url": server.url}
        options: dict[str, Any] = {
            "openai": {"base_url": server.url + "/v1", "model": "m"},
            "claude, SDK": claude,
            "claude, http": {**claude, "transport": "http"},
        }[transport]
        with UnifiedLLM(retry=ONCE, timeout=600, **options) as llm:
            with contextlib.suppress(APITimeoutError):
                list(llm.stream("Hi", first_token_timeout=SOON))  # the first call of all imports the SDK, which counts
            started = time.monotonic()
            with pytest.raises(APITimeoutError, match="first token"):
                list(llm.stream("Hi", first_token_timeout=SOON))
            assert time.monotonic() - started < 5
        assert all([await request.wait_gone_async(1.0) for request in server.requests])


@pytest.mark.parametrize("says", SILENT)
async def test_the_next_target_is_asked_when_the_first_says_nothing(says: str) -> None:
    def answer(request: Any) -> Any:
        return GOOD if request.json()["model"] == "other" else SILENT[says]

    with WireServer(answer) as server, client(server, fallbacks=["openai-compatible:other"]) as llm:
        assert llm.stream("Hi", first_token_timeout=SOON).get_response() == "It rains."
        response = await llm.stream_async("Hi", first_token_timeout=SOON).get_response()
        assert response == "It rains."
        assert [attempt.error for attempt in response.attempts] == ["APITimeoutError"]


async def test_after_the_first_token_the_other_limit_holds() -> None:
    slowly = sse([delta("It "), Pause(2 * SOON), delta("rains."), delta("", "stop")])
    with WireServer(lambda _: slowly) as server, client(server, first_token_timeout=SOON) as llm:
        assert llm.stream("Hi").get_response() == "It rains."
        assert await llm.stream_async("Hi").get_response() == "It rains."
        with pytest.raises(APITimeoutError, match="next byte") as failure:
            llm.stream("Hi", timeout=SOON).get_response()
        assert failure.value.partial == "It "


async def test_a_whole_answer_has_no_first_token() -> None:
    with (
        WireServer(lambda _: [Pause(2 * SOON), *_whole()]) as server,
        client(server, first_token_timeout=SOON) as llm,
    ):
        assert llm.chat("Hi") == "It rains."
        assert await llm.chat_async("Hi") == "It rains."


DRIBBLE: list[Step] = [b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n"]
DRIBBLE += [step for _ in range(60) for step in (Pause(0.05), b" ")]
PINGS = sse([delta("It "), *[step for _ in range(60) for step in (Pause(0.05), b": ping\n\n")]], end=False)


DRIBBLES = {
    "an answer": [*DRIBBLE, HANG],
    "a stream": [*PINGS, HANG],
    "an answer that goes silent": [*DRIBBLE[:9], HANG],
    "a stream that goes silent": [*PINGS[:9], HANG],
}


@pytest.mark.parametrize("transport", ["openai", "claude, SDK", "claude, http"])
async def test_the_deadline_holds_for_answers_that_dribble(transport: str) -> None:
    """A blocking call is never silent here, and ends all the same; so does one that goes silent near its end."""

    def late(url: str) -> list[tuple[float, APITimeoutError]]:
        claude = {"provider": "claude", "api_key": "sk-x", "model": "claude-haiku-5-5", "base_url": url}
        options: dict[str, Any] = {
            "openai": {"base_url": url + "/v1", "model": "m"},
            "claude, SDK": claude,
            "claude, http": {**claude, "transport": "http"},
        }[transport]
        failures = []
        with UnifiedLLM(retry=ONCE, **options) as llm:
            for call in (lambda: llm.chat("Hi", deadline=0.6), lambda: list(llm.stream("Hi", deadline=0.6))):
                with contextlib.suppress(APITimeoutError):
                    call()  # the first call of all imports the SDK, which counts
                started = time.monotonic()
                with pytest.raises(APITimeoutError) as failure:
                    call()
                failures.append((time.monotonic() - started, failure.value))
        return failures

    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(WireServer(partial(_always, slowly))) for slowly in DRIBBLES.values()]
        # All at the same time: they wait, each in a thread of its own.
        for failures in await asyncio.gather(*(asyncio.to_thread(late, server.url) for server in servers)):
            assert len(failures) == 2
            for seconds, failure in failures:
                assert seconds < 2
                assert "within" in failure.message or "deadline" in failure.message
        for server in servers:
            assert len(server.requests) == 4
            assert all([await request.wait_gone_async(1.0) for request in server.requests])


async def test_waiting_for_a_turn_takes_from_the_deadline() -> None:
    """A pause of half the deadline leaves half of it for the request."""
    limits = {"openai-compatible": Limits(requests_per_minute=60)}  # a burst of ten
    with (
        WireServer(lambda _: [HANG] if len(server.requests) > 10 else _whole()) as server,
        client(server, limits=limits, timeout=30) as llm,
    ):
        for _ in range(10):
            llm.chat("Hi")
        started = time.monotonic()
        with pytest.raises(APITimeoutError):
            llm.chat("Hi", deadline=2)
        assert time.monotonic() - started < 3


def test_connecting_has_its_own_limit() -> None:
    """A listener whose queue is full drops further connections on the floor, as a firewall does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            llm = UnifiedLLM(base_url=f"http://127.0.0.1:{port}/v1", model="m", retry=ONCE, connect_timeout=SOON)
            started = time.monotonic()
            with pytest.raises(APITimeoutError, match="connect"):
                llm.chat("Hi")
            assert time.monotonic() - started < 4
        finally:
            for one in waiting:
                one.close()


def _always(steps: Sequence[Step], _: Request) -> Sequence[Step]:
    return steps


def _whole() -> list[Step]:
    message = {"role": "assistant", "content": "It rains."}
    return json_reply(
        {"id": "c1", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    )


@pytest.mark.parametrize("name", ["connect_timeout", "first_token_timeout", "timeout", "deadline"])
@pytest.mark.parametrize("value", [-1, "soon"])
def test_a_limit_is_a_number_that_is_not_negative(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=name):
        UnifiedLLM("offline").chat("Hi", **{name: value})
