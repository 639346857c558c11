"""A LlamaIndex application that has our server's tools through llama-index-tools-mcp."""

# Runs in an environment of its own, with other packages.
# mypy: ignore-errors

import asyncio
import json
import sys

from llama_index.tools.mcp import BasicMCPClient, McpToolSpec


async def main(command: list[str]) -> None:
    spec = McpToolSpec(client=BasicMCPClient(command[0], args=command[1:]))
    tools = {tool.metadata.name: tool for tool in await spec.to_tool_list_async()}
    output = await tools["chat"].acall(prompt="Hi", model="offline:")
    wrong = await tools["chat"].acall(prompt="Hi", model="offline:", temperature=9)
    refused = "temperature" in str(wrong)
    print(json.dumps({"tools": list(tools), "answer": str(output), "refused": refused}))


asyncio.run(main(sys.argv[1:]))
