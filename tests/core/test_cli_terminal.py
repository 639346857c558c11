"""A real terminal: typing, Ctrl-C, Ctrl-D. Each test is a process behind a pseudo terminal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.cli import Terminal
from testkit.wire_server import HANG, WireServer, sse

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")


def chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def delta(text: str) -> dict[str, object]:
    return chunk({"role": "assistant", "content": text})


STOP = chunk({}, "stop")


def test_a_conversation_is_typed_interrupted_and_goes_on() -> None:
    hanging = sse([delta("Once upon"), delta(" a time"), HANG], end=False)
    finished = sse([delta("Fine."), STOP, "[DONE]"])
    with (
        WireServer(hanging, finished) as server,
        Terminal("chat", "--base-url", f"{server.url}/v1", "-m", "m") as terminal,
    ):
        terminal.wait_for("> ")
        terminal.type("Tell me a story\n")
        terminal.wait_for("Once upon a time")
        terminal.type("\x03")
        assert server.requests[0].wait_gone(2.0), "Ctrl-C must close the request upstream"
        terminal.wait_for("what has come is kept")
        terminal.wait_for("> ")
        terminal.type("Go on\n")
        terminal.wait_for("Fine.")
        terminal.wait_for("> ")
        terminal.type("\x04")
        assert terminal.wait_end() == 0
        messages = server.requests[1].json()["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert messages[0]["content"] == "Tell me a story"
    assert messages[1]["content"] == "Once upon a time\n\n[interrupted by the user]"


def test_a_prompt_interrupted_before_the_first_word_is_offered_again() -> None:
    pytest.importorskip("readline")
    with (
        WireServer([HANG], sse([delta("Fine."), STOP, "[DONE]"])) as server,
        Terminal("chat", "--base-url", f"{server.url}/v1", "-m", "m") as terminal,
    ):
        terminal.wait_for("> ")
        terminal.type("Tell me a story\n")
        server.wait_requests(1)
        terminal.type("\x03")
        assert server.requests[0].wait_gone(2.0)
        terminal.wait_for("> Tell me a story")
        terminal.type(" about cats\n")
        terminal.wait_for("Fine.")
        terminal.wait_for("> ")
        terminal.type("/quit\n")
        assert terminal.wait_end() == 0
        messages = server.requests[1].json()["messages"]
    assert [m["content"] for m in messages] == ["Tell me a story about cats"]


def test_ctrl_c_spares_the_model_that_runs_beside_this_process(tiny_chat_gguf: Path) -> None:
    """Ctrl-C goes to every process of the terminal: the engine's must live on for the next message."""
    endless = ("--temperature", "0", "--max-tokens", "6000")  # the tiny model never ends by itself at 0
    with Terminal("chat", "-m", f"local:{tiny_chat_gguf}", *endless) as terminal:
        for message in ("Hello", "Again"):
            terminal.wait_for("> ")
            terminal.type(f"{message}\n")
            terminal.wait_for(f"{message}\n")
            terminal.wait_for("t")  # the first letters of the answer
            terminal.type("\x03")
            terminal.wait_for("interrupted")
        terminal.wait_for("> ")
        terminal.type("\x04")
        assert terminal.wait_end() == 0
        assert "Traceback" not in terminal.seen


def test_ctrl_c_at_the_prompt_does_not_leave() -> None:
    with Terminal("chat", "-p", "offline") as terminal:
        terminal.wait_for("> ")
        terminal.type("half a thou")
        terminal.wait_for("half a thou")
        terminal.press_until("\x03", "Ctrl-D or /quit to leave")
        terminal.wait_for("> ")
        terminal.type("\x04")
        assert terminal.wait_end() == 0


def start(server: WireServer, *options: str) -> subprocess.Popen[bytes]:
    """`chat` in a process of its own, asking `server`; its streams are pipes."""
    address = ("--base-url", f"{server.url}/v1", "-m", "m")
    return subprocess.Popen(
        [sys.executable, "-m", "unified_llm", "chat", "Hi", *address, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_one_prompt_interrupted_prints_what_came_and_exits_130() -> None:
    with WireServer(sse([delta("Once upon"), HANG], end=False)) as server, start(server) as process:
        assert process.stdout is not None
        assert process.stdout.read(9) == b"Once upon"
        process.send_signal(signal.SIGINT)
        assert server.requests[0].wait_gone(2.0)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == b"\n"
    assert err == b"interrupted\n"


def test_json_interrupted_is_the_partial_answer() -> None:
    answer = sse([delta("Once upon"), HANG], end=False)
    with WireServer(answer) as server, start(server, "--json", "--stream") as process:
        assert process.stdout is not None
        while json.loads(process.stdout.readline())["type"] != "text_delta":
            pass
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    last = json.loads(out.splitlines()[-1])
    assert last["response"]["text"] == "Once upon"
    assert last["response"]["finish_reason"] == "cancelled"


def test_a_reader_that_leaves_ends_the_request_quietly() -> None:
    endless = sse([delta("line 1\n"), *[delta("more\n")] * 3000, HANG], end=False)
    with WireServer(endless) as server, start(server) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line 1\n"
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == b""
        assert server.requests[0].wait_gone(2.0)


def test_confirm_asks_on_the_terminal_when_the_prompt_is_piped(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("def now() -> str:\n    return 'noon'\n", encoding="utf-8")
    code = (
        "import io\n"
        "from testkit.cli import scripted_provider\n"
        "from unified_llm.cli import main\n"
        "from unified_llm.messages import ToolCall\n"
        "sys.stdin = io.TextIOWrapper(io.BytesIO(b'What time is it?'))\n"
        "with scripted_provider(ToolCall('now', {}), 'It is noon.'):\n"
        "    sys.exit(main(sys.argv[1:]))\n"
    )
    support = str(Path(__file__).parents[1] / "support")
    arguments = ("chat", "-m", "scripted:", "--tools", str(tmp_path / "t.py"), "--confirm")
    with Terminal(*arguments, code=code, env={"PYTHONPATH": support}) as terminal:
        terminal.wait_for("run now()? [y/N]")
        terminal.type("y\n")
        terminal.wait_for("It is noon.")
        assert terminal.wait_end() == 0
