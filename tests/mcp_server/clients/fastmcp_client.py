"""The client of fastmcp, configured as desktop programs are."""

# Runs in an environment of its own, with other packages.
# mypy: ignore-errors

import asyncio
import json
import sys

from fastmcp import Client


async def main(command: list[str]) -> None:
    config = {"mcpServers": {"llm": {"command": command[0], "args": command[1:]}}}
    async with Client(config) as client:
        tools = [tool.name for tool in await client.list_tools()]
        result = await client.call_tool("chat", {"prompt": "Hi", "model": "offline:"})
        wrong = await client.call_tool("chat", {"prompt": "Hi", "modle": "x"}, raise_on_error=False)
        print(json.dumps({"tools": tools, "answer": result.content[0].text, "refused": wrong.is_error}))


asyncio.run(main(sys.argv[1:]))
