"""`compare`: several models at once, failures among the results; the command, its table and its picture."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from testkit.cli import run_cli, scripted_provider
from testkit.wire_server import HANG, Answer, Request, WireServer, sse
from unified_llm import (
    CallInfo,
    InvalidRequestError,
    Price,
    PriceTable,
    RateLimitError,
    UnifiedLLM,
    compare,
    compare_async,
)
from unified_llm.cli.exits import ExitCode
from unified_llm.testing import Failure, FakeLLM, Reply

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


async def test_results_come_in_the_order_of_the_models_and_failures_are_results() -> None:
    steps = [Reply("one", usage=USAGE), Failure(status=429)]
    for asynchronously in (False, True):
        llm = FakeLLM(*steps)
        if asynchronously:
            results = await compare_async("Hi", ["a:x", "claude:m"], llm=llm, concurrency=1)
        else:
            results = compare("Hi", ["a:x", "claude:m"], llm=llm, concurrency=1)
        good, bad = results
        assert (good.model, good.text, good.error) == ("a:x", "one", None)
        assert (good.usage.total_tokens, good.cost) == (15, 0.0)
        assert good.time_to_first_token is not None
        assert good.seconds >= good.time_to_first_token
        assert isinstance(bad.error, RateLimitError)
        assert (bad.model, bad.text, bad.cost, bad.usage.total_tokens) == ("claude:m", None, None, None)
        assert json.loads(json.dumps([r.to_dict() for r in results]))[1]["error"]["type"] == "RateLimitError"


async def test_all_models_are_asked_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=20)

    def answer(request: Request) -> Answer:
        del request
        return sse([{"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}])

    class Meet:
        """Holds every request until all three are about to be sent."""

        def on_request(self, info: object) -> None:
            together.wait()

    with WireServer(answer) as server:
        with UnifiedLLM(base_url=server.url + "/v1", hooks=[Meet()]) as llm:
            assert [r.text for r in compare("x", ["m1", "m2", "m3"], llm=llm)] == ["hi"] * 3
        async with UnifiedLLM(base_url=server.url + "/v1") as llm:
            assert [r.text for r in await compare_async("x", ["m1", "m2"], llm=llm)] == ["hi"] * 2
        assert sorted(r.json()["model"] for r in server.requests) == ["m1", "m1", "m2", "m2", "m3"]


def test_nobody_falls_back_on_another_model() -> None:
    llm = FakeLLM(Failure(status=401), "never", fallbacks=["offline:other"])
    (result,) = compare("x", "offline:m", llm=llm)
    assert result.error is not None
    assert len(llm.requests) == 1


class Refuse:
    """A gate that lets nobody ask the model "secret"."""

    def before_call(self, info: CallInfo) -> None:
        if info.model == "secret":
            raise PermissionError("not this one: sk-ant-api03-0123456789abcdef")


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_what_a_gate_raises_is_a_result_and_the_others_answer(how: str) -> None:
    llm = FakeLLM("one", "two", hooks=[Refuse()])
    models = ["a", "secret", "b"]
    if how == "sync":
        results = compare("Hi", models, llm=llm, concurrency=1)
    else:
        results = await compare_async("Hi", models, llm=llm, concurrency=1)
    assert [r.text for r in results] == ["one", None, "two"]
    assert isinstance(results[1].error, PermissionError)
    told = results[1].to_dict()["error"]
    assert (told["type"], told["message"].startswith("not this one")) == ("PermissionError", True)
    assert "0123456789abcdef" not in str(told)


@pytest.mark.parametrize("where", ["plain", "within a loop"])
def test_an_interrupt_closes_the_requests_of_a_comparison_and_asks_nobody_else(where: str) -> None:
    program = """
        import asyncio, sys
        from unified_llm import UnifiedLLM, compare
        def ask():
            try:
                compare("Hi", ["m1", "m2", "m3"], llm=UnifiedLLM(base_url=sys.argv[1]), concurrency=2)
            except KeyboardInterrupt:
                sys.stdin.read()  # the process goes on
        async def notebook():
            ask()
        if sys.argv[2] == "plain":
            ask()
        else:  # as a notebook does: `asyncio.run` has a handler of its own, which raises at the second signal
            asyncio.new_event_loop().run_until_complete(notebook())
    """
    with WireServer([HANG]) as server:
        command = [sys.executable, "-c", textwrap.dedent(program), f"{server.url}/v1", where]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        try:
            requests = server.wait_requests(2, 30)
            process.send_signal(signal.SIGINT)
            assert [request.wait_gone(10) for request in requests] == [True, True]
            assert process.poll() is None
            process.communicate(timeout=10)
        finally:
            process.kill()
            process.communicate()
        assert len(server.requests) == 2


def test_an_interrupt_ends_the_command_though_a_model_hangs() -> None:
    models = ["-m", "openai-compatible:m", "-m", "offline:"]
    assert interrupted([sys.executable, "-m", "unified_llm", "compare", "Hi", *models], requests=1) == 130


def interrupted(command: list[str], *, requests: int) -> int:
    """The exit code of a command that is interrupted while `requests` wait for a server that hangs."""
    with WireServer([HANG]) as server:
        url = f"{server.url}/v1"
        process = subprocess.Popen(
            [part.format(url=url) for part in command],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OPENAI_COMPATIBLE_BASE_URL": url},
        )
        try:
            server.wait_requests(requests, 30)
            process.send_signal(signal.SIGINT)
            code = process.wait(10)
        finally:
            process.kill()
            process.wait()
        assert len(server.requests) == requests
        return code


def test_a_client_is_made_when_none_is_given() -> None:
    (result,) = compare("Hello", ["offline:m"])
    assert result.response is not None
    assert result.response.provider == "offline"


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        compare("x", [])
    for concurrency in (0, "8", 1.5, True, None):
        with pytest.raises(InvalidRequestError, match="concurrency"):
            compare("x", ["a"], concurrency=concurrency)  # type: ignore[arg-type]
    for models in (None, [None], 5):
        with pytest.raises(InvalidRequestError, match="models"):
            compare("x", models)  # type: ignore[arg-type]


def test_sync_and_async_take_the_same() -> None:
    assert inspect.signature(compare).parameters.keys() == inspect.signature(compare_async).parameters.keys()


def test_costs_are_those_of_the_clients_prices() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}], "usage": USAGE}
    with WireServer(sse([chunk])) as server:
        prices = PriceTable({"m": Price(1_000_000, 0)})
        with UnifiedLLM("openai", api_key="k", base_url=server.url + "/v1", prices=prices) as llm:
            (result,) = compare("x", ["openai:m"], llm=llm)
    assert result.cost == pytest.approx(10.0)


# -- the command ----------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_model() -> None:
    with scripted_provider(Reply("one\ntwo", usage=USAGE)):
        result = run_cli("compare", "Hi", "-m", "scripted:m", "-m", "offline:echo")
    assert result.code == 0
    first, second = (line.split("\t") for line in result.out.splitlines())
    assert (first[0], first[3], first[5], first[6]) == ("scripted:m", "10+5", "0.000000", "one two")
    assert second[0] == "offline:echo"
    assert second[6].endswith("...")


def test_a_terminal_gets_headings_and_verbose_the_whole_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "150")
    with scripted_provider("one\ntwo"):
        result = run_cli("compare", "Hi", "-m", "scripted:m", "-v", terminal=True)
    assert result.out.startswith("MODEL")
    assert "--- scripted:m\none\ntwo" in result.out


def test_json_has_every_result_and_stdin_is_the_prompt() -> None:
    with scripted_provider(Failure(status=401)) as provider:
        result = run_cli("compare", "-m", "scripted:m", "-m", "offline:echo", "--json", input="a question")
    assert result.code == 0
    failed, good = result.json["results"]
    assert (failed["error"]["status"], good["model"]) == (401, "offline:echo")
    assert provider.requests[0].prompt == "a question"


def test_the_command_fails_when_all_models_do() -> None:
    with scripted_provider(Failure(status=429), Failure(status=401)):
        result = run_cli("compare", "Hi", "-m", "scripted:a", "-m", "scripted:b", "--retries", "0")
    assert result.code in (ExitCode.RETRY, ExitCode.FAILED)
    assert result.out == ""


@pytest.mark.parametrize("argv", [(), ("-m", "offline:echo", "--plot", "x.doc"), ("-m", "x", "--plot", "none/x.png")])
def test_wrong_usage_is_refused_before_anything_is_sent(argv: tuple[str, ...]) -> None:
    assert run_cli("compare", "Hi", *argv).code == ExitCode.USAGE


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_picture_is_drawn(suffix: str, magic: bytes, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"speed.{suffix}"
    with scripted_provider(Failure(status=401)):
        result = run_cli("compare", "Hi", "-m", "scripted:m", "-m", "offline:echo", "--plot", str(path))
    assert result.code == 0
    assert path.read_bytes().startswith(magic)
