"""The tools as data: what clients see of them, and where their code is. Importing this loads none of that code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unified_llm_mcp.arguments import (
    Arguments,
    ChatArguments,
    EmbedArguments,
    GetResponseArguments,
    ListModelsArguments,
)
from unified_llm_mcp.json_schema import input_schema
from unified_llm_mcp.results import CHAT_OUTPUT, EMBED_OUTPUT, MODELS_OUTPUT
from unified_llm_mcp.settings import Settings

__all__ = ["TOOLS", "ToolData", "definition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolData:
    """One tool. `home` is ``module:function`` of ``async (state, arguments, call) -> CallToolResult as a dict``."""

    name: str
    home: str
    title: str
    description: str
    arguments: type[Arguments]
    output: dict[str, Any]
    idempotent: bool = True
    open_world: bool = True
    meta: dict[str, Any] | None = None


TOOLS = (
    ToolData(
        name="chat",
        home="unified_llm_mcp.chat_tool:chat",
        title="Ask a language model",
        description="Ask another language model (Claude, LM Studio, Ollama, any OpenAI-compatible server) and return "
        "its answer. A long call returns status running and a response_id for get_response.",
        arguments=ChatArguments,
        output=CHAT_OUTPUT,
        idempotent=False,
        meta={"anthropic/maxResultSizeChars": 500_000},
    ),
    ToolData(
        name="embed",
        home="unified_llm_mcp.embed_tool:embed",
        title="Embed texts",
        description="Turn texts into vectors for semantic search or clustering.",
        arguments=EmbedArguments,
        output=EMBED_OUTPUT,
    ),
    ToolData(
        name="list_models",
        home="unified_llm_mcp.models_tool:list_models",
        title="List models",
        description="List the models chat and embed can use, from every configured provider.",
        arguments=ListModelsArguments,
        output=MODELS_OUTPUT,
    ),
    ToolData(
        name="get_response",
        home="unified_llm_mcp.chat_tool:get_response",
        title="Get a running answer",
        description="Wait for the answer of a chat that returned status running. Answers are kept for {result_ttl}.",
        arguments=GetResponseArguments,
        output=CHAT_OUTPUT,
        open_world=False,
    ),
)


def definition(tool: ToolData, settings: Settings) -> dict[str, Any]:
    """The tool as the protocol writes it, with the lifetimes of the settings in the descriptions models read."""
    schema = input_schema(tool.arguments)
    for described in schema["properties"].values():
        if "description" in described:
            described["description"] = _told(described["description"], settings)
    defined: dict[str, Any] = {
        "name": tool.name,
        "title": tool.title,
        "description": _told(tool.description, settings),
        "inputSchema": schema,
        "outputSchema": tool.output,
        "annotations": {
            "readOnlyHint": True,
            "destructiveHint": False,
            "idempotentHint": tool.idempotent,
            "openWorldHint": tool.open_world,
        },
    }
    return defined | ({"_meta": tool.meta} if tool.meta else {})


# What is said of another tool, when that one is offered.
_OF_OTHERS = (
    (" A long call returns status running and a response_id for get_response.", "get_response"),
    (" as returned by list_models", "list_models"),
)


def _told(text: str, settings: Settings) -> str:
    """A description with the lifetimes of the settings, and without a word of tools that are not offered."""
    for words, tool in _OF_OTHERS:
        if tool not in settings.tools:
            text = text.replace(words, "")
    for name in ("conversation_ttl", "result_ttl"):
        text = text.replace(f"{{{name}}}", _duration(getattr(settings, name)))
    return text


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"
