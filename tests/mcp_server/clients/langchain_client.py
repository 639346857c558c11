"""A LangChain application that has our server's tools through langchain-mcp-adapters."""

# Runs in an environment of its own, with other packages.
# mypy: ignore-errors

import asyncio
import json
import sys

from langchain_mcp_adapters.client import MultiServerMCPClient


async def main(command: list[str]) -> None:
    client = MultiServerMCPClient({"llm": {"transport": "stdio", "command": command[0], "args": command[1:]}})
    tools = {tool.name: tool for tool in await client.get_tools()}
    call = {"type": "tool_call", "id": "1", "name": "chat", "args": {"prompt": "Hi", "model": "offline:"}}
    message = await tools["chat"].ainvoke(call)
    text = message.content if isinstance(message.content, str) else message.content[0]["text"]
    bad = await tools["chat"].ainvoke({**call, "args": {"prompt": "Hi", "model": "nobody-knows:x", "temperature": 9}})
    print(json.dumps({"tools": list(tools), "answer": text, "refused": bad.status == "error"}))


asyncio.run(main(sys.argv[1:]))
