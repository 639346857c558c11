"""Several deployments of one model, what calls cost, and a budget that stops them in time.

uv run python examples/12_deployments_and_costs.py [provider:model]

Without a model, the offline provider plays two deployments. Its calls are given a price, to have something to count.
"""

import asyncio
import sys

from unified_llm import (
    Budget,
    BudgetExceeded,
    CallInfo,
    Deployment,
    Price,
    PriceTable,
    UnifiedLLM,
    UsageHooks,
    UsageRecord,
)

QUOTA = {"summaries": 2}


class Quota:
    """A gate: it is asked before each call, and what it raises stops the call."""

    def before_call(self, info: CallInfo) -> None:
        left = QUOTA.get(info.label or "", 1)
        if left <= 0:
            raise RuntimeError(f"the quota of {info.label!r} is used up")

    async def on_end(self, info: CallInfo) -> None:  # hooks may be coroutine functions
        if info.label in QUOTA:
            QUOTA[info.label] -= 1

    def on_fallback(self, info: CallInfo, error: object) -> None:
        print(f"  ({type(error).__name__}: now asking {info.target})")


def note(record: UsageRecord) -> None:
    cost = "?" if record.cost is None else f"{record.cost:.6f}"
    print(f"  {record.provider}:{record.model} {record.label}: {record.usage.total_tokens} tokens, {cost} USD")


def count(cost: float | None, model: str | None) -> None:
    """A counter of two arguments; one of eleven is `save`."""
    SPENT.append(cost)


async def save(cost: float | None, model: str | None, operation: str, *rest: object) -> None:
    SAVED.append((operation, cost, *rest))


SPENT: list[float | None] = []
SAVED: list[tuple[object, ...]] = []


def main(model: str | None = None) -> None:
    deployments = [
        # Nothing listens on port 9 of this machine: the second deployment takes over.
        Deployment("openai-compatible:m", 1, {"base_url": "http://127.0.0.1:9/v1", "api_key": "its-own-key"}),
        Deployment(model or "offline:echo", 1),
    ]
    llm = UnifiedLLM(
        model="fast",
        deployments={"fast": deployments},
        strategy="order",
        max_retries=0,
        prices=PriceTable({"offline:*": Price(input=1.0, output=4.0)}),
        on_usage=note,
        hooks=[
            Quota(),
            budget := Budget(tokens=400),
            UsageHooks(count, get_usage=lambda: len(SPENT) < 1000),
            UsageHooks(save),
        ],
    )
    with llm:
        print("two summaries:")
        for text in ("one", "two"):
            llm.chat(f"Summarise: {text}", label="summaries")
        try:
            llm.chat("Summarise: three", label="summaries")
        except RuntimeError as exc:
            print(f"stopped: {exc}")

        print("as long as the budget lasts:")
        try:
            for _ in range(100):
                asyncio.run(llm.chat_async("Hello", max_tokens=100))
        except BudgetExceeded as exc:
            print(f"stopped: {exc.message}")

        total = llm.usage.total()
        print(f"in all: {total.calls} calls, {budget.spent_tokens} tokens, {total.cost:.6f} USD")
        print(f"counted by hooks: {len(SPENT)} with two arguments, {len(SAVED)} with eleven; the last: {SAVED[-1]}")
        print(f"by label: {', '.join(f'{k}: {v.calls}' for k, v in llm.usage.by_label().items())}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
