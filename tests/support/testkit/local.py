"""A driver of tiny GGUF models for tests, and eyes on the process behind it."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from unified_llm.drivers.llamacpp import EngineOptions, EngineSpec, LlamaCppDriver
from unified_llm.drivers.llamacpp_engine import LoadedModel
from unified_llm.wire import WireCall

__all__ = ["OPTIONS", "chat_call", "driver_of", "ended", "idle", "slots", "wait"]

OPTIONS = EngineOptions(n_ctx=2048, n_threads=1)


def driver_of(path: Path, options: EngineOptions = OPTIONS, *, pooling: int | None = None) -> LlamaCppDriver:
    """A driver that runs `path` under whatever name it is asked for."""

    def locate(name: str, kind: Literal["chat", "embedding"]) -> EngineSpec:
        return EngineSpec(path, kind, options, name, pooling)

    return LlamaCppDriver(locate)


def chat_call(text: str = "Hello", **body: Any) -> WireCall:
    """A chat call; at temperature 0 the tiny model goes on until `max_tokens` or the end of its context."""
    messages = [{"role": "user", "content": text}]
    return WireCall("chat/completions", json.dumps({"model": "tiny", "messages": messages, **body}).encode())


def slots(model: LoadedModel) -> list[dict[str, Any]]:
    """What each slot of the engine does."""
    found: list[dict[str, Any]] = json.loads(model.root.send(WireCall("slots", method="GET")).body)
    return found


def idle(model: LoadedModel) -> bool:
    """Whether the engine computes nothing."""
    return not any(slot["is_processing"] for slot in slots(model))


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` became true within `seconds`."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.005)
    return True


def ended(pid: int) -> bool:
    """Whether there is no process `pid`, or only its last entry in the table."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return state == "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
