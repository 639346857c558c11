"""A real llama.cpp server on loopback, in a process of its own.

`start_llama_server` returns once the model answers (about a second, most of it the child's start). The child ends
with its parent: it waits for the end of its standard input, so a killed test run leaves nothing behind.

    server = start_llama_server(write_tiny_gguf(tmp_path / "m.gguf"))
    httpx.post(server.v1_url + "/chat/completions", json=...)
    assert server.wait_idle(0.5)      # no slot is generating any more
    server.stop()                     # or server.kill(): as if it had crashed

Run as a script, this file is that child.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

__all__ = ["LlamaServer", "start_llama_server"]

Kind = Literal["chat", "embedding", "rerank"]


@dataclass(slots=True)
class LlamaServer:
    """A running server.

    Attributes:
        url: ``http://127.0.0.1:PORT``, base of the Anthropic dialect; `v1_url` is the base of the OpenAI dialect.
        model: the id under ``/v1/models``. llama.cpp answers to any other name, too.
        context: tokens of one slot's context window; parallel: how many requests run at once, the rest wait.
        api_key: what the server asks for, or None.
    """

    url: str
    model: str
    path: Path
    context: int
    parallel: int
    api_key: str | None
    process: subprocess.Popen[str] = field(repr=False)
    log: Path = field(repr=False)

    @property
    def v1_url(self) -> str:
        return self.url + "/v1"

    def get(self, path: str) -> Any:
        """Decoded JSON of ``GET url + path``."""
        request = urllib.request.Request(self.url + path)
        if self.api_key:
            request.add_header("Authorization", f"Bearer {self.api_key}")
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def slots(self) -> list[dict[str, Any]]:
        """State of each slot: ``is_processing``, ``id_task``, ``next_token[0].n_decoded``..."""
        found: list[dict[str, Any]] = self.get("/slots")
        return found

    def is_idle(self) -> bool:
        """Whether no slot is working on a request."""
        return not any(slot["is_processing"] for slot in self.slots())

    def wait_idle(self, seconds: float) -> bool:
        """Whether every slot was free within `seconds`."""
        return self._wait(self.is_idle, seconds)

    def wait_busy(self, seconds: float) -> bool:
        """Whether some slot was at work within `seconds`."""
        return self._wait(lambda: not self.is_idle(), seconds)

    @staticmethod
    def _wait(condition: Any, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while not condition():
            if time.monotonic() > deadline:
                return False
            pause.wait(0.005)
        return True

    def stop(self) -> None:
        """End the server and its process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        for pipe in (self.process.stdout, self.process.stdin):
            if pipe is not None:
                pipe.close()
        self.log.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the process at once, connections included, as a crash would."""
        self.process.kill()
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def start_llama_server(
    model: Path,
    *,
    kind: Kind = "chat",
    name: str | None = None,
    context: int = 2048,
    parallel: int = 2,
    api_key: str | None = None,
    port: int = 0,
) -> LlamaServer:
    """Serve `model` on a free loopback port (or on `port`). `context` is tokens per slot."""
    name = name or model.stem
    settings = {
        "path": str(model),
        "kind": kind,
        "name": name,
        "n_ctx": context * parallel,
        "n_parallel": parallel,
        "api_key": api_key,
        "port": port,
    }
    log = Path(tempfile.mkstemp(prefix="llama-server-", suffix=".log")[1])
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    server = LlamaServer(url, name, model, context, parallel, api_key, process, log)
    if not url.startswith("http://"):
        process.wait(5)
        reason = log.read_text("utf-8", "replace")[-4000:]
        server.kill()
        raise RuntimeError(f"llama.cpp did not start:\n{reason}")
    return server


def _serve(settings: dict[str, Any]) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = {settings["name"]}
    params.n_ctx = settings["n_ctx"]
    params.n_parallel = settings["n_parallel"]
    if hasattr(params, "hostnames"):
        params.hostnames = ["127.0.0.1"]
    else:  # older versions
        params.hostname = "127.0.0.1"
    params.port = settings["port"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_threads_http = 64  # a kept-alive connection holds one
    params.endpoint_slots = params.endpoint_metrics = True
    params.warmup = False
    params.verbosity = 1
    params.ui = False
    if settings["api_key"]:
        params.api_keys = [settings["api_key"]]
    if settings["kind"] != "chat":
        params.embedding = True
        pooling = xllamacpp.llama_pooling_type
        rank = settings["kind"] == "rerank"
        params.pooling_type = pooling.LLAMA_POOLING_TYPE_RANK if rank else pooling.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    import os

    _serve(json.loads(sys.argv[1]))
    os._exit(0)  # the engine's own tear-down waits for open connections
