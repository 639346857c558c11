"""The one place that knows which major of the MCP SDK is installed (1.26+ or 2.x), and corrects what both get wrong.

`CatalogueServer` is the SDK's high-level server with our tools, resources and prompts in front of those registered
through the SDK's own decorators. It answers what the specification asks for where the SDK does not: an unknown tool,
prompt or resource is the protocol error -32602, and no internal text leaves the process.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcp import types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.server import MCPServer
    from mcp.shared.exceptions import MCPError

    SDK_2 = True
else:
    try:
        from mcp.server import MCPServer
        from mcp.shared.exceptions import MCPError

        SDK_2 = True
    except ImportError:
        from mcp.server.fastmcp import FastMCP as MCPServer
        from mcp.shared.exceptions import McpError as MCPError

        SDK_2 = False

__all__ = ["SDK_2", "Call", "CatalogueServer", "MCPError", "ToolSpec", "protocol_error", "types"]

logger = logging.getLogger("unified_llm_mcp")

INVALID_PARAMS = -32602
LOCAL = "local"


def protocol_error(message: str, data: Any = None, *, code: int = INVALID_PARAMS) -> Exception:
    """A JSON-RPC error, as the installed SDK wants it raised."""
    if SDK_2:
        return MCPError(code, message, data)
    make: Any = MCPError
    error: Exception = make(types.ErrorData(code=code, message=message, data=data))
    return error


class Call:
    """One request as our handlers see it: who asks, and how to report progress."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._request = getattr(context, "_request_context", None)

    @property
    def subject(self) -> str:
        """Identity of the caller: that of the bearer token, else "local". Never a secret."""
        request = getattr(self._request, "request", None)
        user = request.scope.get("user") if request is not None else None
        token = getattr(user, "access_token", None)
        if token is None:
            return LOCAL
        issuer = (getattr(token, "claims", None) or {}).get("iss")
        return "|".join(str(part or "") for part in (token.client_id, issuer, getattr(token, "subject", None)))

    async def report_progress(self, progress: float, message: str | None = None) -> None:
        """Send a progress notification; nothing happens when the caller asked for none."""
        if self._request is not None:
            await self._context.report_progress(progress, None, message)


Handler = Callable[[dict[str, Any], Call], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool: `definition` as the protocol writes it (camelCase), and what runs it.

    `handler(arguments, call)` returns a ``CallToolResult`` as the protocol writes it; it raises no other exception
    than those of cancellation.
    """

    definition: Mapping[str, Any]
    handler: Handler = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.definition["name"])


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Constructing the SDK's server configures the root logger; a library must not. A handler in place prevents it."""
    root = logging.getLogger()
    guard = logging.NullHandler()
    root.addHandler(guard)
    try:
        yield
    finally:
        root.removeHandler(guard)


class CatalogueServer(MCPServer[Any]):
    """The SDK's server, with a catalogue of ours in front."""

    def __init__(
        self, name: str, *, version: str, instructions: str, specs: Sequence[ToolSpec], **options: Any
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        with _root_logger_kept():
            if SDK_2:
                super().__init__(name, instructions=instructions, version=version, **options)
            else:
                super().__init__(name, instructions=instructions, **options)
                self._correct_sdk_1(version)

    @property
    def low_level(self) -> Any:
        """The SDK's low-level server, which transports run."""
        return self._lowlevel_server if SDK_2 else self._mcp_server  # type: ignore[attr-defined]

    # -- tools ------------------------------------------------------------------------------------------------------

    async def list_tools(self) -> list[types.Tool]:
        """Our tools in catalogue order, then those registered through the SDK."""
        ours = [types.Tool.model_validate(dict(spec.definition)) for spec in self._specs.values()]
        return ours + await super().list_tools()

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Run a tool. Raises the protocol error -32602 when there is none of that name."""
        spec = self._specs.get(name)
        if spec is not None:
            given = context if context is not None else self._context()
            return types.CallToolResult.model_validate(await spec.handler(arguments, Call(given)))
        self._require_tool(name)
        return await (super().call_tool(name, arguments, context) if SDK_2 else super().call_tool(name, arguments))

    def _require_tool(self, name: str) -> None:
        if name not in self._specs and self._tool_manager.get_tool(name) is None:
            raise protocol_error(f"Unknown tool: {name}")

    def _context(self) -> Any:
        get_context: Any = getattr(self, "get_context", None)  # SDK 1.x
        return get_context() if get_context is not None else None

    # -- SDK 1.x ----------------------------------------------------------------------------------------------------

    def _correct_sdk_1(self, version: str) -> None:
        """1.x has no `version` argument, and turns every exception of a tool handler into a tool result."""
        low_level = self.low_level
        low_level.version = version
        call_tool = low_level.request_handlers[types.CallToolRequest]

        async def known_tool(request: Any) -> Any:
            self._require_tool(request.params.name)
            return await call_tool(request)

        low_level.request_handlers[types.CallToolRequest] = known_tool
