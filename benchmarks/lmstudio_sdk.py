"""What a chat with LM Studio costs over its SDK's websockets, next to the SDK's own handle doing the same.

    uv run python -m benchmarks.lmstudio_sdk [--rounds 5] [--calls 200] [--fragments 2000]

The server is the strict double of the tests, in a process of its own; a figure is the CPU of the client's process, and
the answers are checked. Targets: a call at most 1.5 times the kept SDK handle's, a fragment at most the SDK's own.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
TEXT = "Why is the sky blue?"


def serve() -> None:
    """Run the double until stdin ends; prints its address. A line with a number: so many fragments from here on."""
    sys.path.insert(0, str(SUPPORT))
    from testkit import lmstudio_ws_double as kit

    class Double(kit.LMStudioDouble):
        count = 1

        def next_item(self, parameter: object) -> kit.Item:
            return kit.Say("x" * 6 * self.count)

    with Double() as studio:
        print(studio.host, flush=True)
        for line in sys.stdin:
            studio.count = int(line)
            studio.predictions.clear()
            studio.calls.clear()
            print("ok", flush=True)


class Server:
    """The double in another process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.lmstudio_sdk", "--serve"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.host = self._process.stdout.readline().strip()

    def say(self, fragments: int) -> None:
        """Answer with so many fragments from here on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(fragments, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "ok\n"

    def close(self) -> None:
        self._process.communicate()


def cpu(work: Callable[[], object], times: int) -> float:
    """CPU seconds of this process, all threads, for each run of `work`."""
    work()
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def measure(server: Server, calls: int, fragments: int) -> dict[str, tuple[float, float]]:
    """Case -> CPU seconds of the SDK and of this library."""
    import lmstudio

    from unified_llm import UnifiedLLM

    found: dict[str, tuple[float, float]] = {}
    llm = UnifiedLLM(provider="lmstudio", base_url=f"http://{server.host}/v1", model="tiny")
    client = lmstudio.Client(server.host)
    handle = client.llm.model("tiny")

    def check(text: str, count: int) -> None:
        assert len(text) == 6 * count, f"{len(text)} characters instead of {6 * count}"

    server.say(1)
    found["call, sync"] = (
        cpu(lambda: check(handle.respond(TEXT).content, 1), calls),
        cpu(lambda: check(llm.chat(TEXT), 1), calls),
    )
    server.say(fragments)

    def sdk_stream() -> None:
        check("".join(f.content for f in handle.respond_stream(TEXT)), fragments)

    def our_stream() -> None:
        with llm.stream(TEXT) as stream:
            check("".join(stream.text()), fragments)

    found["fragment, sync"] = (cpu(sdk_stream, 2) / fragments, cpu(our_stream, 2) / fragments)
    client.close()
    llm.close()
    return found | asyncio.run(measure_async(server, calls, fragments))


async def measure_async(server: Server, calls: int, fragments: int) -> dict[str, tuple[float, float]]:
    """`measure`, inside an event loop."""
    import lmstudio

    from unified_llm import UnifiedLLM

    async def timed(work: Callable[[], object], times: int) -> float:
        await work()  # type: ignore[misc]
        start = time.process_time()
        for _ in range(times):
            await work()  # type: ignore[misc]
        return (time.process_time() - start) / times

    llm = UnifiedLLM(provider="lmstudio", base_url=f"http://{server.host}/v1", model="tiny")
    async with lmstudio.AsyncClient(server.host) as client:
        handle = await client.llm.model("tiny")

        async def sdk_call() -> None:
            assert len((await handle.respond(TEXT)).content) == 6

        async def our_call() -> None:
            assert len(await llm.chat_async(TEXT)) == 6

        async def sdk_stream() -> None:
            texts = [f.content async for f in await handle.respond_stream(TEXT)]
            assert len(texts) == fragments

        async def our_stream() -> None:
            async with llm.stream_async(TEXT) as stream:
                assert len([text async for text in stream.text()]) == fragments

        await asyncio.to_thread(server.say, 1)
        calls_found = (await timed(sdk_call, calls), await timed(our_call, calls))
        await asyncio.to_thread(server.say, fragments)
        pieces = ((await timed(sdk_stream, 2)) / fragments, (await timed(our_stream, 2)) / fragments)
    await llm.aclose()
    return {"call, async": calls_found, "fragment, async": pieces}


def main() -> None:
    """Measure in rounds, and print the best of each: what else runs on the machine only ever adds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--fragments", type=int, default=2000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    server = Server()
    try:
        rounds = [measure(server, options.calls, options.fragments) for _ in range(options.rounds)]
    finally:
        server.close()
    print(f"{'':16} {'lmstudio SDK':>14} {'unified-llm':>14} {'ratio':>7}")
    for case in rounds[0]:
        sdk, ours = (min(r[case][i] for r in rounds) for i in (0, 1))
        print(f"{case:16} {sdk * 1e6:11.0f} us {ours * 1e6:11.0f} us {ours / sdk:7.2f}")


if __name__ == "__main__":
    main()
