"""Which JSON library: ``python -m benchmarks.json_libraries`` measures the bodies this library really reads and writes.

orjson is a dependency because of this table. msgspec with typed structs is faster still on the smallest bodies, but it
refuses a body as soon as one field has another type than declared, and "OpenAI-compatible" servers disagree about types
(numbers as text, null for absent, objects for text): decoding into dictionaries and picking is what survives them.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import payloads


def _bodies() -> dict[str, bytes]:
    chunk = payloads.chat_stream().split(b"\r\n")[5].removeprefix(b"data: ").strip()
    request = {"model": payloads.MODEL, "messages": payloads.agent_messages(), "tools": payloads.tools()}
    return {
        "chat answer": payloads.chat_answer(),
        "streamed chunk": chunk,
        "agent request": json.dumps(request).encode(),
        "2,048 embeddings, base64": payloads.embeddings(0, payloads.VECTORS, encoded=True),
        "2,048 embeddings, numbers": payloads.embeddings(0, payloads.VECTORS, encoded=False),
    }


def _json_dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _libraries() -> dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]]:
    found: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {"json": (json.loads, _json_dumps)}
    if importlib.util.find_spec("orjson"):
        import orjson

        found["orjson"] = (orjson.loads, orjson.dumps)
    if importlib.util.find_spec("msgspec"):
        import msgspec.json

        found["msgspec"] = (msgspec.json.decode, msgspec.json.encode)
    return found


def _seconds(work: Callable[[], Any]) -> float:
    """The median of seven runs of about 50 ms each, per call."""
    started = time.perf_counter()
    work()
    times = max(1, int(0.05 / max(time.perf_counter() - started, 1e-7)))
    runs = []
    for _ in range(7):
        started = time.perf_counter()
        for _ in range(times):
            work()
        runs.append((time.perf_counter() - started) / times)
    return statistics.median(runs)


def main() -> None:
    """Measure and print."""
    libraries = _libraries()
    print("| body | " + " | ".join(f"{name} loads | {name} dumps" for name in libraries) + " |")
    print("|---" * (1 + 2 * len(libraries)) + "|")
    for title, body in _bodies().items():
        cells = []
        value = json.loads(body)
        for loads, dumps in libraries.values():
            if json.loads(dumps(loads(body))) != value:
                raise ValueError(f"{title}: not the same value")
            cells += [_shown(_seconds(partial(loads, body))), _shown(_seconds(partial(dumps, value)))]
        print(f"| {title} ({len(body):,} bytes) | " + " | ".join(cells) + " |", flush=True)


def _shown(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} us"


if __name__ == "__main__":
    main()
