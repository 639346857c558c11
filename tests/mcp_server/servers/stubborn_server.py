"""A server process with providers that are hard to stop: `blocking` sleeps in a thread, `stubborn` ignores being told.

The prompt is the number of seconds.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator

from unified_llm import register_provider
from unified_llm.messages import Text
from unified_llm.providers.base import LLMProvider
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse
from unified_llm.stream import PartEnd, StreamEnd, StreamEvent, StreamStart
from unified_llm_mcp import main


class Blocking(LLMProvider):
    """Knows blocking calls only, as many providers of third parties."""

    name = "blocking"

    def chat(self, request: ChatRequest) -> ChatResponse:
        seconds = float(request.messages[-1].text)
        print(f"sleeping {seconds:g}", file=sys.stderr, flush=True)
        time.sleep(seconds)
        return ChatResponse("done", model="m", provider=self.name)

    def default_model(self) -> str:
        return "m"


class Stubborn(Blocking):
    """Goes on when it is cancelled."""

    name = "stubborn"

    async def stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        seconds = float(request.messages[-1].text)
        print(f"sleeping {seconds:g}", file=sys.stderr, flush=True)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue
        yield StreamStart("m")
        yield PartEnd(Text("done"))
        yield StreamEnd(ChatResponse("done", model="m", provider=self.name))


register_provider("blocking", Blocking)
register_provider("stubborn", Stubborn)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
