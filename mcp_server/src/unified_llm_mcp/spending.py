"""The limit of spending: a budget of the library, which holds what calls in flight may cost and counts what is cut."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from itertools import count

from unified_llm import Budget, UnifiedLLM

__all__ = ["Spending"]

_numbers = count(1)
_NOTHING = nullcontext()
MAX_MODELS = 10_000


class Spending:
    """Lets the calls of one server through while they stay below `limit_usd`; None: all of them.

    Pass `label` with each call: the client may serve others beside this server.
    """

    def __init__(self, client: UnifiedLLM, limit_usd: float | None) -> None:
        self.label: str | None = None
        self._limited = limit_usd is not None
        self._seen: set[str] = set()
        self._first = asyncio.Lock()
        if limit_usd is not None:
            self.label = f"unified-llm-mcp/{next(_numbers)}"
            client.add_hook(Budget(usd=limit_usd, label=self.label))
        _load_prices(client, at_once=self._limited)

    def learning(self, model: str) -> AbstractAsyncContextManager[None]:
        """Make the first call to a model alone: how much calls to it may take is known from those that were made.

        Otherwise a hundred calls at once would all be let through before the first of them is counted.
        """
        return self._alone(model) if self._limited and model not in self._seen else _NOTHING

    @asynccontextmanager
    async def _alone(self, model: str) -> AsyncIterator[None]:
        async with self._first:
            if model not in self._seen:
                yield
                if len(self._seen) < MAX_MODELS:
                    self._seen.add(model)
                return
        yield


def _load_prices(client: UnifiedLLM, *, at_once: bool) -> None:
    """Have the price list loaded before the first answer asks for it, which would hold up every other call."""
    if "genai_prices" in sys.modules:
        return
    thread = threading.Thread(target=client.prices.price, args=("claude", ""), name="mcp-prices", daemon=True)
    thread.start()
    if at_once:
        thread.join()
