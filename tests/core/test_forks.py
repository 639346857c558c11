"""A process that is forked (gunicorn --preload, multiprocessing) while its threads are at work goes on in the child.

Each program runs in a process of its own: newer Pythons warn of forking one that has threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from testkit.lmstudio_ws_double import LMStudioDouble

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

CHILD = """
import os, signal, sys, threading
from unified_llm import (
    BreakerSettings, Budget, Limits, MemoryCache, SQLiteCache, UnifiedLLM, UnifiedLLMError
)
from unified_llm.testing import FakeLLM, Failure, Reply

def in_child(work):
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # what hangs is killed
        try:
            work()
        except BaseException as exc:
            print(type(exc).__name__, exc, flush=True)
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, status

def held(*locks):
    "Locks that a thread of this process has, and does not give back."
    taken = threading.Event()
    def hold():
        for lock in locks:
            lock.acquire()
        taken.set()
        threading.Event().wait()
    threading.Thread(target=hold, daemon=True).start()
    taken.wait()
"""


def run(program: str, *arguments: str) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", CHILD + textwrap.dedent(program), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr


def test_locks_that_a_thread_of_the_parent_held_are_free_in_the_child() -> None:
    run(
        """
        llm = FakeLLM(
            Failure(status=503, headers={"retry-after": "0"}), "one", "two",
            max_retries=1, breaker=BreakerSettings(), hooks=[Budget(tokens=10**6)], cache=MemoryCache(),
            limits={"offline": Limits(4, requests_per_minute=1e9, tokens_per_minute=1e9)},
            deployments={"fast": ["offline:a", "offline:b"]}, strategy="latency",
        )
        flow = llm._flow
        target = llm._router.targets("m")[0]
        held(
            flow.budget._lock, flow._breakers[target]._lock, flow.admission._meters["offline"]._lock, llm.usage._lock,
            llm._router._lock, llm._router.balancer._lock, llm._cache._lock,
        )
        def work():
            assert llm.chat("x", model="m") == "one"
            assert llm.chat("x", model="m").cached
            assert llm.usage.total().calls == 2
            llm.set_provider("offline")
            assert UnifiedLLM(model="fast", deployments={"fast": ["offline:a"]}, strategy="latency").chat("x")
            llm._router.balancer._note(llm._router.balancer.pools["fast"][0].load, 1.0)
        in_child(work)
        """
    )


def test_calls_in_flight_in_the_parent_are_not_the_childs() -> None:
    run(
        """
        words = Reply("some words", usage={"prompt_tokens": 5, "completion_tokens": 5})
        budget = Budget(tokens=400)
        llm = FakeLLM(
            words, words, words, hooks=[budget], limits={"offline": Limits(concurrency=1)},
            model="pool", deployments={"pool": ["offline:a"]}, strategy="least_busy",
        )
        stream = llm.stream("x", max_tokens=300)
        next(stream)
        (member,) = llm._router.balancer.pools["pool"]
        def gate():
            return llm._flow.admission._meters["offline"].gate
        def work():
            assert llm.chat("y", max_tokens=300, deadline=5) == "some words"
            assert (gate().inside, budget._in_flight, member.load.in_flight) == (0, 0, 0)
            stream.close()  # the child's copy of it
            assert (gate().inside, budget._in_flight, budget._coming_tokens, member.load.in_flight) == (0, 0, 0, 0)
            assert llm.chat("y", max_tokens=300, deadline=5) == "some words"
        in_child(work)
        assert (gate().inside, budget._in_flight, member.load.in_flight) == (1, 1, 1)
        assert stream.get_response() == "some words"
        assert (gate().inside, budget._in_flight, member.load.in_flight) == (0, 0, 0)
        """
    )


def test_rates_go_on_in_the_child() -> None:
    run(
        """
        llm = FakeLLM("one", "two", limits={"offline": Limits(requests_per_minute=1)})
        llm.chat("x")
        def work():
            try:
                llm.chat("x", deadline=1)
            except UnifiedLLMError as exc:
                assert exc.retry_after > 1
            else:
                raise AssertionError("it was let through")
        in_child(work)
        """
    )


def test_a_file_of_answers_serves_parent_and_children_while_threads_write(tmp_path: Path) -> None:
    run(
        """
        cache = SQLiteCache(sys.argv[1])
        cache.put("mine", b"1")
        over = threading.Event()
        def write():
            while not over.is_set():
                cache.put("busy", bytes(20_000))
        threads = [threading.Thread(target=write, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        def work():
            assert cache.get("mine") == b"1"
            cache.put("child", b"2")
        for _ in range(10):
            in_child(work)
        over.set()
        for thread in threads:
            thread.join()
        assert cache.get("mine") == b"1"
        cache.put("child", b"3")
        assert cache._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        """,
        str(tmp_path / "answers.db"),
    )


def test_parent_and_child_hold_locks_of_their_own_on_a_file_of_answers(tmp_path: Path) -> None:
    run(
        """
        import subprocess
        cache = SQLiteCache(sys.argv[1])
        cache.put("mine", b"1")
        closed, done = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            cache.put("child", b"2")
            os.write(done[1], b"1")
            os.read(closed[0], 1)
            for i in range(300):
                cache.put(f"child {i}", bytes(3000))
            os._exit(0)
        os.read(done[0], 1)
        assert cache.get("child") == b"2"
        cache.close()  # the last one of a file writes all to it, and removes the rest
        many = "[cache.put(f'other {i}', bytes(3000)) for i in range(300)]"
        other = f"import sys; from unified_llm import SQLiteCache; cache = SQLiteCache(sys.argv[1]); {many}"
        subprocess.run([sys.executable, "-c", other, sys.argv[1]], check=True)
        os.write(closed[1], b"1")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        connection = SQLiteCache(sys.argv[1])._connection
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (602,)
        """,
        str(tmp_path / "answers.db"),
    )


def test_a_file_of_answers_is_found_again_after_a_fork_and_stays_closed_when_it_was(tmp_path: Path) -> None:
    run(
        """
        os.chdir(sys.argv[1])
        there, closed, gone = SQLiteCache("there.db"), SQLiteCache("closed.db"), SQLiteCache("gone.db")
        there.put("x", b"1")
        closed.put("x", b"1")
        closed.close()
        def work():
            os.chdir("/")
            assert there.get("x") == b"1"
            assert closed.get("x") is None
            gone.path = gone.path / "x"  # cannot be opened here
            assert gone.get("x") is None
            gone.put("x", b"1")
        in_child(work)
        assert there.get("x") == b"1"
        assert closed.get("x") is None
        """,
        str(tmp_path),
    )


def test_what_other_threads_make_during_a_fork_leaves_nothing_untold() -> None:
    run(
        """
        from unified_llm.forks import held_at_fork, renew_in_child
        class Thing:
            paused = renewed = 0
            def pause(self):
                self.paused += 1
            def resume(self):
                self.paused -= 1
            def after_fork(self):
                self.renewed += 1
        class Failing(Thing):
            def after_fork(self):
                raise ValueError
        things = [Thing() for _ in range(2000)]
        over = threading.Event()
        def make():
            while not over.is_set():
                held_at_fork(Thing())
        sys.setswitchinterval(1e-5)
        for thing in things:
            held_at_fork(thing)
        threads = [threading.Thread(target=make, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        def work():
            assert {thing.paused for thing in things} == {1}
            assert {thing.renewed for thing in things} == {1}
        for _ in range(8):
            in_child(work)
            assert {thing.paused for thing in things} == {0}
        over.set()
        for thread in threads:
            thread.join()
        sys.unraisablehook = lambda _: None
        renew_in_child(failing := Failing())
        for thing in things:
            renew_in_child(thing)  # once is enough
        in_child(work)
        """
    )


def test_locks_held_for_a_while_are_free_in_the_child(tmp_path: Path) -> None:
    run(
        """
        from pathlib import Path
        from unified_llm import ConversationManager
        from unified_llm.credentials import file_lock
        from unified_llm.drivers.static_embeddings import StaticEmbedder
        from unified_llm.offline.script import Script
        from unified_llm.providers.image_fetching import ImageFetcher
        from unified_llm.providers.kept_images import KeptImages
        from unified_llm.providers.lmstudio_stored import StoredResponses
        script = Script(["one", "two"])
        talks = ConversationManager(UnifiedLLM(provider="offline", script=script))
        talk = talks.create_conversation()
        kept, fetcher, stored = KeptImages(100), ImageFetcher("lmstudio", private=False), StoredResponses("lmstudio")
        held(
            talk.turn(), script._lock, kept._lock, fetcher._lock, stored._lock, file_lock._threads, StaticEmbedder._lock
        )
        def work():
            assert talks.send_message(talk.id, "x") == "one"
            kept.put("a", b"1", "image/png")
            for lock in (fetcher._lock, stored._lock, StaticEmbedder._lock):
                assert lock.acquire(timeout=1)
            with file_lock.locked(Path(sys.argv[1])):
                pass
        in_child(work)
        """,
        str(tmp_path / "keys.toml"),
    )


def test_the_websockets_of_lm_studio_are_made_anew_in_the_child() -> None:
    with LMStudioDouble() as double:
        run(
            """
            llm = UnifiedLLM("lmstudio", base_url=sys.argv[1], model="tiny", transport="sdk", timeout=5, max_retries=0)
            before = llm.chat("one")
            def work():
                assert llm.chat("two") == before.replace("one", "two")
            in_child(work)
            assert llm.chat("one") == before  # over the parent's own, which is still there
            """,
            double.url,
        )
        assert double.connections == ["llm", "llm"]
