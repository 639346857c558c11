"""The HTTP driver and time: abandoned calls, cancelled tasks, Ctrl-C, full pools, many callers, loops, forks."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from testkit.http_caller import CALL, STREAM, WAYS, Caller
from testkit.wire_server import HANG, Request, Step, Wait, WireServer, json_reply, sse
from unified_llm.drivers.http import HTTPDriver
from unified_llm.errors import APITimeoutError, StreamInterruptedError
from unified_llm.wire import WireCall

ASYNC_WAYS = WAYS[1:]


@pytest.fixture(params=WAYS)
async def caller(request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    caller = Caller(request.param)
    yield caller
    await caller.close()


@pytest.fixture(params=ASYNC_WAYS)
async def async_caller(request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    caller = Caller(request.param)
    yield caller
    await caller.close()


# -- giving up ------------------------------------------------------------------------------------------------------


async def test_leaving_a_stream_early_closes_the_request(caller: Caller) -> None:
    with WireServer(sse(["one", HANG])) as server:
        assert await caller.first_piece(caller.driver(server.url)) == b"data: one\n\n"
        assert await server.requests[0].wait_gone_async(0.5)


@pytest.mark.parametrize("steps", [[HANG], [b"HTTP/1.1 200 OK\r\n", HANG], sse(["one", HANG])], ids=str)
async def test_cancelling_a_task_closes_its_request(async_caller: Caller, steps: list[Step]) -> None:
    with WireServer(steps) as server:
        driver = async_caller.driver(server.url)
        for attempt in (async_caller.send, async_caller.pieces):
            task = asyncio.create_task(attempt(driver))
            await server.wait_requests_async(len(server.requests) + 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await server.requests[-1].wait_gone_async(0.5)


async def test_a_deadline_around_a_call_closes_its_request(async_caller: Caller) -> None:
    with WireServer([HANG]) as server:
        driver = async_caller.driver(server.url)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await async_caller.send(driver)
        assert await server.requests[0].wait_gone_async(0.5)


async def test_a_stream_dropped_without_a_word_closes_its_request(async_caller: Caller) -> None:
    async def events(driver: HTTPDriver) -> AsyncIterator[bytes]:
        async with driver.open_async(STREAM) as reply:
            async for piece in reply:
                yield piece

    with WireServer(sse(["one", HANG])) as server:
        iterator = events(async_caller.driver(server.url))
        assert await anext(iterator) == b"data: one\n\n"
        del iterator
        gc.collect()
        assert await server.requests[0].wait_gone_async(0.5)


def test_another_thread_can_close_a_sync_stream_that_waits() -> None:
    with WireServer(sse(["one", HANG])) as server:
        driver = HTTPDriver(server.url)
        with driver.open(STREAM) as reply:
            pieces = iter(reply)
            assert next(pieces) == b"data: one\n\n"
            threading.Timer(0.1, reply.close).start()  # type: ignore[attr-defined]  # more than the protocol asks
            with pytest.raises(StreamInterruptedError):
                next(pieces)
        assert server.requests[0].wait_gone()
        driver.close()


@pytest.mark.skipif(sys.platform == "win32", reason="signals wake no system call there")
@pytest.mark.parametrize("steps", [[HANG], sse(["one", HANG])], ids=["before-the-head", "inside-the-body"])
def test_ctrl_c_closes_the_request_of_a_sync_call(steps: list[Step]) -> None:
    main = threading.get_ident()

    def interrupt(server: WireServer) -> None:
        server.wait_requests(1)
        signal.pthread_kill(main, signal.SIGINT)

    with WireServer(steps) as server:
        driver = HTTPDriver(server.url)
        thread = threading.Thread(target=interrupt, args=(server,))
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            driver.send(CALL)
        thread.join()
        assert server.requests[0].wait_gone()
        driver.close()


@pytest.mark.skipif(sys.platform == "win32", reason="signals wake no system call there")
@pytest.mark.parametrize("transport", ASYNC_WAYS)
def test_ctrl_c_closes_the_request_of_an_async_call(transport: Any) -> None:
    main = threading.get_ident()

    def interrupt(server: WireServer) -> None:
        server.wait_requests(1)
        signal.pthread_kill(main, signal.SIGINT)

    with WireServer([HANG]) as server:
        driver = HTTPDriver(server.url, transport=transport)
        thread = threading.Thread(target=interrupt, args=(server,))
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(driver.send_async(CALL))
        thread.join()
        assert server.requests[0].wait_gone()


# -- the line for a connection --------------------------------------------------------------------------------------


async def test_calls_beyond_the_limit_wait_and_are_all_answered(caller: Caller) -> None:
    most = 0

    def answer(request: Request) -> list[Step]:
        nonlocal most
        most = max(most, server.open_connections)
        return json_reply(1)

    with WireServer(answer) as server:
        driver = caller.driver(server.url, max_connections=3)
        replies = await asyncio.gather(*(caller.send(driver) for _ in range(30)))
    assert [r.body for r in replies] == [b"1"] * 30
    assert most == 3


async def test_waiting_too_long_in_line_is_a_timeout_that_names_the_pool(caller: Caller) -> None:
    free = threading.Event()
    with WireServer([Wait(free), *json_reply(1)]) as server:
        driver = caller.driver(server.url, max_connections=1)
        first = asyncio.create_task(caller.send(driver))
        await server.wait_requests_async(1)
        with pytest.raises(APITimeoutError, match=r"within 0.1 s \(pool timeout\)") as caught:
            await caller.send(driver, WireCall("x", b"{}", timeout=0.1))
        assert "max_connections" in str(caught.value)
        free.set()
        assert (await first).body == b"1"
        assert (await caller.send(driver)).body == b"1"
        assert len(server.requests) == 2


async def test_a_call_cancelled_in_line_takes_no_place_with_it(async_caller: Caller) -> None:
    free = threading.Event()
    with WireServer([Wait(free), *json_reply(1)]) as server:
        driver = async_caller.driver(server.url, max_connections=1)
        first = asyncio.create_task(async_caller.send(driver))
        await server.wait_requests_async(1)
        waiting = [asyncio.create_task(async_caller.send(driver)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        free.set()
        results = await asyncio.gather(first, *waiting, return_exceptions=True)
        assert isinstance(results[1], asyncio.CancelledError)
        assert [r.body for i, r in enumerate(results) if i != 1] == [b"1"] * 3  # type: ignore[union-attr]
        assert (await async_caller.send(driver)).body == b"1"


async def test_a_place_granted_to_a_call_that_is_being_cancelled_goes_to_the_next(async_caller: Caller) -> None:
    with WireServer(json_reply(1)) as server:
        driver = async_caller.driver(server.url, max_connections=1)
        for _ in range(20):
            tasks = [asyncio.create_task(async_caller.send(driver)) for _ in range(4)]
            await tasks[0]
            tasks[1].cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(not isinstance(r, BaseException) for r in done) >= 3


async def test_failed_calls_give_their_places_back(caller: Caller) -> None:
    with WireServer(lambda request: json_reply(1) if len(server.requests) > 6 else [HANG]) as server:
        driver = caller.driver(server.url, max_connections=2)
        for _ in range(6):
            with pytest.raises(APITimeoutError, match="first byte"):
                await caller.send(driver, WireCall("x", b"{}", timeout=0.05))
        assert (await caller.send(driver)).body == b"1"


# -- many callers ---------------------------------------------------------------------------------------------------


def _echo(request: Request) -> list[Step]:
    return json_reply(request.json())


async def test_two_hundred_calls_at_once_each_get_their_own_answer(async_caller: Caller) -> None:
    with WireServer(_echo) as server:
        driver = async_caller.driver(server.url)
        calls = [WireCall("x", json.dumps({"n": n}).encode()) for n in range(200)]
        replies = await asyncio.gather(*(driver.send_async(call) for call in calls))
        assert [json.loads(r.body)["n"] for r in replies] == list(range(200))
        assert server.connections <= 200


def test_thirty_threads_share_one_driver() -> None:
    with WireServer(_echo) as server, ThreadPoolExecutor(30) as threads:
        driver = HTTPDriver(server.url)
        calls = [WireCall("x", json.dumps({"n": n}).encode()) for n in range(300)]
        replies = list(threads.map(driver.send, calls))
        assert [json.loads(r.body)["n"] for r in replies] == list(range(300))
        assert server.connections <= 30
        driver.close()


async def test_streams_and_calls_of_one_driver_do_not_mix(async_caller: Caller) -> None:
    def answer(request: Request) -> list[Step]:
        n = request.json()["n"]
        return sse([{"n": n}] * 20) if n % 2 else json_reply({"n": n})

    async def one(driver: HTTPDriver, n: int) -> set[int]:
        call = WireCall("x", json.dumps({"n": n}).encode(), stream=bool(n % 2))
        if n % 2 == 0:
            return {json.loads((await driver.send_async(call)).body)["n"]}
        body = b"".join(await async_caller.pieces(driver, call))
        events = [json.loads(e.removeprefix(b"data: ")) for e in body.split(b"\n\n") if e]
        assert len(events) == 20
        return {e["n"] for e in events}

    with WireServer(answer) as server:
        driver = async_caller.driver(server.url)
        assert await asyncio.gather(*(one(driver, n) for n in range(60))) == [{n} for n in range(60)]


# -- loops, threads, processes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ASYNC_WAYS)
def test_one_driver_serves_one_loop_after_the_other_and_leaves_nothing_open(transport: Any) -> None:
    with WireServer(json_reply(1)) as server:
        driver = HTTPDriver(server.url, transport=transport)
        for expected in range(1, 4):
            assert asyncio.run(_twice(driver)) == [b"1", b"1"]
            assert server.connections == expected
            assert server.wait_open_connections(0)
        del driver
        gc.collect()


async def _twice(driver: HTTPDriver) -> list[bytes]:
    return [(await driver.send_async(CALL)).body, (await driver.send_async(CALL)).body]


@pytest.mark.parametrize("transport", ASYNC_WAYS)
def test_loops_in_several_threads_share_one_driver(transport: Any) -> None:
    with WireServer(json_reply(1)) as server, ThreadPoolExecutor(4) as threads:
        driver = HTTPDriver(server.url, transport=transport)
        results = list(threads.map(lambda _: asyncio.run(_twice(driver)), range(12)))
        assert results == [[b"1", b"1"]] * 12
        assert server.wait_open_connections(0)


_FORKING = """
import os, sys
from unified_llm.drivers.http import HTTPDriver
from unified_llm.wire import WireCall

driver = HTTPDriver(sys.argv[1])
call = WireCall("x", b"{}")
driver.send(call)
child = os.fork()
if child == 0:
    ok = driver.send(call).body == b"1"
    driver.close()
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
assert driver.send(call).body == b"1"
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
async def test_a_forked_child_uses_connections_of_its_own_and_leaves_the_parents_alone() -> None:
    with WireServer(json_reply(1)) as server:
        arguments = [sys.executable, "-c", _FORKING, server.url]
        done = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        assert [r.connection for r in server.requests] == [0, 1, 0]
