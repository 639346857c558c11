"""A server process whose probe waits for ever at the prompt "wait", and that can be asked how many streams are open.

The provider "counter" lists one model, whose id tells the number: what a client sees of its own cancellations.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from testkit.probe_provider import ProbeProvider
from unified_llm import ModelInfo, register_provider
from unified_llm.requests import ChatRequest
from unified_llm.stream import StreamEvent
from unified_llm_mcp import main

OPEN: list[ProbeProvider] = []


class Waiting(ProbeProvider):
    """Sends a first piece, and the rest a little later; never anything more at the prompt "wait"."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        OPEN.append(self)

    async def stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        self.gate = asyncio.Event()
        self.first_piece_before_gate = True
        if request.messages[-1].text != "wait":
            asyncio.get_running_loop().call_later(0.2, self.gate.set)
        async for event in super().stream_async(request):
            yield event


class Counter(ProbeProvider):
    """Its one model is called after the number of open streams."""

    name: ClassVar[str] = "counter"

    def __init__(self, **options: Any) -> None:
        super().__init__()

    async def list_models_async(self) -> list[ModelInfo]:
        return [ModelInfo(f"open-{sum(probe.open_now for probe in OPEN)}", self.name)]


register_provider("probe", Waiting)
register_provider("counter", Counter)

if __name__ == "__main__":
    sys.exit(main(["--model", "probe:", "--embed-model", "probe:", *sys.argv[1:]]))
