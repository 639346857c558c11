"""``python -m benchmarks``: start the server, run every client on every case in turn, print the table."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pkgutil
import resource
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import clients as client_package
from benchmarks import report
from benchmarks.cases import CASES, Case

ROOT = Path(__file__).parent.parent
FIRST = (report.YARDSTICK, "unified", "unified_aiohttp")


def all_clients() -> list[str]:
    """The yardstick, ours, then the others."""
    found = sorted(m.name for m in pkgutil.iter_modules(client_package.__path__))
    return [*FIRST, *(name for name in found if name not in FIRST)]


def environment() -> dict[str, str]:
    """Ours, without proxies and keys, and with what keeps other clients from reporting home."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith(("_proxy", "_api_key", "_base_url"))}
    silent = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LANGSMITH_TRACING": "false"}
    return kept | silent | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


@contextmanager
def server() -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def constants(client: str) -> tuple[tuple[str, ...], str, set[str]]:
    """`REQUIRES`, `IMPORT` and the cases of a client, read without importing what it needs."""
    namespace: dict[str, object] = {}
    text = (Path(client_package.__path__[0]) / f"{client}.py").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith(("REQUIRES = ", "IMPORT = ")):
            exec(line, namespace)  # our own files
    names = {case.name for case in CASES if f"\ndef {case.name}(" in text or f"\n{case.name} = " in text}
    names |= {c.name for c in CASES if c.kind == "flight" and "\nin_flight_64 = in_flight_256 = " in text}
    requires, statement = namespace["REQUIRES"], namespace["IMPORT"]
    assert isinstance(requires, tuple)
    return requires, str(statement), names | {"import"}


def run(client: str, case: Case, url: str, statement: str) -> float | str:
    """The figure, or the last line of what went wrong."""
    if case.kind == "import":
        return import_cost(statement)
    command = [sys.executable, "-m", "benchmarks.worker", client, case.name, url]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), cwd=ROOT, timeout=600, check=False
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1]
    return float(json.loads(done.stdout.splitlines()[-1])["figure"])


def import_cost(statement: str) -> float:
    """CPU seconds of a process that runs `statement`, without those of an empty one."""
    return _process_cost(statement) - _process_cost("pass")


def _process_cost(statement: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], env=environment(), cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured, in turn (3)")
    names, every = all_clients(), [case.name for case in CASES]
    parser.add_argument("--clients", nargs="+", metavar="NAME", choices=names, default=names, help=" ".join(names))
    parser.add_argument("--cases", nargs="+", metavar="NAME", choices=every, default=every, help=" ".join(every))
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if case.name in options.cases]
    clients = list(dict.fromkeys([report.YARDSTICK, *options.clients]))
    known = {client: constants(client) for client in clients}
    absent = {c: "not installed" for c in clients if not all(importlib.util.find_spec(m) for m in known[c][0])}
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    with server() as url:
        for number in range(options.rounds):
            for case in cases:
                for client in clients:
                    if client in absent or case.name not in known[client][2]:
                        continue
                    result = run(client, case, url, known[client][1])
                    if isinstance(result, str):
                        print(f"{client} {case.name}: {result}", file=sys.stderr)
                    else:
                        figures[client, case.name].append(result)
                print(f"round {number + 1}: {case.name}", file=sys.stderr, flush=True)
    print("Ratios to raw httpx: CPU of the client's process, and calls per second for calls in flight.\n")
    print(report.table(figures, clients, cases, absent))
    print()
    print(report.targets(figures, cases))


if __name__ == "__main__":
    main()
