"""`build_server`: a client and settings in, an MCP server out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from unified_llm import UnifiedLLM
from unified_llm.errors import UnifiedLLMError
from unified_llm_mcp import __version__, completion, prompts, resources
from unified_llm_mcp._sdk import SDK_2, Call, CatalogueServer, ToolSpec
from unified_llm_mcp.arguments import (
    Arguments,
    ChatArguments,
    EmbedArguments,
    GetResponseArguments,
    ListModelsArguments,
    parse_arguments,
)
from unified_llm_mcp.chat_tool import chat, get_response
from unified_llm_mcp.embed_tool import embed
from unified_llm_mcp.failures import ToolCallError, failure_of
from unified_llm_mcp.json_schema import input_schema
from unified_llm_mcp.models_tool import list_models
from unified_llm_mcp.oauth import OAuthResource
from unified_llm_mcp.resources import Contents
from unified_llm_mcp.results import CHAT_OUTPUT, EMBED_OUTPUT, MODELS_OUTPUT, failure_result
from unified_llm_mcp.settings import Settings
from unified_llm_mcp.state import ServerState

__all__ = ["ModelServer", "build_server"]

logger = logging.getLogger("unified_llm_mcp")

INSTRUCTIONS = (
    "Ask other language models. Call list_models first to see which there are; pass an id from it as model. "
    "chat answers a prompt; embed turns texts into vectors for search. When chat returns status running, call "
    "get_response with its response_id. Errors say what to do next."
)

Tool = Callable[[ServerState, Any, Call], Coroutine[Any, Any, dict[str, Any]]]


class ModelServer(CatalogueServer):
    """The MCP server. `aclose` stops its running calls; the client it was built with stays open."""

    state: ServerState

    async def aclose(self) -> None:
        """Cancel every call in flight and close its upstream request."""
        await self.state.aclose()


def build_server(
    client: UnifiedLLM | None = None, settings: Settings | None = None, *, oauth: OAuthResource | None = None
) -> ModelServer:
    """Make a server that offers the models of `client`. Asks no network and needs no key.

    Args:
        client: used for every call; one made by ``UnifiedLLM()`` when None.
        settings: models, limits and folders; see `Settings`.
        oauth: on HTTP, accept tokens of this authorization server only.
    """
    settings = settings or Settings()
    state = ServerState(client if client is not None else UnifiedLLM(), settings)
    server = ModelServer(
        "unified-llm",
        version=__version__,
        instructions=INSTRUCTIONS,
        catalogue=_ServerCatalogue(state),
        **(oauth.sdk_options() if oauth is not None else {}),
        **_extensions(state),
    )
    server.state = state
    return server


def _extensions(state: ServerState) -> dict[str, Any]:
    """Protocol extensions, as the SDK's 2.x line takes them."""
    if not SDK_2:
        return {}
    from unified_llm_mcp.tasks import TasksExtension

    tasks = TasksExtension(state.settings)
    state.on_close.append(tasks.close)
    return {"extensions": [tasks]}


class _ServerCatalogue:
    """Everything the server offers, bound to its state."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self.tools = [spec for spec in _tools(state) if spec.name in state.settings.tools]

    def resources(self, call: Call) -> list[dict[str, Any]]:
        return resources.listed(self._state, call)

    def templates(self) -> list[dict[str, Any]]:
        return resources.TEMPLATES

    async def read(self, uri: str, call: Call) -> Contents | None:
        return await resources.read(self._state, uri, call)

    def prompts(self) -> list[dict[str, Any]]:
        return prompts.definitions()

    def prompt(self, name: str, arguments: Mapping[str, str]) -> dict[str, Any] | None:
        return prompts.render(name, arguments)

    async def complete(self, kind: str, name: str, argument: str, value: str, call: Call) -> list[str]:
        return await completion.complete(self._state, kind, name, argument, value, call)


def _tools(state: ServerState) -> list[ToolSpec]:
    return [
        _spec(
            state,
            chat,
            ChatArguments,
            "Ask a language model",
            "Ask another language model (Claude, LM Studio, Ollama, any OpenAI-compatible server) and return its "
            "answer. A long call returns status running and a response_id for get_response.",
            CHAT_OUTPUT,
            idempotent=False,
            meta={"anthropic/maxResultSizeChars": 500_000},
        ),
        _spec(
            state,
            embed,
            EmbedArguments,
            "Embed texts",
            "Turn texts into vectors for semantic search or clustering.",
            EMBED_OUTPUT,
        ),
        _spec(
            state,
            list_models,
            ListModelsArguments,
            "List models",
            "List the models chat and embed can use, from every configured provider.",
            MODELS_OUTPUT,
        ),
        _spec(
            state,
            get_response,
            GetResponseArguments,
            "Get a running answer",
            "Wait for the answer of a chat that returned status running. Answers are kept for {result_ttl}.",
            CHAT_OUTPUT,
            open_world=False,
        ),
    ]


def _spec(
    state: ServerState,
    tool: Tool,
    arguments: type[Arguments],
    title: str,
    description: str,
    output: dict[str, Any],
    *,
    idempotent: bool = True,
    open_world: bool = True,
    meta: dict[str, Any] | None = None,
) -> ToolSpec:
    definition: dict[str, Any] = {
        "name": tool.__name__,
        "title": title,
        "description": description,
        "inputSchema": input_schema(arguments),
        "outputSchema": output,
        "annotations": {
            "readOnlyHint": True,
            "destructiveHint": False,
            "idempotentHint": idempotent,
            "openWorldHint": open_world,
        },
    }
    if meta:
        definition["_meta"] = meta
    return ToolSpec(_with_lifetimes(definition, state.settings), _guarded(state, tool, arguments))


def _with_lifetimes(definition: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The definition with the lifetimes of the settings in its descriptions, where the model reads them."""
    lifetimes = {f"{{{name}}}": _duration(getattr(settings, name)) for name in ("conversation_ttl", "result_ttl")}
    for described in (definition, *definition["inputSchema"]["properties"].values()):
        for mark, lifetime in lifetimes.items():
            if "description" in described:
                described["description"] = described["description"].replace(mark, lifetime)
    return definition


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"


def _guarded(
    state: ServerState, tool: Tool, model: type[Arguments]
) -> Callable[[dict[str, Any], Call], Awaitable[dict[str, Any]]]:
    """A tool that never raises: everything that goes wrong is a tool error, and nothing internal leaks."""

    async def handler(given: dict[str, Any], call: Call) -> dict[str, Any]:
        try:
            state.limits.admit(call.subject)
            return await call.unless_disconnected(tool(state, parse_arguments(model, given), call))
        except ToolCallError as failure:
            return failure_result(failure)
        except UnifiedLLMError as error:
            return failure_result(failure_of(error))
        except Exception:
            logger.exception("the tool %s failed", tool.__name__)
            return failure_result(
                ToolCallError("internal", "internal error", hint="see the server's log, which says more")
            )

    return handler
