"""The HTTP driver over real sockets: what is sent, what comes back, and how each failure is told."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import zlib
from collections.abc import AsyncIterator, Iterator

import pytest

from testkit.http_caller import CALL, STREAM, WAYS, Caller
from testkit.wire_server import (
    CLOSE,
    HANG,
    RESET,
    Answer,
    Pause,
    Step,
    Wait,
    WireServer,
    chunked,
    free_port,
    head,
    json_reply,
    reply,
    sse,
    until_close,
)
from unified_llm.drivers import http_async, http_sync
from unified_llm.drivers.base import Driver
from unified_llm.drivers.http import HTTPDriver
from unified_llm.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    InvalidRequestError,
    ResponseError,
    StreamInterruptedError,
)
from unified_llm.wire import WireCall


@pytest.fixture(params=WAYS)
async def caller(request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    caller = Caller(request.param)
    yield caller
    await caller.close()


# -- what is sent ---------------------------------------------------------------------------------------------------


async def test_a_call_carries_its_path_body_and_headers(caller: Caller) -> None:
    call = WireCall("chat/completions", b'{"a":1}', headers=(("x-extra", "1"), ("User-Agent", "app")))
    with WireServer(json_reply({"ok": True})) as server:
        driver = caller.driver(f"{server.url}/v1/", headers={"Authorization": "Bearer key"})
        answer = await caller.send(driver, call)
    assert (answer.status, answer.body) == (200, b'{"ok": true}')
    assert answer.headers["content-type"] == "application/json"
    sent = server.requests[0]
    assert (sent.method, sent.target, sent.body) == ("POST", "/v1/chat/completions", b'{"a":1}')
    assert sent.headers["authorization"] == "Bearer key"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["host"] == f"127.0.0.1:{server.port}"
    assert (sent.headers["x-extra"], sent.headers["user-agent"]) == ("1", "app")


async def test_a_call_without_body_is_a_plain_get(caller: Caller) -> None:
    with WireServer(json_reply([])) as server:
        await caller.send(caller.driver(server.url), WireCall("models?after_id=a b", None, method="GET"))
    sent = server.requests[0]
    assert (sent.method, sent.target, sent.body) == ("GET", "/models?after_id=a%20b", b"")
    assert "content-type" not in sent.headers


async def test_streams_ask_for_plain_bytes_and_complete_answers_for_compressed_ones(caller: Caller) -> None:
    with WireServer(json_reply(1)) as server:
        driver = caller.driver(server.url)
        await caller.send(driver)
        await caller.pieces(driver)
    assert [r.headers["accept-encoding"] for r in server.requests] == ["gzip, deflate", "identity"]


async def test_a_body_of_several_megabytes_arrives_whole(caller: Caller) -> None:
    body = bytes(range(256)) * 32 * 1024
    with WireServer(lambda request: reply(200, str(len(request.body)).encode())) as server:
        answer = await caller.send(caller.driver(server.url), WireCall("x", body))
    assert int(answer.body) == len(body)
    assert server.requests[0].body == body


@pytest.mark.parametrize("value", ["key\nx-admin: 1", "clé ☃", "a\0b"])
def test_a_default_header_that_cannot_be_sent_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HTTPDriver("http://127.0.0.1:1", headers={"authorization": value})
    assert "authorization" in str(caught.value)
    assert value not in str(caught.value)


@pytest.mark.parametrize("header", [("a b", "1"), ("x", "1\r\ny: 2"), ("content-length", "3"), ("Host", "evil")])
async def test_a_header_of_one_call_that_cannot_be_sent_is_refused(caller: Caller, header: tuple[str, str]) -> None:
    with WireServer(json_reply(1)) as server:
        with pytest.raises(InvalidRequestError):
            await caller.send(caller.driver(server.url), WireCall("x", b"{}", headers=(header,)))
        assert server.requests == []


def test_no_credential_shows_in_the_repr() -> None:
    driver = HTTPDriver("http://127.0.0.1:1/v1", headers={"authorization": "Bearer planted-key"})
    assert repr(driver) == "HTTPDriver('http://127.0.0.1:1/v1', transport='httpx')"
    assert isinstance(driver, Driver)


@pytest.mark.parametrize("timeout", [0, -1, True, "5"])
def test_a_timeout_that_is_no_duration_is_refused(timeout: float) -> None:
    with pytest.raises(ConfigurationError, match="positive number of seconds"):
        HTTPDriver("http://127.0.0.1:1", timeout=timeout)


def test_unknown_transports_and_empty_pools_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown transport"):
        HTTPDriver("http://127.0.0.1:1", transport="requests")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="max_connections"):
        HTTPDriver("http://127.0.0.1:1", max_connections=0)


# -- what comes back ------------------------------------------------------------------------------------------------

BODY = b"one two three"


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, BODY),
        chunked([b"one ", b"two ", b"three"]),
        until_close([b"one ", b"two three"]),
        [b"HTTP/1.1 100 Continue\r\n\r\n", *reply(200, BODY)],
        [b"HTTP/1.0 200 OK\r\n\r\n", BODY, CLOSE],
    ],
    ids=["length", "chunked", "until-close", "after-100-continue", "http-1.0"],
)
async def test_every_framing_gives_the_same_body(caller: Caller, answer: Answer) -> None:
    with WireServer(answer) as server:
        driver = caller.driver(server.url)
        assert (await caller.send(driver)).body == BODY
        assert b"".join(await caller.pieces(driver)) == BODY


@pytest.mark.parametrize("status", [301, 307, 401, 404, 429, 500, 529])
async def test_statuses_other_than_success_come_back_as_replies(caller: Caller, status: int) -> None:
    elsewhere = {"location": "http://127.0.0.1:1/", "retry-after": "7"}
    with WireServer(json_reply({"error": "x"}, status, elsewhere)) as server:
        answer = await caller.send(caller.driver(server.url))
    assert (answer.status, answer.body) == (status, b'{"error": "x"}')
    assert answer.headers["retry-after"] == "7"
    assert len(server.requests) == 1


async def test_repeated_headers_are_joined(caller: Caller) -> None:
    with WireServer([b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n"]) as server:
        assert (await caller.send(caller.driver(server.url))).headers["x-a"] == "1, 2"


def _raw_deflate(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", gzip.compress(BODY)), ("deflate", zlib.compress(BODY)), ("deflate", _raw_deflate(BODY))],
    ids=["gzip", "zlib", "raw-deflate"],
)
async def test_compressed_answers_are_decoded_wherever_the_network_cuts_them(
    caller: Caller, encoding: str, body: bytes
) -> None:
    pieces = [body[i : i + 1] for i in range(len(body))]
    with WireServer(chunked(pieces, headers={"content-encoding": encoding})) as server:
        driver = caller.driver(server.url)
        assert (await caller.send(driver)).body == BODY
        assert b"".join(await caller.pieces(driver)) == BODY


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"not gzip", {"content-encoding": "gzip"}),
        reply(200, gzip.compress(BODY)[:-9], {"content-encoding": "gzip"}),
    ],
)
async def test_a_damaged_compressed_answer_is_an_error(caller: Caller, answer: Answer) -> None:
    with WireServer(answer) as server, pytest.raises(ResponseError):
        await caller.send(caller.driver(server.url))


async def test_an_endless_error_body_is_read_only_in_part(caller: Caller) -> None:
    pieces = [b"x" * 65536] * 64
    with WireServer(chunked([*pieces, HANG], status=500)) as server:
        answer = await caller.send(caller.driver(server.url))
        assert answer.status == 500
        assert http_sync.MAX_ERROR_BODY <= len(answer.body) < 2 * http_sync.MAX_ERROR_BODY
        assert await server.requests[0].wait_gone_async()


async def test_pieces_arrive_before_the_answer_is_complete(caller: Caller) -> None:
    more = threading.Event()
    with WireServer(sse(["one", Wait(more), "two"])) as server:
        driver = caller.driver(server.url)
        if caller.way == "sync":
            with driver.open(STREAM) as reply:
                pieces = iter(reply)
                assert next(pieces) == b"data: one\n\n"
                more.set()
                assert b"".join(pieces) == b"data: two\n\n"
        else:
            async with driver.open_async(STREAM) as reply_async:
                assert await anext(aiter(reply_async)) == b"data: one\n\n"
                more.set()
                assert b"".join([p async for p in reply_async]) == b"data: two\n\n"


async def test_a_slow_answer_is_no_timeout_as_long_as_it_moves(caller: Caller) -> None:
    drops = [step for _ in range(6) for step in (b"x", Pause(0.15))]
    with WireServer(chunked(drops)) as server:
        assert (await caller.send(caller.driver(server.url, timeout=0.5))).body == b"x" * 6


# -- how failures are told ------------------------------------------------------------------------------------------


async def test_a_port_where_nothing_listens_is_a_connection_error_that_names_it(caller: Caller) -> None:
    port = free_port()
    with pytest.raises(APIConnectionError, match=f"127.0.0.1:{port}: connection refused") as caught:
        await caller.send(caller.driver(f"http://127.0.0.1:{port}/v1"))
    assert "is the server running" in str(caught.value)
    assert caught.value.retryable
    assert isinstance(caught.value, ConnectionError)


async def test_an_unknown_host_is_a_connection_error(caller: Caller) -> None:
    with pytest.raises(APIConnectionError, match=r"nowhere\.invalid:80"):
        await caller.send(caller.driver("http://nowhere.invalid/v1"))


@pytest.mark.parametrize(
    ("answer", "phase"),
    [
        ([HANG], "first byte"),
        ([b"HTTP/1.1 200 OK\r\n", HANG], "first byte"),
        ([head(200, {"content-length": "10"}), b"half", HANG], "next byte"),
        ([*chunked([b"half"], end=False), HANG], "next byte"),
    ],
    ids=["silent", "half-head", "half-body", "half-chunks"],
)
async def test_silence_is_a_timeout_that_names_phase_and_seconds(caller: Caller, answer: Answer, phase: str) -> None:
    with WireServer(answer) as server:
        driver = caller.driver(server.url, timeout=30)
        with pytest.raises(APITimeoutError, match=rf"within 0.2 s \({phase} timeout\)") as caught:
            await caller.send(driver, WireCall("x", b"{}", timeout=0.2))
        assert isinstance(caught.value, TimeoutError)
        assert await server.requests[0].wait_gone_async()


@pytest.mark.parametrize(
    "answer",
    [
        [head(200, {"content-length": "10"}), b"half", CLOSE],
        [*chunked([b"half"], end=False), CLOSE],
        [*chunked([b"half"], end=False), b"ff\r\nhalf a chunk", CLOSE],
        [*chunked([b"half"], end=False), RESET],
    ],
    ids=["length", "between-chunks", "inside-a-chunk", "reset"],
)
async def test_a_body_that_breaks_off_is_a_stream_interruption(caller: Caller, answer: Answer) -> None:
    with WireServer(answer) as server:
        driver = caller.driver(server.url)
        for attempt in (caller.send, caller.pieces):
            with pytest.raises(StreamInterruptedError, match="broke off its answer") as caught:
                await attempt(driver)
            assert caught.value.status == 200
            assert caught.value.retryable


async def test_what_arrived_before_the_cut_is_delivered_first(caller: Caller) -> None:
    arrived: list[bytes] = []
    with WireServer([*sse(["one"], end=False), Pause(0.1), CLOSE]) as server, pytest.raises(StreamInterruptedError):
        await caller.collect(caller.driver(server.url), arrived)
    assert b"".join(arrived) == b"data: one\n\n"


@pytest.mark.parametrize(
    "answer", [[CLOSE], [RESET], [b"HTTP/1.1 200 OK\r\nconte", CLOSE]], ids=["closed", "reset", "half-head"]
)
async def test_a_connection_closed_without_an_answer_is_a_connection_error(caller: Caller, answer: Answer) -> None:
    with WireServer(answer) as server:
        with pytest.raises(APIConnectionError, match="closed the connection without an answer") as caught:
            await caller.send(caller.driver(server.url))
        assert caught.value.retryable
        assert len(server.requests) == 1


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.9\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"hello\r\n\r\n"])
async def test_another_protocol_is_told_at_once(caller: Caller, banner: bytes) -> None:
    with WireServer([banner, HANG]) as server:
        with pytest.raises(APIConnectionError, match=r"does not speak HTTP/1\.1") as caught:
            await caller.send(caller.driver(server.url, timeout=20))
        assert not caught.value.retryable


async def test_https_to_a_plain_server_says_so(caller: Caller) -> None:
    with WireServer(json_reply(1)) as server, pytest.raises(APIConnectionError, match="TLS failed") as caught:
        await caller.send(caller.driver(f"https://127.0.0.1:{server.port}/v1"))
    assert "http://127.0.0.1" in str(caught.value)


# -- connections ----------------------------------------------------------------------------------------------------


async def test_a_connection_is_used_again_after_a_complete_answer(caller: Caller) -> None:
    with WireServer(json_reply(1), sse([1, 2]), json_reply({"error": 1}, 500), json_reply(1)) as server:
        driver = caller.driver(server.url)
        for attempt in (caller.send, caller.pieces, caller.send, caller.pieces, caller.send):
            await attempt(driver)
        assert server.connections == 1


async def test_a_connection_that_was_abandoned_is_not_used_again(caller: Caller) -> None:
    with WireServer(sse(["one", HANG]), json_reply(1)) as server:
        driver = caller.driver(server.url)
        await caller.first_piece(driver)
        assert (await caller.send(driver)).body == b"1"
        assert server.connections == 2


async def test_surplus_bytes_are_never_read_as_the_next_answer(caller: Caller) -> None:
    with WireServer([*reply(200, b"one"), *reply(200, b"planted")], reply(200, b"two")) as server:
        driver = caller.driver(server.url)
        assert (await caller.send(driver)).body == b"one"
        assert await asyncio.to_thread(server.requests[0].answered.wait, 5)  # the surplus is there
        assert (await caller.send(driver)).body == b"two"
        assert server.connections == 2


async def test_a_connection_the_server_closed_while_idle_is_replaced_unnoticed(caller: Caller) -> None:
    with WireServer(json_reply(1)) as server:
        driver = caller.driver(server.url)
        await caller.send(driver)
        server.close_connections()
        await caller.send(driver)
        assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("step", [CLOSE, RESET], ids=["closed", "reset"])
async def test_a_connection_closed_at_the_moment_of_reuse_is_replaced_once(caller: Caller, step: Step) -> None:
    with WireServer(json_reply(1), [step], json_reply(2), [step], [step]) as server:
        driver = caller.driver(server.url)
        await caller.send(driver)
        assert (await caller.send(driver)).body == b"2"
        assert [r.connection for r in server.requests] == [0, 0, 1]
        with pytest.raises(APIConnectionError):
            await caller.send(driver)
        assert [r.connection for r in server.requests] == [0, 0, 1, 1, 2]


async def test_a_call_that_failed_after_a_byte_of_its_answer_is_not_sent_again(caller: Caller) -> None:
    with WireServer(json_reply(1), [b"HTTP/1.1 2", CLOSE], json_reply(2)) as server:
        driver = caller.driver(server.url)
        await caller.send(driver)
        with pytest.raises(APIConnectionError):
            await caller.send(driver)
        assert len(server.requests) == 2


async def test_a_call_whose_connection_ends_late_is_not_sent_again(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (http_sync, http_async):
        monkeypatch.setattr(module, "STALE_SECONDS", 0.05)
    with WireServer(json_reply(1), [Pause(0.2), CLOSE], json_reply(2)) as server:
        driver = caller.driver(server.url)
        await caller.send(driver)
        with pytest.raises(APIConnectionError, match="without an answer"):
            await caller.send(driver)
        assert len(server.requests) == 2


async def test_closing_the_driver_closes_its_idle_connections_and_it_stays_usable(caller: Caller) -> None:
    with WireServer(json_reply(1)) as server:
        driver = caller.driver(server.url)
        await caller.send(driver)
        await driver.aclose()
        assert await asyncio.to_thread(server.wait_open_connections, 0)
        assert (await caller.send(driver)).body == b"1"
        assert server.connections == 2


@pytest.fixture
def banner_server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_an_early_refusal_of_a_large_upload_is_read(banner_server: socket.socket) -> None:
    """The server answers 413 after the head and closes; the rest of the upload runs into a closed socket."""

    def refuse() -> None:
        connection, _ = banner_server.accept()
        with connection:
            while b"\r\n\r\n" not in connection.recv(65536, socket.MSG_PEEK):
                pass
            connection.recv(4096)
            connection.sendall(head(413, {"content-length": "0", "connection": "close"}))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    thread = threading.Thread(target=refuse)
    thread.start()
    driver = HTTPDriver(f"http://127.0.0.1:{banner_server.getsockname()[1]}")
    assert driver.send(WireCall("x", b"y" * 4_000_000)).status == 413
    thread.join(10)
    driver.close()


def test_a_sync_call_works_inside_a_running_event_loop_as_any_blocking_call_does() -> None:
    async def main(driver: HTTPDriver) -> bytes:
        return driver.send(CALL).body

    with WireServer(json_reply(1)) as server:
        driver = HTTPDriver(server.url)
        assert asyncio.run(main(driver)) == b"1"
        driver.close()
