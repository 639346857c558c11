"""One agent, any backend: only the model reference changes.

    python agent.py offline
    python agent.py claude:claude-sonnet-5-5
    python agent.py lmstudio:qwen/qwen3-8b
    python agent.py my-model http://127.0.0.1:8080/v1

Needs the package `langchain`.
"""
# ruff: noqa: T201

import sys

from langchain.agents import create_agent
from langchain_core.tools import tool

from langchain_unified_llm import ChatUnifiedLLM

TEMPERATURES = {"Paris": 21, "Oslo": 9}


@tool
def get_weather(city: str) -> str:
    """Current weather of a city."""
    return f"{TEMPERATURES.get(city, 15)} degrees, sunny in {city}"


def main(model: str = "offline", base_url: str | None = None) -> None:
    agent = create_agent(ChatUnifiedLLM(model=model, base_url=base_url), [get_weather])
    messages = agent.invoke({"messages": [("user", 'What is the weather in "Paris"? Call get_weather.')]})["messages"]
    for message in messages:
        print(f"{message.type}: {message.text or message.tool_calls}")
    print("answered by", messages[-1].response_metadata["model_provider"])


if __name__ == "__main__":
    main(*sys.argv[1:])
