"""The server process on the wire: purity of standard output, patience with bad input, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from testkit.mcp_clients import SDK_2
from testkit.mcp_raw import SERVER, RawServer, raw_server
from testkit.wire_server import HANG, Request, WireServer, json_reply, sse
from unified_llm_mcp import build_server
from unified_llm_mcp.process import run_until_signal

STUBBORN = [sys.executable, str(Path(__file__).parent / "servers" / "stubborn_server.py")]
PROBE = [sys.executable, str(Path(__file__).parent / "servers" / "probe_server.py")]


def slow_backend() -> WireServer:
    """An OpenAI-compatible server that sends one word and then nothing."""
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "delta": {"role": "assistant", "content": "One "}, "finish_reason": None}]}  # fmt: skip
    return WireServer(sse([chunk, HANG]))


def prompt_of(request: Request) -> str:
    """The last message of a chat that the backend was sent."""
    return str(request.json()["messages"][-1]["content"])


def backend_environment(backend: WireServer) -> dict[str, str]:
    return {"OPENAI_COMPATIBLE_BASE_URL": f"{backend.url}/v1"}


META = {"protocolVersion": "2026-07-28", "clientCapabilities": {}}
MODERN = {f"io.modelcontextprotocol/{key}": value for key, value in META.items()}
SLOW = ["--model", "openai-compatible:m"]


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[RawServer]:
    """One process for the tests that leave it as it was: starting it costs more than they do."""
    async with raw_server(command=PROBE) as server:
        await server.initialize()
        yield server


async def test_only_json_rpc_is_written_to_standard_output_whatever_prints() -> None:
    async with raw_server(command=PROBE) as server:
        await server.initialize()
        result = await server.ask("tools/call", name="chat", arguments={"prompt": "Hi"})
        assert result["structuredContent"]["text"] == "Hello, world"
        await server.end_input()
        assert await server.exit_code(3) == 0


async def test_lines_that_are_no_json_rpc_do_not_stop_the_server(shared: RawServer) -> None:
    for bad in (b"not json\n", b"\n", b'{"half": \n', b"\xff\xfe\n", b"[]\n", b'{"jsonrpc":"2.0"}\n'):
        await shared.write(bad)
    assert len((await shared.ask("tools/list"))["tools"]) == 4


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"name": ["chat"], "arguments": {"prompt": "Hi"}},
        {"name": "fly", "arguments": {}},
        {"name": "chat", "arguments": ["Hi"]},
        {"name": "chat", "arguments": "Hi"},
        {"name": "chat", "arguments": {"prompt": "Hi"}, "_meta": 7},
    ],
)
async def test_a_call_that_is_not_well_formed_is_a_protocol_error(params: dict[str, Any], shared: RawServer) -> None:
    answer = await shared.answer(await shared.send("tools/call", **params))
    assert answer["error"]["code"] == -32602, answer
    assert await shared.ask("ping") == {}


async def test_nothing_is_called_before_the_handshake() -> None:
    async with raw_server(command=PROBE) as server:
        answer = await server.answer(await server.send("tools/call", name="chat", arguments={"prompt": "Hi"}))
        assert answer["error"]["code"] == -32602, answer


async def test_results_have_the_fields_of_their_protocol(shared: RawServer) -> None:
    call = {"name": "chat", "arguments": {"prompt": "Hi"}}
    handshake = await shared.ask("tools/call", **call)
    assert {"content", "structuredContent"} <= handshake.keys() <= {"content", "structuredContent", "isError"}
    if SDK_2:
        async with raw_server(command=PROBE) as server:
            result = await server.ask("tools/call", **call, _meta=MODERN)
        assert result["resultType"] == "complete"
        assert result["content"] == handshake["content"]


@pytest.mark.skipif(not SDK_2, reason="the SDK's 1.x line knows only the protocols with a handshake")
async def test_a_connection_speaks_the_protocol_it_began_with() -> None:
    call = {"name": "chat", "arguments": {"prompt": "Hi"}}
    async with raw_server(command=PROBE) as server:
        await server.initialize()
        for method, params in (("tools/call", call), ("tools/list", {}), ("server/discover", {})):
            answer = await server.answer(await server.send(method, **params, _meta=MODERN))
            assert answer["error"]["code"] == -32600, answer
        assert (await server.ask("tools/call", **call, _meta={"progressToken": 1}))["structuredContent"]
    async with raw_server(command=PROBE) as server:
        await server.ask("tools/list", _meta=MODERN)
        answer = await server.answer(await server.send("initialize", protocolVersion="2025-06-18"))
        assert "error" in answer


CALL = b'{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"chat","arguments":'
NO_MESSAGES: list[tuple[bytes, int, object]] = [
    (CALL + rb'{"prompt":"\ud83d"}}}', -32700, "a"),
    (CALL + b"[" * 5000 + b"]" * 5000 + b"}}", -32700, "a"),
    (CALL + b"9" * 6000 + b"}}", -32700, "a"),
    (b'{"jsonrpc":"2.0","method":"ping","params":{"id":5,"x":' + b"9" * 6000 + b'},"id":700}', -32700, 700),
    (b'{"jsonrpc":"2.0","method":"ping","params":{"id":5, "x":{broken}}}', -32700, None),
    (b'{"jsonrpc":"2.0","id":700,"method":', -32700, 700),
    (b"not json", -32700, None),
    (b"[]", -32600, None),
    (b'{"jsonrpc":"2.0","id":700}', -32600, 700),
    (b'{"jsonrpc":"2.0","id":700,"method":"ping","params":5}', -32600, 700),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":null,"method":"tools/list","params":{}}', -32600, None),
    (b'{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}', -32600, None),
]


async def test_a_line_that_is_no_message_is_answered_with_its_id_when_it_has_one() -> None:
    async with raw_server(command=PROBE) as server:
        await server.initialize()
        for line, code, answered in NO_MESSAGES:
            server.notifications.clear()
            await server.write(line + b"\n")
            assert await server.ask("ping") == {}
            (error,) = server.notifications
            assert (error["error"]["code"], error["id"]) == (code, answered), line[:100]
        await server.end_input()
        await server.exit_code(5)
    assert (await stderr_of(server)).count("a line is no message") == len(NO_MESSAGES)


async def test_an_answer_of_a_wrong_form_gets_none(shared: RawServer) -> None:
    shared.notifications.clear()
    await shared.write(b'{"jsonrpc":"2.0","id":[1],"result":5}\n')
    assert await shared.ask("ping") == {}
    assert shared.notifications == []


async def test_a_line_of_more_than_64_megabytes_is_refused_and_the_next_is_read(shared: RawServer) -> None:
    shared.notifications.clear()
    for _ in range(67):
        await shared.write(b"x" * 1_000_000)
    await shared.write(b"x" * 110_000 + b"\n")
    assert await shared.ask("ping") == {}
    (error,) = shared.notifications
    assert error["error"]["message"].endswith("at most 64 MiB")


async def test_a_message_of_five_megabytes_is_read(shared: RawServer) -> None:
    result = await shared.ask("tools/call", name="chat", arguments={"prompt": "x" * 5_000_000})
    assert result["structuredContent"]["status"] == "complete"


async def test_it_starts_without_a_key_a_model_or_a_network() -> None:
    async with raw_server() as server:
        answer = await server.initialize()
        assert answer["serverInfo"]["name"] == "unified-llm"
        assert len(answer["instructions"]) <= 400
        assert len((await server.ask("tools/list"))["tools"]) == 4


async def test_pings_and_lists_are_answered_while_calls_wait() -> None:
    with slow_backend() as backend:
        async with raw_server(*SLOW, env=backend_environment(backend)) as server:
            await server.initialize()
            for number in range(4):
                await server.start_call("chat", prompt=str(number))
            await backend.wait_requests_async(4)
            assert await server.ask("ping") == {}
            assert len((await server.ask("tools/list"))["tools"]) == 4


async def test_the_first_calls_may_come_all_at_once() -> None:
    async with raw_server("--model", "offline:", "--embed-model", "offline:") as server:
        await server.initialize()
        calls = [await server.start_call("chat", prompt=str(number)) for number in range(8)]
        calls += [
            await server.start_call("embed", texts=["x"]),
            await server.start_call("get_response", response_id="x"),
        ]
        answers = [(await server.answer(call))["result"] for call in calls]
    assert [answer.get("isError", False) for answer in answers] == [False] * 9 + [True]
    assert "unknown_response" in json.dumps(answers[-1])


async def test_a_cancelled_notification_closes_the_upstream_request() -> None:
    with slow_backend() as backend:
        async with raw_server(*SLOW, env=backend_environment(backend)) as server:
            await server.initialize()
            call = await server.start_call("chat", prompt="x")
            (request,) = await backend.wait_requests_async(1)
            await server.notify("notifications/cancelled", requestId=call)
            assert await request.wait_gone_async(1.0)
            assert await server.ask("ping") == {}


async def test_a_call_and_its_cancellation_may_arrive_together() -> None:
    with slow_backend() as backend:
        async with raw_server(*SLOW, env=backend_environment(backend)) as server:
            await server.initialize()
            await server.start_call("chat", prompt="first")  # what a first call loads is there from now on
            await backend.wait_requests_async(1)
            params = {"name": "chat", "arguments": {"prompt": "dropped"}}
            call = {"jsonrpc": "2.0", "id": 700, "method": "tools/call", "params": params}
            cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 700}}
            await server.write(b"".join(json.dumps(message).encode() + b"\n" for message in (call, cancel)))
            await server.start_call("chat", prompt="last")
            while "last" not in [prompt_of(request) for request in backend.requests]:
                await backend.wait_requests_async(len(backend.requests) + 1)
            for request in backend.requests:
                assert prompt_of(request) != "dropped" or await request.wait_gone_async(1.0)


async def test_a_notification_with_an_id_that_is_null_is_one() -> None:
    async with raw_server(command=PROBE) as server:
        await server.initialize()
        await server.write(b'{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}\n')
        assert await server.ask("ping") == {}
        assert server.notifications == []


async def test_the_end_of_input_closes_upstream_requests_and_ends_the_process() -> None:
    with slow_backend() as backend:
        async with raw_server(*SLOW, env=backend_environment(backend)) as server:
            await server.initialize()
            await server.start_call("chat", prompt="x")
            (request,) = await backend.wait_requests_async(1)
            await server.end_input()
            assert await request.wait_gone_async(1.0)
            assert await server.exit_code(2) == 0


def pipes_of_a_host(kind: str) -> tuple[int, int, int, int]:
    """What a host writes to, the server's standard input and output, and what the host reads; the middle two do not
    block, as hosts on Node and others leave them."""
    if kind == "pipe":
        (given, asking), (heard, answering) = os.pipe(), os.pipe()
    else:
        one, other = socket.socketpair(), socket.socketpair()
        asking, given, heard, answering = (end.detach() for end in (*one, *other))
    for fd in (given, answering):
        os.set_blocking(fd, False)
    return asking, given, answering, heard


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_large_messages_pass_both_ways_where_the_host_made_pipes_non_blocking_and_reads_slowly(kind: str) -> None:
    asking, given, answering, heard = pipes_of_a_host(kind)
    info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    vectors = {"texts": ["x"] * 128, "dimensions": 256, "encoding": "base64"}
    calls = [{"name": "embed", "arguments": vectors} for _ in range(2)]
    calls += [{"name": "chat", "arguments": {"prompt": "x" * 1_000_000}}]
    messages: list[dict[str, Any]] = [
        {"id": 0, "method": "initialize", "params": info},
        {"method": "notifications/initialized"},
    ]
    messages += [{"id": n, "method": "tools/call", "params": call} for n, call in enumerate(calls, 1)]
    command = [*SERVER, "--model", "offline:", "--embed-model", "offline:"]
    with subprocess.Popen(command, stdin=given, stdout=answering) as server:
        os.close(given)
        os.close(answering)
        with open(asking, "wb") as questions:  # noqa: PTH123  # file descriptors
            questions.writelines(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in messages)
            questions.flush()  # all of it, before a word is read
            first = os.read(heard, 1)
            with open(heard, "rb", buffering=1000) as answers:  # noqa: PTH123
                lines = [first + answers.readline(), *(answers.readline() for _ in calls)]
        assert server.wait(10) == 0
    results = {answer["id"]: answer["result"] for answer in map(json.loads, lines)}
    assert sorted(results) == [0, 1, 2, 3]
    for number in (1, 2):
        encoded = results[number]["structuredContent"]["embeddings_base64"]
        assert [len(vector) for vector in encoded] == [1368] * 128
    assert results[3]["structuredContent"]["status"] == "complete"


def test_what_a_file_asks_for_is_answered_before_its_end_ends_the_process(tmp_path: Path) -> None:
    """The shortest way to try a server by hand: `unified-llm-mcp < questions`."""
    info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    asked = [("initialize", info), ("tools/list", {}), ("prompts/list", {}), ("ping", {})]
    questions = tmp_path / "questions"
    questions.write_text("\n".join(
        json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        for number, (method, params) in enumerate(asked)
    ))  # fmt: skip
    with questions.open() as given:
        done = subprocess.run(SERVER, stdin=given, capture_output=True, timeout=20, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(answer["id"] for answer in answers if "result" in answer) == [0, 1, 2, 3], answers


async def test_a_client_that_closes_its_reading_end_ends_the_process_and_upstream_requests() -> None:
    with slow_backend() as backend:
        async with raw_server(*SLOW, env=backend_environment(backend)) as server:
            await server.initialize()
            await server.start_call("chat", prompt="x")
            (request,) = await backend.wait_requests_async(1)
            await server.close_output()
            await server.write(b'{"jsonrpc":"2.0","id":9,"method":"ping"}\n')
            assert await request.wait_gone_async(1.0)
            assert await server.exit_code(2) == 0
            assert "closed our standard output" in await stderr_of(server)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_closes_upstream_requests_and_ends_the_process(number: signal.Signals) -> None:
    with slow_backend() as backend:
        async with raw_server(*SLOW, env=backend_environment(backend)) as server:
            await server.initialize()
            await server.start_call("chat", prompt="x")
            (request,) = await backend.wait_requests_async(1)
            server.process.send_signal(number)
            assert await request.wait_gone_async(1.0)
            assert await server.exit_code(2) == 128 + number


@pytest.mark.parametrize("how", ["end of input", "signal"])
async def test_a_provider_that_cannot_be_stopped_does_not_keep_the_process(how: str) -> None:
    async def end(provider: str) -> int:
        async with raw_server("--model", f"{provider}:", command=STUBBORN) as server:
            await server.initialize()
            await server.start_call("chat", prompt="50")
            assert await server.said("sleeping ") == "50"
            if how == "signal":
                server.process.send_signal(signal.SIGTERM)
            else:
                await server.end_input()
            return await server.exit_code(12)

    # Both at the same time: what takes long is the patience with them.
    codes = await asyncio.gather(end("blocking"), end("stubborn"))
    assert set(codes) == {128 + signal.SIGTERM if how == "signal" else 0}


async def test_providers_that_block_do_not_wait_for_each_other() -> None:
    async with raw_server("--model", "blocking:", command=STUBBORN) as server:
        await server.initialize()
        calls = [await server.start_call("chat", prompt="2") for _ in range(32)]
        for call in calls:
            answer = await server.answer(call, 8)  # with the six threads of a machine with two cores it takes 12 s
            assert answer["result"]["structuredContent"]["text"] == "done"


async def test_a_signal_while_idle_ends_the_process() -> None:
    async with raw_server(command=PROBE) as server:
        await server.initialize()
        server.process.send_signal(signal.SIGINT)
        assert await server.exit_code(2) == 128 + signal.SIGINT


def test_what_serving_raises_after_a_signal_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def serving() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("its streams were closed") from None

    assert run_until_signal(build_server(), serving()) == 128 + signal.SIGTERM
    gc.collect()  # which is when asyncio would complain
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


def test_what_a_library_left_running_is_cancelled_at_the_end() -> None:
    ended: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def watcher() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def serving() -> None:
        tasks.append(asyncio.create_task(watcher()))
        await asyncio.sleep(0)

    assert run_until_signal(build_server(), serving()) == 0
    assert ended == ["cancelled"]


async def test_answers_that_continue_in_the_background_end_with_the_client() -> None:
    with slow_backend() as backend:
        async with raw_server(*SLOW, "--max-wait", "0.05", env=backend_environment(backend)) as server:
            await server.initialize()
            result = await server.ask("tools/call", name="chat", arguments={"prompt": "x"})
            assert result["structuredContent"]["status"] == "running"
            (request,) = await backend.wait_requests_async(1)
            assert not request.gone.is_set()
            await server.end_input()
            assert await request.wait_gone_async(1.0)


async def test_a_key_that_a_server_quotes_is_in_no_result_and_no_log() -> None:
    key = "sk-proj-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
    refused = json_reply({"error": {"message": f"Incorrect API key provided: {key}"}}, 401)
    with WireServer(refused) as backend:
        env = {**backend_environment(backend), "OPENAI_COMPATIBLE_API_KEY": key}
        async with raw_server(*SLOW, "--log-level", "debug", env=env) as server:
            await server.initialize()
            result = await server.ask("tools/call", name="chat", arguments={"prompt": "x"})
            await server.end_input()
            await server.exit_code(2)
            errors = await stderr_of(server)
        assert backend.requests[0].headers["authorization"] == f"Bearer {key}"
    assert result["_meta"]["io.github.unified-llm/error"]["category"] == "authentication"
    assert "DEBUG" in errors
    assert key not in json.dumps(result) + errors


async def stderr_of(server: RawServer) -> str:
    return (await asyncio.shield(server.errors)).decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tools", "chat,fly"], "unknown tool 'fly'"),
        (["--max-wait", "-1"], "max_wait"),
        (["--nonsense"], "--nonsense"),
    ],
)
async def test_wrong_options_end_the_process_with_a_message(arguments: list[str], said: str) -> None:
    async with raw_server(*arguments) as server:
        assert await server.exit_code(10) == 2
        assert said in await stderr_of(server)
