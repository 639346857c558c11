"""The response cache: the same request is answered once, streams are replayed as streams, failures are never kept."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.claude_double import ClaudeDouble
from testkit.openai_double import OpenAIDouble
from testkit.wire_server import CLOSE, Answer, Request, WireServer, json_reply, reply, sse
from unified_llm import (
    BreakerSettings,
    Budget,
    CallInfo,
    ChatRequest,
    ChatResponse,
    ClaudeProvider,
    ConfigurationError,
    Limits,
    LLMProvider,
    LMStudioProvider,
    MemoryCache,
    ResponseCache,
    ResponseError,
    SQLiteCache,
    StreamInterruptedError,
    UnifiedLLM,
    UnifiedLLMError,
    UsageRecord,
)
from unified_llm.providers.caching import Kept, key_of
from unified_llm.providers.llamacpp_server import LlamaCppServerProvider
from unified_llm.providers.ollama import OllamaProvider
from unified_llm.testing import Cut, Failure, FakeLLM, Reply
from unified_llm.wire import WireCall

KINDS = ["memory", "sqlite"]


@pytest.fixture(params=KINDS)
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ResponseCache]:
    if request.param == "memory":
        yield MemoryCache()
        return
    made = SQLiteCache(tmp_path / "answers.db")
    yield made
    made.close()


async def test_the_same_request_is_sent_once_sync_and_async(cache: ResponseCache) -> None:
    llm = FakeLLM("first", "second", cache=cache)
    answers = [llm.chat("x"), llm.chat("x"), await llm.chat_async("x")]
    assert [(str(a), a.cached) for a in answers] == [("first", False), ("first", True), ("first", True)]
    assert len(llm.requests) == 1
    assert llm.chat("x", temperature=0.5) == "second"
    assert len(llm.requests) == 2


async def test_streams_are_replayed_as_streams(cache: ResponseCache) -> None:
    llm = FakeLLM(Reply("one two three", thinking="hm"), cache=cache)
    live = [(e.type, getattr(e, "text", None)) for e in llm.stream("x")]
    replayed = [(e.type, getattr(e, "text", None)) for e in llm.stream("x")]
    assert len(live) > 5
    assert replayed == live
    assert [(e.type, getattr(e, "text", None)) async for e in llm.stream_async("x")] == live
    assert llm.stream("x").get_response().cached
    assert "".join(llm.chat("x", stream=True)) == "one two three"
    assert len(llm.requests) == 1


async def test_a_stream_recorded_by_async_code_is_replayed_by_sync_code(cache: ResponseCache) -> None:
    llm = FakeLLM("one two", cache=cache)
    live = [e.type async for e in llm.stream_async("x")]
    assert [e.type for e in llm.stream("x")] == live
    assert len(llm.requests) == 1


def test_a_call_can_pass_by_the_cache(cache: ResponseCache) -> None:
    llm = FakeLLM("first", "second", "third", cache=cache)
    assert llm.chat("x", cache=False) == "first"
    assert llm.chat("x") == "second", "nothing was kept of the first"
    assert llm.chat("x", cache=False) == "third"
    assert llm.chat("x") == "second"


def test_a_failure_is_never_kept(cache: ResponseCache) -> None:
    llm = FakeLLM(Failure(status=500), Failure(status=400), "good", cache=cache)
    for _ in range(2):
        with pytest.raises(UnifiedLLMError):
            llm.chat("x")
    assert llm.chat("x") == "good"


async def test_half_an_answer_is_never_kept(cache: ResponseCache) -> None:
    llm = FakeLLM(
        Reply("half an answer", cut=Cut(after=2)),
        Reply("half an answer", cut=Cut(after=2)),
        "whole",
        "other",
        cache=cache,
    )
    with pytest.raises(StreamInterruptedError):
        list(llm.stream("x"))
    with pytest.raises(StreamInterruptedError):
        [e async for e in llm.stream_async("x")]
    with llm.stream("y") as stream:
        next(iter(stream))
    assert str(llm.stream("y").get_response()) == "other"


def test_a_success_status_with_an_unusable_body_is_never_kept(cache: ResponseCache) -> None:
    message = {"role": "assistant", "content": "hi"}
    good = json_reply({"choices": [{"index": 0, "finish_reason": "stop", "message": message}]})
    with WireServer(reply(200, b"<html>", {"content-type": "text/html"}), good) as server:
        with UnifiedLLM(base_url=server.url + "/v1", model="m", cache=cache, max_retries=0) as llm:
            with pytest.raises(ResponseError):
                llm.chat("x")
            assert llm.chat("x") == "hi"
            assert llm.chat("x").cached
        assert len(server.requests) == 2


def test_a_connection_that_breaks_in_mid_stream_keeps_nothing(cache: ResponseCache) -> None:
    half = {"choices": [{"index": 0, "delta": {"content": "hi"}}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    with WireServer([*sse([half], end=False), CLOSE], sse([half, end])) as server:
        with UnifiedLLM(base_url=server.url + "/v1", model="m", cache=cache, max_retries=0) as llm:
            with pytest.raises(StreamInterruptedError):
                list(llm.stream("x"))
            list(llm.stream("x"))
        assert len(server.requests) == 2


def test_the_answers_of_another_address_are_other_answers(cache: ResponseCache) -> None:
    def answer(text: str) -> Any:
        message = {"role": "assistant", "content": text}
        return json_reply({"choices": [{"index": 0, "finish_reason": "stop", "message": message}]})

    with WireServer(answer("a")) as one, WireServer(answer("b")) as two:
        for server, text in ((one, "a"), (two, "b")):
            with UnifiedLLM(base_url=server.url + "/v1", model="m", cache=cache) as llm:
                assert llm.chat("x") == text


def test_claude_and_openai_are_cached_with_their_tool_calls_and_usage(
    claude_double: ClaudeDouble, openai_double: Callable[..., OpenAIDouble], cache: ResponseCache
) -> None:
    double = openai_double()
    clients = [
        UnifiedLLM("claude", api_key=claude_double.key, base_url=claude_double.url, cache=cache),
        UnifiedLLM("openai", api_key="k", base_url=double.url, cache=cache, model="gpt-4o"),
    ]
    for llm in clients:
        live, again = llm.chat("Hello"), llm.chat("Hello")
        assert again.cached
        assert (again.message, again.usage, again.finish_reason) == (live.message, live.usage, live.finish_reason)
        streamed, replayed = llm.stream("Hello").get_response(), llm.stream("Hello").get_response()
        assert replayed.cached
        assert replayed.message == streamed.message
        llm.close()
    assert (len(claude_double.requests), len(double.requests)) == (2, 2)


def test_a_hit_costs_nothing_and_is_marked_everywhere() -> None:
    records: list[UsageRecord] = []
    budget = Budget(tokens=10_000)
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    llm = FakeLLM(Reply("x", usage=usage), cache=MemoryCache(), on_usage=records.append, hooks=[budget])
    first, hit = llm.chat("x"), llm.chat("x")
    assert hit.cost == 0.0
    assert hit.usage == first.usage
    assert hit.to_dict()["cached"] is True
    assert "cached" not in first.to_dict()
    assert [r.cached for r in records] == [False, True]
    total = llm.usage.total()
    assert (total.calls, total.cached_calls, total.usage.total_tokens) == (2, 1, 150)
    assert budget.spent_tokens == 150


async def four_ways(llm: UnifiedLLM, text: str) -> list[tuple[str, bool]]:
    """Text, and whether it came from the cache, of each way to ask."""
    answers = [
        llm.chat(text),
        await llm.chat_async(text),
        llm.stream(text).get_response(),
        await llm.stream_async(text).get_response(),
    ]
    return [(str(a), a.cached) for a in answers]


async def test_what_is_kept_takes_no_turn_and_no_place(cache: ResponseCache) -> None:
    with FakeLLM("one", "one", cache=cache) as first:
        first.chat("x")
        list(first.stream("x"))
    limits = {"offline": Limits(1, requests_per_minute=1, tokens_per_minute=1)}
    llm = FakeLLM("never", cache=cache, limits=limits, deadline=1.0)
    meter = llm._flow.admission._meters["offline"]
    assert meter.gate is not None
    assert meter.gate.try_enter()  # the only place is taken
    meter.begin(1000, 0.0)  # and nobody's turn comes for hours
    assert await four_ways(llm, "x") == [("one", True)] * 4
    assert not llm.requests


async def test_hooks_hear_of_what_is_kept_as_of_any_answer(cache: ResponseCache) -> None:
    class Heard(list[str]):
        def on_request(self, info: CallInfo) -> None:
            self.append(f"request to {info.provider}:{info.model}")

        def on_response(self, info: CallInfo, response: ChatResponse) -> None:
            self.append("cached" if response.cached else "asked")

        def on_end(self, info: CallInfo) -> None:
            self.append("end")

    heard = Heard()
    llm = FakeLLM("one", "one", cache=cache, hooks=[heard], model="m")
    llm.chat("x")
    list(llm.stream("x"))
    del heard[:]
    await four_ways(llm, "x")
    assert heard == ["request to offline:m", "cached", "end"] * 4


async def test_what_is_kept_is_given_while_the_breaker_is_open(cache: ResponseCache) -> None:
    records: list[UsageRecord] = []
    llm = FakeLLM(
        "one",
        "one",
        *[Failure(status=503)] * 2,
        cache=cache,
        breaker=BreakerSettings(failures=1, seconds=600),
        model="m",
        on_usage=records.append,
    )
    llm.chat("x")
    list(llm.stream("x"))
    for _ in range(2):
        with pytest.raises(UnifiedLLMError):
            llm.chat("something else")
    assert len(llm.requests) == 3, "the breaker is open"
    assert await four_ways(llm, "x") == [("one", True)] * 4
    assert [(r.provider, r.model, r.cached) for r in records[2:]] == [("offline", "m", True)] * 4


async def test_what_a_fallback_answered_before_is_given_without_its_turn(
    cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeLLM("one", "one", cache=cache, model="b") as first:
        first.chat("x")
        list(first.stream("x"))
    steps = [Failure(status=503)] * 4
    llm = FakeLLM(*steps, cache=cache, model="a", fallbacks=["b"], limits={"offline": Limits(requests_per_minute=6e6)})
    admission, turns = llm._flow.admission, []
    admitted = admission.admitted

    def seen(step: Any, info: Any) -> Any:
        turns.append(step.target.model)
        return admitted(step, info)

    monkeypatch.setattr(admission, "admitted", seen)
    assert await four_ways(llm, "x") == [("one", True)] * 4
    assert turns == ["a"] * 4


def test_a_target_that_cannot_be_asked_is_left_to_the_plan(cache: ResponseCache) -> None:
    class Bare(LLMProvider):
        """Looks into no cache."""

        name = "bare"

        def chat(self, request: ChatRequest) -> ChatResponse:
            return ChatResponse(f"asked, cache: {request.cache is cache}", provider="bare", model=request.model)

    llm = UnifiedLLM(Bare(), model="m", cache=cache)
    assert [llm.chat("x"), llm.stream("x").get_response()] == ["asked, cache: True"] * 2


def test_memory_forgets_the_least_recently_used_and_the_expired() -> None:
    now = 0.0
    cache = MemoryCache(2, ttl=10, clock=lambda: now)
    cache.put("a", b"1")
    cache.put("b", b"2")
    assert cache.get("a") == b"1"
    cache.put("c", b"3")
    assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == (b"1", None, b"3", 2)
    now = 11.0
    assert (cache.get("a"), len(cache)) == (None, 1)
    cache.clear()
    assert cache.get("c") is None


def test_a_file_forgets_the_least_recently_used_and_the_expired_and_outlives_the_client(tmp_path: Path) -> None:
    now = 100.0
    path = tmp_path / "answers.db"
    cache = SQLiteCache(path, 2, ttl=10, clock=lambda: now)
    cache.put("a", b"a")
    now = 101.0
    cache.put("b", b"b")
    now = 102.0
    assert cache.get("a") == b"a"
    now = 103.0
    cache.put("c", b"c")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"a", None, b"c")
    cache.close()
    again = SQLiteCache(path, 2, ttl=10, clock=lambda: now)
    assert again.get("c") == b"c"
    now = 112.0
    assert (again.get("a"), again.get("c")) == (None, b"c")
    now = 50.0
    assert again.get("c") is None, "written in the future: the clock went backwards"
    again.clear()
    again.close()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    SQLiteCache(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_no_cache_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be taken for one" * 10)
    with pytest.raises(ConfigurationError, match=r"notes\.txt"):
        SQLiteCache(path)
    assert path.read_text().startswith("not a database")
    with pytest.raises(ConfigurationError):
        SQLiteCache(tmp_path / "missing" / "answers.db")


def test_a_cache_that_breaks_later_costs_a_request_not_the_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = SQLiteCache(tmp_path / "answers.db")
    llm = FakeLLM("first", "second", cache=cache)
    assert llm.chat("x") == "first"
    cache.close()
    assert llm.chat("x") == "second"
    assert "cannot be read" in caplog.text
    assert "cannot be written" in caplog.text


def test_a_damaged_entry_counts_as_none() -> None:
    cache = MemoryCache()
    llm = FakeLLM("first", "second", cache=cache)
    llm.chat("x")
    (key,) = cache._kept
    for damaged in (b"", b"{}", b'{"type": "x", "sizes": [5]}\nabc', b"\xff\n"):
        cache.put(key, damaged)
        assert Kept.unpack(damaged) is None
    assert llm.chat("x") == "second"


def test_many_threads_share_one_file(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "answers.db")
    wrong: list[str] = []

    def work(number: int) -> None:
        for i in range(30):
            cache.put(f"{number}-{i}", str(i).encode())
            if cache.get(f"{number}-{i}") != str(i).encode():
                wrong.append(f"{number}-{i}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    cache.close()


def test_several_processes_share_one_file_without_missing_what_is_there(tmp_path: Path) -> None:
    """Each reads what it has just written, and what all the others read and write again and again."""
    code = (
        "import logging, sys\n"
        "from unified_llm import SQLiteCache\n"
        "logging.basicConfig(level=logging.WARNING)\n"
        "cache, me = SQLiteCache(sys.argv[1], 1000), sys.argv[2]\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "missed = 0\n"
        "for i in range(400):\n"
        "    cache.put('shared', b'x' * 100)\n"
        "    missed += cache.get('shared') is None\n"
        "    cache.put(f'{me}-{i % 20}', me.encode())\n"
        "    missed += cache.get(f'{me}-{i % 20}') != me.encode()\n"
        "print(missed)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "answers.db")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = [subprocess.Popen([*command, str(n)], text=True, **pipes) for n in range(2)]  # type: ignore[call-overload]
    for process in running:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=50) for process in running] == [("0\n", "")] * 2


def test_an_answer_written_by_another_process_during_a_read_is_found(tmp_path: Path) -> None:
    now = [100.0]
    one = SQLiteCache(tmp_path / "answers.db", clock=lambda: now[0])

    def later() -> float:
        """The clock of the reader: another process writes just before it is looked at."""
        now[0] += 1.0
        one.put("a", b"new")
        return now[0]

    one.put("a", b"old")
    other = SQLiteCache(tmp_path / "answers.db", clock=later)
    assert other.get("a") == b"old"
    one.close()
    other.close()


def test_what_is_kept_is_given_at_once_while_another_process_writes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    cache = SQLiteCache(tmp_path / "answers.db", most=1, clock=lambda: now[0])
    cache.put("a", b"paid for")
    writer = sqlite3.connect(cache.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    now[0] += 10
    started = time.perf_counter()
    assert cache.get("a") == b"paid for"
    assert time.perf_counter() - started < 0.5
    assert not caplog.records
    writer.execute("ROLLBACK")
    assert cache.get("a") == b"paid for"
    (used,) = writer.execute("SELECT used FROM answers").fetchone()
    assert used == now[0]
    (patience,) = cache._connection.execute("PRAGMA busy_timeout").fetchone()
    assert patience == 1000  # a put waits
    writer.close()
    cache.close()


def test_a_put_into_a_full_file_does_not_sort_what_is_in_it(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "answers.db", 2000)
    for i in range(4100):
        cache.put(str(i), b"x")
    (left,) = cache._connection.execute("SELECT count(*) FROM answers").fetchone()
    assert 2000 <= left <= 2020
    assert cache.get("4099") == b"x"
    assert cache.get("1") is None
    plan = cache._connection.execute(
        "EXPLAIN QUERY PLAN SELECT rowid FROM answers ORDER BY used DESC LIMIT -1 OFFSET 1"
    ).fetchall()
    assert "answers_by_use" in str(plan)
    assert "TEMP B-TREE" not in str(plan)
    cache.close()


@pytest.mark.parametrize(
    "packed",
    [
        b'{"type":"x","sizes":[1e999]}\n',
        b'{"type":"x","sizes":[-5,5]}\n',
        b'{"type":"x","sizes":[-1,2]}\nx',
        b"[" * 100_000,
        b'{"type":"x","sizes":5}\n',
    ],
)
def test_bytes_that_are_no_answer_are_none(packed: bytes) -> None:
    assert Kept.unpack(packed) is None


def test_what_cannot_be_a_cache_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for path in (5, ":memory:", None):
        with pytest.raises(ConfigurationError) as caught:
            SQLiteCache(path)  # type: ignore[arg-type]
        assert "MemoryCache()" in str(caught.value.hint)
    (tmp_path / "foreign.db").write_bytes(b"no database " * 100)
    with pytest.raises(ConfigurationError) as caught:
        SQLiteCache(tmp_path / "foreign.db")
    assert caught.value.hint == "delete it, or name another file"
    with pytest.raises(ConfigurationError) as caught:
        SQLiteCache(tmp_path / "none" / "x.db")
    assert "folder" in str(caught.value.hint)
    with pytest.raises(ConfigurationError, match="cache is dict"):
        UnifiedLLM("offline", cache={})  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=20), max_size=6), st.text(max_size=10))
def test_what_is_packed_is_unpacked(chunks: list[bytes], content_type: str) -> None:
    kept = Kept(content_type, tuple(chunks))
    assert Kept.unpack(kept.pack()) == kept


def test_everything_that_is_sent_makes_the_key() -> None:
    call = WireCall("chat", b"{}")
    others = [
        replace(call, path="x"),
        replace(call, body=b"{ }"),
        replace(call, method="GET"),
        replace(call, stream=True),
        replace(call, headers=(("anthropic-beta", "x"),)),
    ]
    keys = {key_of("p", "a", c) for c in [call, *others]} | {key_of("q", "a", call), key_of("p", "b", call)}
    assert len(keys) == 8
    assert key_of("p", "a", replace(call, timeout=3.0)) in keys


async def test_a_cache_that_raises_costs_a_request_and_not_the_call(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ResponseCache):
        def get(self, key: str) -> bytes | None:
            raise RuntimeError("sk-secret-0123456789")

        def put(self, key: str, value: bytes) -> None:
            raise RuntimeError("sk-secret-0123456789")

        def clear(self) -> None: ...

    llm = FakeLLM("one", "one", "one", "one", cache=Broken())
    assert await four_ways(llm, "x") == [("one", False)] * 4
    assert "get of the cache Broken raised RuntimeError" in caplog.text
    assert "put of the cache Broken raised RuntimeError" in caplog.text
    assert "sk-secret" not in caplog.text


async def test_an_answer_is_not_lost_to_the_deadline_while_it_is_kept() -> None:
    class Slow(MemoryCache):
        def __init__(self) -> None:
            super().__init__()
            self.go_on, self.done = asyncio.Event(), asyncio.Event()

        async def put_async(self, key: str, value: bytes) -> None:
            await self.go_on.wait()
            self.put(key, value)
            if len(self) == 2:
                self.done.set()

    slow = Slow()
    llm = FakeLLM("one", "one", cache=slow)
    assert await llm.chat_async("x", deadline=0.4) == "one"
    assert await llm.stream_async("x", deadline=0.4).get_response() == "one"
    assert len(slow) == 0
    slow.go_on.set()
    await asyncio.wait_for(slow.done.wait(), 10)
    assert (await llm.chat_async("x", deadline=5)).cached


def test_another_api_version_is_another_api() -> None:
    """What a server answers depends on the version that is asked for, at the same address."""

    def by_version(request: Request) -> Answer:
        message = {"role": "assistant", "content": request.target.partition("?")[2]}
        return json_reply({"id": "c", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]})

    cache = MemoryCache()
    with WireServer(by_version) as server:
        options = {"api_key": "k", "base_url": server.url + "/openai/v1", "model": "m", "cache": cache}
        asked = [UnifiedLLM("azure", api_version=v, **options).chat("x") for v in ("preview", "latest", "preview")]  # type: ignore[arg-type]
        assert [str(answer) for answer in asked] == [f"api-version={v}" for v in ("preview", "latest", "preview")]
        assert [answer.cached for answer in asked] == [False, False, True]


def test_another_region_of_a_cloud_is_another_server() -> None:
    pytest.importorskip("anthropic")

    def scope(**options: Any) -> str:
        return ClaudeProvider(platform="vertex", base_url="http://127.0.0.1:1", **options).cache_scope

    scopes = [
        scope(region="europe-west1", project_id="p"),
        scope(region="us-east5", project_id="p"),
        scope(region="us-east5", project_id="q"),
    ]
    assert len(set(scopes)) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"api_key": "another"},
        {"headers": {"x-tenant": "a"}},
        {"headers": {"x-tenant": "b"}},
        {"organization_id": "o"},
    ],
)
async def test_who_says_something_else_with_every_call_is_somebody_else(
    other: dict[str, Any], cache: ResponseCache
) -> None:
    """A key may choose whose documents are looked at: what one tenant was told is not told to another."""
    answer = json_reply({"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "for you"}}]})
    with WireServer(answer) as server:
        given: dict[str, Any] = {"api_key": "key", "base_url": server.url + "/v1", "model": "m", "cache": cache}
        for options in (given, given | {"headers": {"x-tenant": "c"}}, given | other):
            assert not UnifiedLLM("openai", **options).chat("x").cached
            assert UnifiedLLM("openai", **options).chat("x").cached
        assert len(server.requests) == 3


def test_a_key_of_claude_or_of_a_local_server_makes_its_own_answers() -> None:
    made: list[Callable[..., Any]] = [ClaudeProvider, OllamaProvider, LMStudioProvider, LlamaCppServerProvider]
    for provider in made:
        url = "http://127.0.0.1:1"
        scopes = [provider(base_url=url, api_key=key).cache_scope for key in ("one key", "other key", "one key")]
        assert scopes[0] == scopes[2] != scopes[1]
        assert "one key" not in scopes[0]
        assert provider(base_url=url, api_key="one key", headers={"x": "y"}).cache_scope not in scopes
    for key in ("one key", "other key"):
        websockets = LMStudioProvider(api_key=key)._websockets
        assert websockets.cache_scope == LMStudioProvider(api_key=key).cache_scope
    options: list[dict[str, Any]] = [
        {"auth_token": "a token"},
        {"auth_token": "b token"},
        {"auth_token": "c", "default_headers": {"x": "y"}},
    ]
    assert len({ClaudeProvider(sdk_options=one).cache_scope for one in options}) == 3


@pytest.mark.parametrize(
    "arguments",
    [{"ttl": 0}, {"ttl": -1}, {"ttl": "1"}, {"ttl": float("nan")}, {"most": 0}, {"most": "x"}, {"most": 1.5}],
)
def test_limits_that_make_no_sense_are_refused(arguments: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        MemoryCache(**arguments)
    with pytest.raises(ConfigurationError):
        SQLiteCache(tmp_path / "x.db", **arguments)
