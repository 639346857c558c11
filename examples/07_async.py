"""Ask many questions at once, and stream, in one event loop.

uv run python examples/07_async.py [provider:model]
"""

import asyncio
import sys

from unified_llm import UnifiedLLM

CITIES = ["Paris", "Oslo", "Nairobi", "Lima", "Osaka"]


async def main(model: str | None = None) -> None:
    async with UnifiedLLM(model=model) as llm:
        answers = await asyncio.gather(*(llm.chat_async(f"One fact about {city}.", max_tokens=60) for city in CITIES))
        for city, answer in zip(CITIES, answers, strict=True):
            print(f"{city}: {answer.splitlines()[0]} ({answer.usage.output_tokens} tokens)")

        print()
        async with llm.stream_async("Count from one to five.") as stream:
            async for text in stream.text():
                print(text, end="", flush=True)
        print()

        # A deadline of your own: cancelling the task closes the request.
        try:
            async with asyncio.timeout(0):
                await llm.chat_async("Think for a very long time.")
        except TimeoutError:
            print("\ncancelled, and the server was told")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))
