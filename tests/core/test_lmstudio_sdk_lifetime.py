"""Websockets that end, hang, come back, and are shared; and callers who leave."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from testkit.lmstudio_ws_double import LMStudioDouble, Say
from unified_llm import APIConnectionError, APITimeoutError, LMStudioProvider, StreamInterruptedError, UnifiedLLM
from unified_llm.cache import MemoryCache
from unified_llm.drivers.lmstudio import LMStudioDriver
from unified_llm.stream import TextDelta

LIMIT = 0.5
LONG = Say("never ending text", then="hang", after=3)


@pytest.fixture
def studio() -> Iterator[LMStudioDouble]:
    with LMStudioDouble() as double:
        yield double


def client(studio: LMStudioDouble, **options: Any) -> UnifiedLLM:
    given: dict[str, Any] = {"timeout": 10, "max_retries": 0, "transport": "sdk"} | options
    return UnifiedLLM(provider="lmstudio", base_url=studio.url, model="tiny", **given)


# -- callers who leave ------------------------------------------------------------------------------------------------


def test_closing_a_stream_stops_the_prediction(studio: LMStudioDouble) -> None:
    studio.script(LONG)
    with client(studio) as llm:
        stream = llm.stream("x")
        assert any(isinstance(event, TextDelta) for event in stream)
        assert not studio.predictions[0].cancelled.is_set()
        stream.close()
        assert studio.predictions[0].cancelled.wait(LIMIT)
        assert llm.chat("still here") == "Echo: still here"
    assert studio.connections == ["llm"]


def test_breaking_out_of_the_loop_stops_the_prediction(studio: LMStudioDouble) -> None:
    studio.script(LONG)
    with client(studio) as llm:
        for event in llm.stream("x"):
            if isinstance(event, TextDelta):
                break
        assert studio.predictions[0].cancelled.wait(LIMIT)


def test_an_error_in_the_loop_stops_the_prediction(studio: LMStudioDouble) -> None:
    studio.script(LONG)

    def consume(llm: UnifiedLLM) -> None:
        with llm.stream("x") as stream:
            for event in stream:
                if isinstance(event, TextDelta):
                    raise KeyError("mine")

    with client(studio) as llm:
        with pytest.raises(KeyError):
            consume(llm)
        assert studio.predictions[0].cancelled.wait(LIMIT)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_stops_the_prediction(studio: LMStudioDouble) -> None:
    code = """
        import sys
        from unified_llm import UnifiedLLM
        llm = UnifiedLLM(provider="lmstudio", base_url=sys.argv[1], model="tiny", max_retries=0)
        try:
            for event in llm.stream("x"):
                print(event.type, flush=True)
        except KeyboardInterrupt:
            print("stopped", flush=True)
            sys.stdin.read()   # stay alive: the prediction must be stopped by us, not by the end of the process
    """
    studio.script(LONG)
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), studio.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        while process.stdout.readline().strip() not in ("text_delta", ""):
            pass
        process.send_signal(signal.SIGINT)
        assert "stopped\n" in iter(process.stdout.readline, "")
        assert studio.predictions[0].cancelled.wait(LIMIT)
    finally:
        process.communicate("", timeout=10)


def test_a_process_that_ends_without_closing_prints_nothing(studio: LMStudioDouble) -> None:
    code = """
        import asyncio, sys
        from unified_llm import UnifiedLLM
        llm = UnifiedLLM(provider="lmstudio", base_url=sys.argv[1], model="tiny")
        print(llm.chat("x"))
        asyncio.run(llm.chat_async("y"))
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), studio.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Echo: x\n", "")


async def test_dropping_an_async_stream_stops_the_prediction(studio: LMStudioDouble) -> None:
    studio.script(LONG)
    llm = client(studio)
    async for event in llm.stream_async("x"):
        if isinstance(event, TextDelta):
            break
    assert await asyncio.to_thread(studio.predictions[0].cancelled.wait, LIMIT)
    assert await llm.chat_async("still here") == "Echo: still here"
    await llm.aclose()


async def test_cancelling_a_task_that_streams_stops_the_prediction(studio: LMStudioDouble) -> None:
    studio.script(LONG)
    llm = client(studio)
    started = asyncio.Event()

    async def read() -> None:
        async for event in llm.stream_async("x"):
            if isinstance(event, TextDelta):
                started.set()

    task = asyncio.create_task(read())
    await asyncio.wait_for(started.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(studio.predictions[0].cancelled.wait, LIMIT)
    await llm.aclose()


async def test_a_timeout_around_a_call_stops_the_prediction(studio: LMStudioDouble) -> None:
    llm = client(studio)
    await llm.chat_async("warm")  # connecting and importing the SDK take their time on a busy machine
    studio.script(LONG)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await llm.chat_async("x")
    assert await asyncio.to_thread(studio.predictions[1].cancelled.wait, LIMIT)
    await llm.aclose()


async def test_cancelling_while_a_model_loads_stops_the_loading(studio: LMStudioDouble) -> None:
    studio.load_hangs = True
    llm = client(studio)
    task = asyncio.create_task(llm.chat_async("x", model="other"))
    assert await asyncio.to_thread(studio.wait_call, "llm/getOrLoad")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(studio.wait_call, "cancelled loading", LIMIT)
    assert not studio.predictions
    await llm.aclose()


# -- silence ----------------------------------------------------------------------------------------------------------


async def test_silence_for_longer_than_the_timeout_is_an_error_and_stops_the_prediction(studio: LMStudioDouble) -> None:
    llm = client(studio)
    llm.chat("warm")
    await llm.chat_async("warm")
    studio.script(LONG, LONG)
    with pytest.raises(APITimeoutError) as caught:
        list(llm.stream("x", timeout=0.4))
    assert caught.value.partial == "never ending"
    assert studio.predictions[2].cancelled.wait(LIMIT)
    with pytest.raises(APITimeoutError, match=r"0\.4 s"):
        await llm.chat_async("x", timeout=0.4)
    assert await asyncio.to_thread(studio.predictions[3].cancelled.wait, LIMIT)
    await llm.aclose()


async def test_silence_before_the_first_token_has_a_limit_of_its_own(studio: LMStudioDouble) -> None:
    llm = client(studio)
    llm.chat("warm")
    await llm.chat_async("warm")
    studio.script(*[Say("slow", then="hang", after=0)] * 2)
    with pytest.raises(APITimeoutError, match="first token"):
        list(llm.stream("x", first_token_timeout=0.2))
    with pytest.raises(APITimeoutError, match="first token"):
        async for _ in llm.stream_async("x", first_token_timeout=0.2):
            pass
    assert all([await asyncio.to_thread(p.cancelled.wait, LIMIT) for p in studio.predictions[2:]])
    assert llm.chat("x") == "Echo: x"
    await llm.aclose()


async def test_connecting_has_a_limit_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes the connection and says nothing
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        llm = UnifiedLLM(provider="lmstudio", base_url=url, model="m", transport="sdk", max_retries=0)
        with pytest.raises(APITimeoutError, match="connect timeout"):
            await asyncio.to_thread(llm.chat, "x", connect_timeout=0.2)
        with pytest.raises(APITimeoutError, match="connect timeout"):
            await llm.chat_async("x", connect_timeout=0.2)
        await llm.aclose()


# -- connections that end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["drop", "close"])
def test_a_stream_that_ends_early_keeps_what_had_come(studio: LMStudioDouble, then: Any) -> None:
    studio.script(Say("never ending text", then=then, after=3))
    with client(studio) as llm:
        with pytest.raises(StreamInterruptedError) as caught:
            list(llm.stream("x"))
        assert caught.value.partial == "never ending"
        assert len(studio.predictions) == 1
        assert llm.chat("again") == "Echo: again"


async def test_an_async_stream_that_ends_early_keeps_what_had_come(studio: LMStudioDouble) -> None:
    studio.script(Say("never ending text", then="drop", after=3))
    llm = client(studio)
    with pytest.raises(StreamInterruptedError) as caught:
        async for _ in llm.stream_async("x"):
            pass
    assert caught.value.partial == "never ending"
    await llm.aclose()


async def test_a_chat_that_began_is_not_asked_twice(studio: LMStudioDouble) -> None:
    studio.script(Say("never ending text", then="drop", after=1), Say("never ending text", then="drop", after=1))
    llm = client(studio)
    with pytest.raises(StreamInterruptedError):
        await asyncio.to_thread(llm.chat, "x")
    with pytest.raises(StreamInterruptedError):
        await llm.chat_async("x")
    assert len(studio.predictions) == 2
    await llm.aclose()


async def test_after_a_restart_of_the_server_everything_works_again() -> None:
    with LMStudioDouble() as first:
        llm = client(first)
        assert await asyncio.to_thread(llm.chat, "one") == "Echo: one"
        assert await llm.chat_async("two") == "Echo: two"
    with pytest.raises(APIConnectionError, match="cannot connect"):
        await asyncio.to_thread(llm.chat, "nobody there")
    with LMStudioDouble(port=first.port, loaded=()) as second:
        assert await asyncio.to_thread(llm.chat, "three") == "Echo: three"
        assert await llm.chat_async("four") == "Echo: four"
        assert second.paths() == ["llm/getOrLoad", "llm/predict"] * 2
        await llm.aclose()


def test_a_kept_connection_that_dies_before_any_answer_is_made_anew_once(studio: LMStudioDouble) -> None:
    with client(studio) as llm:
        llm.chat("one")
        studio.script(Say("lost", then="drop", after=0), Say("found"))
        assert llm.chat("two") == "found"
        studio.script(Say("lost", then="drop", after=0), Say("lost", then="drop", after=0))
        with pytest.raises(StreamInterruptedError):
            llm.chat("three")


# -- sharing ----------------------------------------------------------------------------------------------------------


def test_many_threads_share_one_websocket(studio: LMStudioDouble) -> None:
    with client(studio) as llm, ThreadPoolExecutor(16) as pool:
        llm.chat("warm")
        answers = list(pool.map(lambda i: str(llm.chat(f"text {i}")), range(64)))
    assert answers == [f"Echo: text {i}" for i in range(64)]
    assert studio.connections == ["llm"]


async def test_many_tasks_share_one_websocket(studio: LMStudioDouble) -> None:
    llm = client(studio)
    answers = await asyncio.gather(*(llm.chat_async(f"text {i}") for i in range(64)))
    assert [str(a) for a in answers] == [f"Echo: text {i}" for i in range(64)]
    assert studio.connections == ["llm"]
    await llm.aclose()


def test_one_client_serves_several_event_loops_one_after_the_other(studio: LMStudioDouble) -> None:
    llm = client(studio)

    async def chat(text: str) -> str:
        return str(await llm.chat_async(text))

    assert [asyncio.run(chat(t)) for t in ("a", "b", "c")] == ["Echo: a", "Echo: b", "Echo: c"]
    assert studio.wait_alone()  # each loop takes its websocket with it
    assert llm.chat("d") == "Echo: d"
    assert len(studio.connections) == 4
    llm.close()
    assert studio.wait_alone()


def test_one_client_serves_two_event_loops_at_once(studio: LMStudioDouble) -> None:
    llm = client(studio)
    barrier = threading.Barrier(2, timeout=10)

    async def chat(text: str) -> list[str]:
        barrier.wait()
        return [str(a) for a in await asyncio.gather(*(llm.chat_async(f"{text}{i}") for i in range(8)))]

    with ThreadPoolExecutor(2) as pool:
        a, b = (pool.submit(asyncio.run, chat(text)) for text in "ab")
        assert a.result(20) == [f"Echo: a{i}" for i in range(8)]
        assert b.result(20) == [f"Echo: b{i}" for i in range(8)]
    llm.close()


async def test_sync_calls_inside_a_running_loop_work(studio: LMStudioDouble) -> None:
    with client(studio) as llm:
        assert llm.chat("x") == "Echo: x"


def test_a_closed_client_can_be_used_again(studio: LMStudioDouble) -> None:
    llm = client(studio)
    for text in ("a", "b"):
        assert llm.chat(text) == f"Echo: {text}"
        llm.close()


def test_a_client_that_is_forgotten_leaves_no_thread_behind(studio: LMStudioDouble) -> None:
    provider = LMStudioProvider(base_url=studio.url, transport="sdk")
    assert provider.tokenize("a bc", "tiny") == [1, 2]
    threads = [t for t in threading.enumerate() if t.name == "unified-llm-lmstudio"]
    assert threads
    del provider
    gc.collect()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_in_the_cache_asks_nobody(studio: LMStudioDouble, stream: bool) -> None:
    with client(studio, cache=MemoryCache()) as llm:
        for _ in range(2):
            if stream:
                with llm.stream("x") as answer:
                    response = answer.get_response()
            else:
                response = llm.chat("x")
            assert response == "Echo: x"
        assert response.cached
    assert len(studio.predictions) == 1


def test_a_client_may_be_closed_in_the_thread_of_its_own_connection_as_the_collector_does(
    studio: LMStudioDouble,
) -> None:
    provider = LMStudioProvider(base_url=studio.url, transport="sdk")
    UnifiedLLM(provider, model="tiny").chat("x")
    driver = provider._websockets.driver
    assert isinstance(driver, LMStudioDriver)
    thread = driver._thread
    assert thread is not None
    closed: Future[None] = Future()

    def close() -> None:
        try:
            provider.close()
        except RuntimeError as exc:
            closed.set_exception(exc)
        else:
            closed.set_result(None)

    thread._loop.call_soon_threadsafe(close)
    closed.result(10)
    thread._thread.join(10)
    assert not thread._thread.is_alive()
