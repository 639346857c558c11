"""`unified-llm models pull` against a hub on loopback: progress, resuming, what to do next."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.cli import run_cli
from testkit.wire_server import HANG, Answer, Request, WireServer, head, json_reply, reply

FILE = "tiny-Q8_0.gguf"


class Hub:
    """A hub with one repository of one file. The first `broken` downloads hang after half of it."""

    def __init__(self, content: bytes, broken: int = 0) -> None:
        self.content = content
        self.broken = broken

    def __call__(self, request: Request) -> Answer:
        path = request.target.partition("?")[0]
        if path == "/api/models/me/tiny-GGUF":
            large = {"sha256": hashlib.sha256(self.content).hexdigest(), "size": len(self.content), "pointerSize": 134}
            siblings = [{"rfilename": FILE, "size": len(self.content), "lfs": large}]
            return json_reply({"id": "me/tiny-GGUF", "modelId": "me/tiny-GGUF", "sha": "abc", "siblings": siblings})
        if path == f"/me/tiny-GGUF/resolve/abc/{FILE}":
            return self._download(request)
        return json_reply({"error": "Repository not found"}, 404, {"x-error-code": "RepoNotFound"})

    def _download(self, request: Request) -> Answer:
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        rest = self.content[start:]
        if self.broken:
            self.broken -= 1
            return [head(200, {"content-length": str(len(rest))}) + rest[: len(rest) // 2], HANG]
        return reply(206 if start else 200, rest)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models are downloaded to; the hub's own files stay in the test's folder too."""
    monkeypatch.setenv("UNIFIED_LLM_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path / "models"


def pulled(hub: Hub, monkeypatch: pytest.MonkeyPatch, *argv: str, terminal: bool = False) -> tuple[int, str, str]:
    with WireServer(hub) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        result = run_cli("models", "pull", *(argv or ("me/tiny-GGUF",)), terminal=terminal)
    return result.code, result.out, result.err


def test_the_path_is_on_stdout_and_the_next_step_on_stderr(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tiny_chat_gguf: Path
) -> None:
    code, out, err = pulled(Hub(tiny_chat_gguf.read_bytes()), monkeypatch)
    assert (code, out) == (0, f"{folder / 'me' / 'tiny-GGUF' / FILE}\n")
    assert Path(out.strip()).read_bytes() == tiny_chat_gguf.read_bytes()
    assert "next: unified-llm chat --model local:me/tiny-GGUF" in err
    assert f"{FILE}: 0.0 of 0.5 MB" in err
    (command,) = [line for line in err.splitlines() if line.startswith("next: ")]
    reference = command.split()[4]
    answered = run_cli("chat", "Hi", "--model", reference, "--max-tokens", "8", "--temperature", "0")
    assert answered.code == 0
    assert answered.out.strip()


def test_an_embedding_model_is_for_embed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tiny_embedding_gguf: Path
) -> None:
    _, _, err = pulled(Hub(tiny_embedding_gguf.read_bytes()), monkeypatch)
    assert "next: unified-llm embed --model local:" in err


def test_json_names_the_file_and_its_reference(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tiny_chat_gguf: Path
) -> None:
    with WireServer(Hub(tiny_chat_gguf.read_bytes())) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        result = run_cli("models", "pull", f"me/tiny-GGUF:{FILE}", "--json")
    assert result.json["path"] == str(folder / "me" / "tiny-GGUF" / FILE)
    assert result.json["ref"].startswith("local:")
    assert result.json["size_bytes"] == tiny_chat_gguf.stat().st_size


def test_a_terminal_gets_a_bar(folder: Path, monkeypatch: pytest.MonkeyPatch, tiny_chat_gguf: Path) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    code, _, err = pulled(Hub(tiny_chat_gguf.read_bytes()), monkeypatch, terminal=True)
    assert code == 0
    assert FILE in err
    assert "MB/s" in err or "kB" in err or "?" in err


def test_a_download_interrupted_with_ctrl_c_goes_on_where_it_stopped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tiny_chat_gguf: Path
) -> None:
    content = tiny_chat_gguf.read_bytes().ljust(4_000_000, b"\0")
    hub = Hub(content, broken=1)
    with WireServer(hub) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        command = [sys.executable, "-m", "unified_llm", "models", "pull", "me/tiny-GGUF"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            while ": 2.0 of 4.0 MB" not in (line := process.stderr.readline()):
                assert line, "the download ended before it was interrupted"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "goes on where it stopped" in err
        assert run_cli("models", "pull", "me/tiny-GGUF").code == 0
        assert server.requests[-1].headers["range"] == "bytes=2000000-"
    assert (folder / "me" / "tiny-GGUF" / FILE).read_bytes() == content


def test_a_repository_that_is_not_there_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = pulled(Hub(b""), monkeypatch, "me/nothing")
    assert (code, out) == (1, "")
    assert "me/nothing" in err
    assert "check the spelling" in err


def test_what_is_no_repository_is_something_to_correct(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = pulled(Hub(b""), monkeypatch, "just-a-name")
    assert code == 3
    assert "OWNER/NAME" in err


def test_without_huggingface_hub_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    code, _, err = pulled(Hub(b""), monkeypatch)
    assert code == 3
    assert 'pip install "unified-llm[local]"' in err
