"""What policy costs: CPU microseconds per call with everything switched on, over a client with none of it.

``python -m benchmarks.policy_overhead [--calls 5000] [--check]``

The provider answers at once from memory, so that only the client is measured. On: retries, a breaker, three limits,
two deployments with the least busy first, a fallback, a deadline, a budget in USD and one in tokens, and a hook. Usage
and cost are measured by themselves: the record of a call, its price, and the totals. Each figure is the best of several
rounds, taken in turn. ``--check`` fails when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

from unified_llm import (
    BreakerSettings,
    Budget,
    CallInfo,
    ChatRequest,
    ChatResponse,
    Deployment,
    Ledger,
    Limits,
    LLMProvider,
    Price,
    PriceTable,
    UnifiedLLM,
    Usage,
    register_provider,
)

TARGETS = {"policy, sync": 60.0, "policy, async": 60.0, "usage and cost": 40.0}
ROUNDS = 7


class Instant(LLMProvider):
    """Answers from memory."""

    name = "instant"

    def chat(self, request: ChatRequest) -> ChatResponse:
        return ChatResponse("hi", provider="instant", model=request.model, usage=Usage(100, 20))

    async def chat_async(self, request: ChatRequest) -> ChatResponse:
        return self.chat(request)


class Watch:
    """A hook that does nothing, twice."""

    def on_request(self, info: CallInfo) -> None: ...

    def on_response(self, info: CallInfo, response: object) -> None: ...


def prices() -> PriceTable:
    return PriceTable({"instant:*": Price(1.0, 5.0)})


def plain() -> UnifiedLLM:
    return UnifiedLLM("instant", model="instant:m", max_retries=0, prices=prices())


def everything() -> UnifiedLLM:
    return UnifiedLLM(
        "instant",
        model="pool",
        deployments={"pool": [Deployment("instant:m"), Deployment("instant:m", 2)]},
        strategy="least_busy",
        fallbacks=["instant:other"],
        max_retries=3,
        deadline=60,
        breaker=BreakerSettings(),
        limits={"instant": Limits(64, requests_per_minute=1e9, tokens_per_minute=1e12)},
        hooks=[Budget(usd=1e6), Budget(tokens=10**12), Watch()],
        prices=prices(),
    )


def sync_calls(llm: UnifiedLLM, count: int, **options: Any) -> float:
    """CPU microseconds per call."""
    started = time.process_time()
    for _ in range(count):
        llm.chat("Hello", **options)
    return (time.process_time() - started) / count * 1e6


def async_calls(llm: UnifiedLLM, count: int, **options: Any) -> float:
    """`sync_calls` on an event loop."""

    async def run() -> float:
        started = time.process_time()
        for _ in range(count):
            await llm.chat_async("Hello", **options)
        return (time.process_time() - started) / count * 1e6

    return asyncio.run(run())


def usage_and_cost(count: int) -> float:
    """CPU microseconds to price a call, make its record and add it up."""
    table, ledger = prices(), Ledger()
    info = CallInfo("chat", "instant", "m", "label")
    usage = Usage(1000, 200, 300, None, 50)
    started = time.process_time()
    for _ in range(count):
        cost = table.cost("instant", "m", usage)
        ledger.on_response(info, ChatResponse("hi", provider="instant", model="m", usage=usage, cost=cost))
    return (time.process_time() - started) / count * 1e6


def best(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(ROUNDS))


def measure(count: int) -> dict[str, tuple[float, float]]:
    """Name to (microseconds without, microseconds with)."""
    bare, full = plain(), everything()
    results = {}
    for name, calls in (("policy, sync", sync_calls), ("policy, async", async_calls)):
        pairs = [(calls(bare, count, label="b"), calls(full, count, label="b")) for _ in range(ROUNDS)]
        results[name] = (min(p[0] for p in pairs), min(p[1] for p in pairs))
    results["usage and cost"] = (0.0, best(lambda: usage_and_cost(count)))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    register_provider("instant", Instant)
    missed = []
    print(f"{'':16}{'without':>9}{'with':>9}{'more':>9}{'target':>9}   CPU microseconds per call")
    for name, (without, with_it) in measure(arguments.calls).items():
        more = with_it - without
        print(f"{name:16}{without:9.1f}{with_it:9.1f}{more:9.1f}{TARGETS[name]:9.0f}")
        missed += [name] if more > TARGETS[name] else []
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
