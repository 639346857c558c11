"""One client doing one case in a fresh process: ``python -m benchmarks.worker CLIENT CASE URL`` prints JSON.

The figure is this process's own CPU seconds per unit of work (the server runs elsewhere); for calls in flight it is
calls per second of wall time.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from benchmarks import payloads
from benchmarks.cases import CASES, Case, check


def measure(case: Case, work: Callable[[], Any]) -> float:
    """Warm up, check the answer, and return the figure."""
    for _ in range(case.warm):
        check(case, _whole(case, work()))
    started = time.process_time()
    for _ in range(case.count):
        _whole(case, work())
    return (time.process_time() - started) / case.count / _units(case)


def _whole(case: Case, result: Any) -> Any:
    return list(result) if case.kind == "stream" else result


def _units(case: Case) -> int:
    return payloads.CHUNKS if case.unit == "chunk" else 1


async def measure_async(case: Case, work: Callable[[], Any]) -> float:
    """`measure`, for coroutines and asynchronous iterators."""
    once = _drain if case.kind == "async stream" else _await
    for _ in range(case.warm):
        check(case, await once(work()))
    started = time.process_time()
    for _ in range(case.count):
        await once(work())
    return (time.process_time() - started) / case.count / _units(case)


async def _await(result: Awaitable[Any]) -> Any:
    return await result


async def _drain(pieces: AsyncIterator[str]) -> Iterable[str]:
    return [piece async for piece in pieces]


async def measure_flight(case: Case, work: Callable[[], Awaitable[Any]]) -> float:
    """Calls per second with `case.at_once` of them under way all the time."""

    async def line(length: int) -> None:
        for _ in range(length):
            check(case, await work())

    await asyncio.gather(*(line(1) for _ in range(case.at_once)))
    started = time.perf_counter()
    await asyncio.gather(*(line(case.count // case.at_once) for _ in range(case.at_once)))
    return case.count / (time.perf_counter() - started)


def main(client: str, name: str, url: str) -> None:
    """Run and print."""
    case = next(c for c in CASES if c.name == name)
    module = importlib.import_module(f"benchmarks.clients.{client}")
    make = getattr(module, name)

    async def run() -> float:  # clients are made inside the loop they work in
        work = make(url)
        return await (measure_flight if case.kind == "flight" else measure_async)(case, work)

    asynchronous = case.kind in ("async call", "async stream", "flight")
    figure = asyncio.run(run()) if asynchronous else measure(case, make(url))
    print(json.dumps({"figure": figure}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
