"""The driver of GGUF models, with the real llama.cpp: loading, sharing, unloading, errors, and calls given up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from testkit.local import OPTIONS, chat_call, driver_of, ended, idle, slots, wait
from testkit.tiny_gguf import TinyModel, write_tiny_gguf
from unified_llm.drivers.llamacpp import EngineOptions, LlamaCppDriver
from unified_llm.drivers.llamacpp_engine import ENGINES
from unified_llm.errors import (
    ConfigurationError,
    MissingDependencyError,
    StreamInterruptedError,
)
from unified_llm.wire import WireCall

LIMIT = 0.5
LONG = chat_call(temperature=0)  # some seconds, to the end of the context


@pytest.fixture(scope="module")
def driver(tiny_chat_gguf: Path) -> Iterator[LlamaCppDriver]:
    """One loaded model for the tests that leave it as it was."""
    driver = driver_of(tiny_chat_gguf)
    yield driver
    driver.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LlamaCppDriver]:
    """A model that nobody else has loaded."""
    driver = driver_of(write_tiny_gguf(tmp_path / "fresh.gguf"))
    yield driver
    driver.close()


# -- loading and unloading ------------------------------------------------------------------------------------------


def test_a_model_is_loaded_by_the_first_call_and_answers(fresh: LlamaCppDriver) -> None:
    reply = fresh.send(chat_call(max_tokens=5))
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.body)["choices"][0]["message"]["content"]


def test_drivers_of_one_file_share_its_process_until_the_last_is_closed(fresh: LlamaCppDriver) -> None:
    model = fresh.loaded("tiny")
    other = driver_of(model.spec.path)
    assert other.loaded("tiny").pid == model.pid
    different = driver_of(model.spec.path, replace(OPTIONS, n_ctx=512))
    assert different.loaded("tiny").pid != model.pid
    different.close()
    fresh.close()
    assert not ended(model.pid)
    other.close()
    assert ended(model.pid)


def test_closing_a_driver_waits_for_nobody_as_a_finalizer_may_do_it_anywhere(fresh: LlamaCppDriver) -> None:
    model = fresh.loaded("tiny")
    with ENGINES._lock:  # as the thread has that is interrupted by the collector
        closing = threading.Thread(target=fresh.close, daemon=True)
        closing.start()
        closing.join(20)
        assert not closing.is_alive()
        assert model.alive
    assert wait(lambda: not model.alive, 20)


def test_a_closed_driver_loads_its_model_again_when_it_is_asked(fresh: LlamaCppDriver) -> None:
    first = fresh.loaded("tiny").pid
    fresh.close()
    assert fresh.send(chat_call(max_tokens=1)).status == 200
    assert fresh.loaded("tiny").pid != first


def test_a_dropped_driver_unloads_its_model(fresh: LlamaCppDriver) -> None:
    dropped = driver_of(fresh.loaded("tiny").spec.path, replace(OPTIONS, n_ctx=256))
    pid = dropped.loaded("tiny").pid
    del dropped
    assert wait(lambda: ended(pid), 5)


def test_threads_that_ask_at_once_load_a_model_once(fresh: LlamaCppDriver) -> None:
    together = threading.Barrier(8)

    def ask(number: int) -> tuple[int, int]:
        together.wait()
        return fresh.send(chat_call(str(number), max_tokens=3)).status, fresh.loaded("tiny").pid

    with ThreadPoolExecutor(8) as pool:
        results = set(pool.map(ask, range(8)))
    assert len(results) == 1
    assert results.pop()[0] == 200


async def test_the_event_loop_turns_while_a_model_loads(fresh: LlamaCppDriver) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    counting = asyncio.create_task(count())
    await fresh.send_async(chat_call(max_tokens=1))
    counting.cancel()
    assert turns > 3


def test_two_event_loops_and_threads_use_one_model_together(driver: LlamaCppDriver) -> None:
    async def ask() -> set[int]:
        replies = await asyncio.gather(*(driver.send_async(chat_call(str(n), max_tokens=5)) for n in range(5)))
        return {r.status for r in replies}

    with ThreadPoolExecutor(3) as pool:
        loops = [pool.submit(asyncio.run, ask()) for _ in range(2)]
        thread = pool.submit(driver.send, chat_call(max_tokens=5))
        assert [f.result() for f in loops] == [{200}, {200}]
        assert thread.result().status == 200


async def test_many_calls_at_once_wait_in_line_and_all_are_answered(driver: LlamaCppDriver) -> None:
    replies = await asyncio.gather(*(driver.send_async(chat_call(f"call {n}", max_tokens=8)) for n in range(60)))
    assert {r.status for r in replies} == {200}
    assert len({json.loads(r.body)["id"] for r in replies}) == 60


# -- calls that are given up ----------------------------------------------------------------------------------------


def test_leaving_a_stream_stops_the_generation(driver: LlamaCppDriver) -> None:
    model = driver.loaded("tiny")
    with driver.open(LONG) as reply:
        chunks = iter(reply)
        assert next(chunks)
        assert not idle(model)
    assert wait(lambda: idle(model), LIMIT)


async def test_leaving_an_asynchronous_stream_stops_the_generation(driver: LlamaCppDriver) -> None:
    model = driver.loaded("tiny")
    async with driver.open_async(LONG) as reply:
        async for _ in reply:
            break
        assert not idle(model)
    assert await asyncio.to_thread(wait, lambda: idle(model), LIMIT)


async def test_cancelling_a_complete_call_stops_the_generation(driver: LlamaCppDriver) -> None:
    model = driver.loaded("tiny")
    task = asyncio.create_task(driver.send_async(LONG))
    assert await asyncio.to_thread(wait, lambda: not idle(model), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(wait, lambda: idle(model), LIMIT)


async def test_a_call_that_is_cancelled_while_it_waits_in_line_is_never_computed(driver: LlamaCppDriver) -> None:
    model = driver.loaded("tiny")
    async with driver.open_async(LONG) as reply:
        await anext(aiter(reply))
        waiting = [asyncio.create_task(driver.send_async(LONG)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert await asyncio.to_thread(wait, lambda: idle(model), LIMIT)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_stops_the_generation_and_leaves_the_model_loaded(driver: LlamaCppDriver) -> None:
    model = driver.loaded("tiny")

    def interrupt() -> None:
        if wait(lambda: not idle(model), 5):
            os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        driver.send(LONG)
    helper.join()
    assert wait(lambda: idle(model), LIMIT)
    assert driver.loaded("tiny").pid == model.pid


def test_a_call_given_up_while_its_prompt_is_read_stops_between_two_batches(tmp_path: Path) -> None:
    slow = write_tiny_gguf(tmp_path / "slow.gguf", TinyModel(layers=6))
    driver = driver_of(slow, EngineOptions(n_ctx=8192, n_threads=1, n_batch=64))
    model = driver.loaded("tiny")
    with driver.open(chat_call("The quick brown fox. " * 360, max_tokens=1)) as reply:
        chunks = iter(reply)
        assert b"prompt_progress" in next(chunks)
    assert wait(lambda: idle(model), LIMIT)
    (slot,) = slots(model)
    assert slot["n_prompt_tokens_processed"] < 5000  # of some 7500
    driver.close()


def test_closing_in_the_middle_of_a_stream_interrupts_it(fresh: LlamaCppDriver) -> None:
    with fresh.open(LONG) as reply:
        chunks = iter(reply)
        assert next(chunks)
        fresh.close()
        with pytest.raises(StreamInterruptedError, match="unloaded"):
            list(chunks)


# -- things that go wrong -------------------------------------------------------------------------------------------


def test_a_file_that_is_no_model_says_so(tmp_path: Path) -> None:
    path = tmp_path / "page.gguf"
    path.write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(ConfigurationError, match="magic") as caught:
        driver_of(path).send(chat_call())
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_a_download_that_stopped_half_way_says_so_and_works_once_it_is_complete(
    tmp_path: Path, tiny_chat_gguf: Path
) -> None:
    path, whole = tmp_path / "m.gguf", tiny_chat_gguf.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    driver = driver_of(path)
    with pytest.raises(ConfigurationError, match="not within the file bounds") as caught:
        driver.send(chat_call())
    assert "download" in (caught.value.hint or "")
    path.write_bytes(whole)
    assert driver.send(chat_call(max_tokens=1)).status == 200
    driver.close()


async def test_an_architecture_that_llama_cpp_does_not_know_names_it_and_the_way_out(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", TinyModel(architecture="hyperllama"))
    with pytest.raises(ConfigurationError, match="hyperllama") as caught:
        await driver_of(path).send_async(chat_call())
    assert "xllamacpp" in (caught.value.hint or "")


@pytest.mark.parametrize("option", ["n_ctx", "parallel", "n_threads", "n_batch"])
@pytest.mark.parametrize("value", [0, -1, True, "4"])
def test_options_that_mean_nothing_are_refused(option: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=option):
        EngineOptions(**{option: value})  # type: ignore[arg-type]


def test_in_a_server_that_embeds_python_the_engine_runs_in_the_interpreter_of_the_environment(
    fresh: LlamaCppDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
    assert fresh.send(chat_call(max_tokens=1)).status == 200


def test_without_xllamacpp_the_error_names_the_extra(fresh: LlamaCppDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingDependencyError) as caught:
        fresh.send(chat_call())
    assert "unified-llm[local]" in (caught.value.hint or "")


def test_when_the_engine_dies_the_stream_says_so_and_the_next_call_gets_a_new_one(fresh: LlamaCppDriver) -> None:
    model = fresh.loaded("tiny")
    with fresh.open(LONG) as reply:
        chunks = iter(reply)
        assert next(chunks)
        os.kill(model.pid, signal.SIGTERM)
        with pytest.raises(StreamInterruptedError, match="ended with code") as caught:
            list(chunks)
    assert caught.value.retryable
    assert fresh.send(chat_call(max_tokens=1)).status == 200
    assert fresh.loaded("tiny").pid != model.pid


def test_an_engine_that_died_while_nobody_used_it_is_replaced_without_an_error(fresh: LlamaCppDriver) -> None:
    model = fresh.loaded("tiny")
    os.kill(model.pid, signal.SIGTERM)
    assert wait(lambda: not model.alive, 5)
    assert fresh.send(chat_call(max_tokens=1)).status == 200


# -- manners --------------------------------------------------------------------------------------------------------


def test_llama_cpp_is_silent(fresh: LlamaCppDriver, capfd: pytest.CaptureFixture[str]) -> None:
    fresh.send(chat_call(max_tokens=3))
    fresh.close()
    assert capfd.readouterr() == ("", "")


def test_llama_cpp_talks_on_standard_error_when_asked(tiny_chat_gguf: Path, capfd: pytest.CaptureFixture[str]) -> None:
    driver = driver_of(tiny_chat_gguf, replace(OPTIONS, verbose=True))
    driver.send(chat_call(max_tokens=3))
    driver.close()
    out, err = capfd.readouterr()
    assert out == ""
    assert "build_info" in err  # its last lines may be lost, as its log is written by a thread


def test_nobody_else_on_this_machine_can_use_the_engine(driver: LlamaCppDriver) -> None:
    model = driver.loaded("tiny")
    for path in ("/slots", "/props", "/metrics"):
        assert httpx.get(model.url + path).status_code == 401
    body = json.loads(chat_call(max_tokens=1).body or b"")
    assert httpx.post(f"{model.url}/v1/chat/completions", json=body).status_code == 401


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc")
def test_the_token_of_the_engine_is_in_no_process_list(driver: LlamaCppDriver) -> None:
    model = driver.loaded("tiny")
    words = Path(f"/proc/{model.pid}/cmdline").read_bytes() + Path(f"/proc/{model.pid}/environ").read_bytes()
    assert model._token.encode() not in words
    assert model._token not in repr(model.driver)


def run(script: str, *arguments: str) -> subprocess.Popen[str]:
    """A program that uses the driver; `sys.argv[1]` is its model."""
    support = str(Path(__file__).parents[1] / "support")
    prelude = (
        "import os, sys; sys.path.insert(0, sys.argv.pop(1))\nfrom testkit.local import *\nfrom pathlib import Path\n"
    )
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", prelude + textwrap.dedent(script), support, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_engine_ends_with_the_program_that_started_it_however_that_ends(tiny_chat_gguf: Path) -> None:
    script = """
        driver = driver_of(Path(sys.argv[1]))
        print(driver.loaded("tiny").pid, flush=True)
        sys.stdin.read()
    """
    with run(script, str(tiny_chat_gguf)) as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        assert not ended(pid)
        program.kill()
    assert wait(lambda: ended(pid), 5)


def test_a_program_that_closes_nothing_ends_at_once_and_in_silence(tiny_chat_gguf: Path) -> None:
    script = """
        driver = driver_of(Path(sys.argv[1]))
        driver.send(chat_call(max_tokens=1))
        print(driver.loaded("tiny").pid)
    """
    out, err = run(script, str(tiny_chat_gguf)).communicate(timeout=20)
    assert err == ""
    assert wait(lambda: ended(int(out)), 5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_an_engine_of_its_own_and_leaves_its_parents_alone(tiny_chat_gguf: Path) -> None:
    script = """
        import warnings; warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads: that is the test
        driver = driver_of(Path(sys.argv[1]))
        first = driver.send(chat_call(max_tokens=1)).status
        pid = os.fork()
        answer = driver.send(chat_call(max_tokens=1)).status
        if pid == 0:
            os._exit(0 if answer == 200 else 1)
        _, status = os.waitpid(pid, 0)
        print(first, answer, status, driver.send(chat_call(max_tokens=1)).status)
    """
    out, err = run(script, str(tiny_chat_gguf)).communicate(timeout=30)
    assert err == ""
    assert out.split() == ["200", "200", "0", "200"]


# -- other calls ----------------------------------------------------------------------------------------------------


def test_a_model_embeds_texts_in_order(tiny_embedding_gguf: Path) -> None:
    driver = driver_of(tiny_embedding_gguf, pooling=1)
    body = {"model": "tiny", "input": ["a", "b", "a"]}
    reply = json.loads(driver.send(WireCall("embeddings", json.dumps(body).encode())).body)
    first, second, third = (row["embedding"] for row in reply["data"])
    assert first == pytest.approx(third, abs=1e-5)
    assert first != pytest.approx(second, abs=1e-2)
    driver.close()


def test_errors_of_the_engine_come_back_as_replies(driver: LlamaCppDriver) -> None:
    too_long = driver.send(chat_call("x" * 5000))
    assert too_long.status == 400
    assert json.loads(too_long.body)["error"]["type"] == "exceed_context_size_error"
    with driver.open(chat_call("x" * 5000)) as reply:
        assert reply.status == 400
        assert b"exceed_context_size_error" in reply.read()
