"""Runs several blocking questions at once, and takes what has been answered when the time is over."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

__all__ = ["gather"]

T = TypeVar("T")


def gather(jobs: Mapping[str, Callable[[], T]], seconds: float) -> dict[str, T | Exception]:
    """The result of each job, or what it raised, or a TimeoutError when it needed more than `seconds`.

    The threads are daemons: a job that never ends does not keep the command from ending.
    """
    done: queue.SimpleQueue[tuple[str, T | Exception]] = queue.SimpleQueue()

    def run(name: str, job: Callable[[], T]) -> None:
        try:
            done.put((name, job()))
        except Exception as exc:  # noqa: BLE001  # handed to the caller, who reports it
            done.put((name, exc))

    for name, job in jobs.items():
        threading.Thread(target=run, args=(name, job), name=f"gather-{name}", daemon=True).start()
    found: dict[str, T | Exception] = {}
    deadline = time.monotonic() + seconds
    while len(found) < len(jobs):
        try:
            name, result = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[name] = result
    late = TimeoutError(f"no answer within {seconds:g} s")
    return {name: found.get(name, late) for name in jobs}
