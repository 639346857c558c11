"""The official Python client of the 1.x line."""

# Runs in an environment of its own, with other packages.
# mypy: ignore-errors

import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(command: list[str]) -> None:
    parameters = StdioServerParameters(command=command[0], args=command[1:])
    async with stdio_client(parameters) as (incoming, outgoing), ClientSession(incoming, outgoing) as session:
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        result = await session.call_tool("chat", {"prompt": "Hi", "model": "offline:"})
        wrong = await session.call_tool("chat", {"prompt": "Hi", "modle": "x"})
        print(json.dumps({"tools": tools, "answer": result.content[0].text, "refused": wrong.isError}))


asyncio.run(main(sys.argv[1:]))
