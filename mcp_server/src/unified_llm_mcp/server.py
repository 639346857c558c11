"""`build_server`: a client and settings in, an MCP server out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unified_llm.errors import UnifiedLLMError
from unified_llm_mcp import __version__, completion, prompts, resource_list
from unified_llm_mcp._sdk import SDK_2, Call, CatalogueServer, Handler, ToolSpec
from unified_llm_mcp.arguments import parse_arguments
from unified_llm_mcp.deferred import Deferred
from unified_llm_mcp.failures import ToolCallError, failure_of
from unified_llm_mcp.results import failure_result
from unified_llm_mcp.sendable import sendable_result, well_formed
from unified_llm_mcp.settings import Settings
from unified_llm_mcp.tool_specs import TOOLS, ToolData, definition

if TYPE_CHECKING:
    from unified_llm import UnifiedLLM
    from unified_llm_mcp.oauth import OAuthResource
    from unified_llm_mcp.state import ServerState

__all__ = ["ModelServer", "build_server"]

logger = logging.getLogger("unified_llm_mcp")

INSTRUCTIONS = {
    "list_models": "Call list_models first to see which there are; pass an id from it as model.",
    "chat": "chat answers a prompt.",
    "embed": "embed turns texts into vectors for search.",
    "get_response": "When chat returns status running, call get_response with its response_id.",
}
"""What models are told of the tools that are offered."""


def _instructions(tools: Sequence[str]) -> str:
    told = [text for name, text in INSTRUCTIONS.items() if name in tools]
    return " ".join(["Ask other language models.", *told, "Errors say what to do next."])


class ModelServer(CatalogueServer):
    """The MCP server. `aclose` stops its running calls; the client it was built with stays open."""

    _deferred: Deferred
    closing: asyncio.Event
    """Set once `aclose` has been called."""

    @property
    def settings_of_calls(self) -> Settings:
        """Models, limits and folders."""
        return self._deferred.settings

    @property
    def state(self) -> ServerState:
        """What its calls share: the client, limits, conversations."""
        return self._deferred.state

    async def aclose(self) -> None:
        """Cancel every call in flight and close its upstream request."""
        self.closing.set()
        await self._deferred.aclose()

    async def aclose_client(self) -> None:
        """Close the client's connections; it opens new ones when it is used again."""
        if self._deferred.made is not None:
            await self._deferred.made.client.aclose()


def build_server(
    client: UnifiedLLM | None = None, settings: Settings | None = None, *, oauth: OAuthResource | None = None
) -> ModelServer:
    """Make a server that offers the models of `client`. Asks no network and needs no key.

    Args:
        client: used for every call; one made by ``UnifiedLLM()`` at the first call when None.
        settings: models, limits and folders; see `Settings`.
        oauth: on HTTP, accept tokens of this authorization server only.
    """
    deferred = Deferred(client, settings or Settings())
    server = ModelServer(
        "unified-llm",
        version=__version__,
        instructions=_instructions(deferred.settings.tools),
        catalogue=_ServerCatalogue(deferred),
        **(oauth.sdk_options() if oauth is not None else {}),
        **_extensions(deferred),
    )
    server._deferred = deferred
    server.closing = asyncio.Event()
    return server


def _extensions(deferred: Deferred) -> dict[str, Any]:
    """Protocol extensions, as the SDK's 2.x line takes them."""
    if not SDK_2:
        return {}
    from unified_llm_mcp.tasks import TasksExtension

    tasks = TasksExtension(deferred.settings)
    deferred.on_close.append(tasks.close)
    return {"extensions": [tasks]}


class _ServerCatalogue:
    """Everything the server offers, bound to its state."""

    def __init__(self, deferred: Deferred) -> None:
        self._deferred = deferred
        settings = deferred.settings
        self.tools = [
            ToolSpec(definition(tool, settings), _guarded(deferred, tool))
            for tool in TOOLS
            if tool.name in settings.tools
        ]

    def resources(self, call: Call) -> list[dict[str, Any]]:
        return resource_list.listed(self._deferred.made, call)

    def templates(self) -> list[dict[str, Any]]:
        return resource_list.TEMPLATES

    async def read(self, uri: str, call: Call) -> list[tuple[str | bytes, str]] | None:
        if not uri.startswith("llm://"):
            return None
        read = await self._deferred.function("unified_llm_mcp.resources:read")
        contents: list[tuple[str | bytes, str]] = await read(await self._deferred.state_async(), uri, call)
        return [(well_formed(one) if isinstance(one, str) else one, kind) for one, kind in contents]

    def prompts(self) -> list[dict[str, Any]]:
        return prompts.definitions(self._deferred.settings.tools)

    def prompt(self, name: str, arguments: Mapping[str, str]) -> dict[str, Any] | None:
        return prompts.render(name, arguments, self._deferred.settings.tools)

    async def complete(
        self, kind: str, name: str, argument: str, value: str, call: Call, chosen: Mapping[str, str]
    ) -> list[str]:
        if argument not in completion.arguments_of(kind, name):
            return []
        found = await completion.complete(await self._deferred.state_async(), kind, argument, value, call, chosen)
        return [well_formed(one) for one in found]


def _guarded(deferred: Deferred, tool: ToolData) -> Handler:
    """A tool that never raises: everything that goes wrong is a tool error, and nothing internal leaks."""

    async def handler(given: dict[str, Any], call: Call) -> dict[str, Any]:
        return sendable_result(await answer(given, call))

    async def answer(given: dict[str, Any], call: Call) -> dict[str, Any]:
        try:
            state = await deferred.state_async()
            state.limits.admit(call.subject)
            function = await deferred.function(tool.home)
            arguments = parse_arguments(tool.arguments, given)
            result: dict[str, Any] = await call.unless_disconnected(function(state, arguments, call))
        except ToolCallError as failure:
            return failure_result(failure)
        except UnifiedLLMError as error:
            return failure_result(failure_of(error, deferred.settings.tools))
        except Exception:
            logger.exception("the tool %s failed", tool.name)
            return failure_result(
                ToolCallError("internal", "internal error", hint="see the server's log, which says more")
            )
        return result

    return handler
