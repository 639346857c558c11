"""What knows, beside `_sdk_lines`, which major of the MCP SDK is installed (1.26+ or 2.x), and corrects what both get
wrong.

`CatalogueServer` is the SDK's high-level server with a catalogue of ours in front of what is registered through the
SDK's own decorators. It answers what the specification asks for where the SDK does not: an unknown tool, prompt or
resource is the protocol error -32602, and no internal text leaves the process.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mcp import types
from mcp.server.lowlevel import NotificationOptions
from mcp.server.lowlevel.helper_types import ReadResourceContents

from unified_llm.errors import ConfigurationError
from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.settings import is_address

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
        from mcp.server.fastmcp.server import Settings as _SDKSettings
        from mcp.shared.exceptions import McpError as MCPError

        _SDKSettings.model_rebuild()  # before 1.30 it names a class defined after it, and newer pydantic-settings warns
        SDK_2 = False

__all__ = [
    "DISCONNECTED",
    "SDK_2",
    "Background",
    "Call",
    "Catalogue",
    "CatalogueServer",
    "MCPError",
    "ToolSpec",
    "background_of_call",
    "protocol_error",
]

logger = logging.getLogger("unified_llm_mcp")

INVALID_PARAMS = -32602
LOCAL = "local"
DISCONNECTED = "unified_llm_mcp.disconnected"
"""Key in an ASGI scope: the event that is set when the client of an HTTP request goes away."""
_PLAIN_VERSIONS = frozenset({"2025-06-18", "2025-11-25"})
"""Protocols with a handshake that know all fields of our results."""
_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
"""In the ``_meta`` of every request of the protocol of 2026, and in no other."""
_PLAIN_PARAMETERS = frozenset({"name", "arguments", "_meta"})
T = TypeVar("T")
HOUR = 3_600_000

_request: ContextVar[Any] = ContextVar("unified_llm_mcp_request")
"""Request context of the SDK 2.x, set by a middleware; the 1.x line has such a variable of its own."""


@dataclass(slots=True)
class Background:
    """Where a tool call runs that may go on after its request was answered: set once that has happened."""

    detached: bool = False


background_of_call: ContextVar[Background | None] = ContextVar("unified_llm_mcp_background", default=None)


def protocol_error(message: str, data: Any = None, *, code: int = INVALID_PARAMS) -> Exception:
    """A JSON-RPC error, as the installed SDK wants it raised."""
    if SDK_2:
        return MCPError(code, message, data)
    make: Any = MCPError
    error: Exception = make(types.ErrorData(code=code, message=message, data=data))
    return error


def _refuse_other_era(context: Any) -> None:
    """A connection speaks one protocol: what the SDK sees to where it finds out which (see `_sdk_lines`)."""
    if context.request is not None or str(context.protocol_version) >= "2026" or context.method == "initialize":
        return
    meta = (context.params or {}).get("_meta")
    if isinstance(meta, dict) and _VERSION_KEY in meta:  # the SDK refuses any other kind of it
        raise protocol_error(
            "this connection began with the handshake of earlier protocols: no requests of 2026-07-28 are taken on it",
            code=types.INVALID_REQUEST,
        )


class Call:
    """One request as our handlers see it: who asks, and how to tell the client something meanwhile."""

    def __init__(self, request: Any = None, bus: Any = None) -> None:
        self._request = request
        self._bus = bus
        self._background = background_of_call.get()

    @property
    def may_outlive_request(self) -> bool:
        """Whether somebody above answers the request when the work takes long: then there is no hurry here."""
        return self._background is not None

    @property
    def _answered(self) -> bool:
        return self._background is not None and self._background.detached

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

    async def unless_disconnected(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled when the HTTP connection of the request drops.

        Raises:
            ToolCallError: it has dropped.
        """
        request = getattr(self._request, "request", None)
        gone = None if request is None else request.scope.get(DISCONNECTED)
        if gone is None:
            return await work
        working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone.wait())
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if self._answered:
                await asyncio.wait({working})
        finally:
            leaving.cancel()
            if not working.done():
                working.cancel()
        if gone.is_set() and (not working.done() or working.cancelled()):
            raise ToolCallError("cancelled", "the client has gone away")
        return await working

    @property
    def wants_progress(self) -> bool:
        """Whether anybody hears of progress; says yes rather than wrongly no."""
        if self._request is None:
            return False
        if SDK_2:  # which tells nobody; within one process it needs no token
            outbound = getattr(self._request.session, "_request_outbound", None)
            return getattr(outbound, "_progress_token", "") is not None
        return getattr(self._request.meta, "progressToken", None) is not None

    async def report_progress(self, progress: float, message: str | None = None) -> None:
        """Send a progress notification; nothing happens when the caller asked for none, or has the answer."""
        if self._request is None or self._answered:
            return
        session = self._request.session
        if SDK_2:
            await session.report_progress(progress, None, message)
            return
        token = getattr(self._request.meta, "progressToken", None)
        if token is not None:
            await session.send_progress_notification(
                token, progress, None, message, related_request_id=str(self._request.request_id)
            )

    async def resources_changed(self) -> None:
        """Tell clients that the list of resources is another now, each in the way of its protocol."""
        if self._bus is not None:
            from mcp.server.subscriptions import ResourcesListChanged

            await self._bus.publish(ResourcesListChanged())
        if self._request is not None and self._has_handshake() and not self._answered:
            await self._request.session.send_resource_list_changed()

    def _has_handshake(self) -> bool:
        """Whether the client speaks a protocol before 2026-07-28, where such notifications come unasked."""
        return str(getattr(self._request, "protocol_version", "")) < "2026"


Middleware = Callable[[Any, Callable[[Any], Awaitable[Any]]], Awaitable[Any]]
"""Of the SDK 2.x: gets the context of a request and what serves it, returns the result."""

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


class Catalogue(Protocol):
    """What a server offers. Dictionaries are as the protocol writes them; None means "not ours"."""

    @property
    def tools(self) -> Sequence[ToolSpec]: ...

    def resources(self, call: Call) -> list[dict[str, Any]]: ...

    def templates(self) -> list[dict[str, Any]]: ...

    async def read(self, uri: str, call: Call) -> list[tuple[str | bytes, str]] | None:
        """Contents with their media types."""
        ...

    def prompts(self) -> list[dict[str, Any]]: ...

    def prompt(self, name: str, arguments: Mapping[str, str]) -> dict[str, Any] | None:
        """Raises `ValueError` for wrong arguments."""
        ...

    async def complete(
        self, kind: str, name: str, argument: str, value: str, call: Call, chosen: Mapping[str, str]
    ) -> list[str]:
        """Candidates for an argument of the prompt ("ref/prompt") or template ("ref/resource") called `name`.

        `chosen` are other arguments of it that have a value already.
        """
        ...


def _idle_until(session: Any) -> float:
    """When an HTTP session ends if nobody uses it: the sooner, the longer it has been unused."""
    return math.inf if session.idle_scope is None else float(session.idle_scope.deadline)


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


def _sdk_2_options(middleware: Middleware, options: dict[str, Any]) -> dict[str, Any]:
    from mcp.server import CacheHint
    from mcp.server.subscriptions import InMemorySubscriptionBus

    # What is the same for every caller may be cached by anybody; resources are a caller's own.
    public = ("tools/list", "prompts/list", "resources/templates/list", "server/discover")
    hints: dict[str, Any] = {method: CacheHint(ttl_ms=HOUR, scope="public") for method in public}
    hints |= {method: CacheHint(ttl_ms=0, scope="private") for method in ("resources/list", "resources/read")}
    return {
        "middleware": [middleware],
        "cache_hints": hints,
        "subscriptions": InMemorySubscriptionBus(),
        **options,
    }


def _where_it_matters(middleware: Middleware) -> Middleware:
    """The SDK's middleware that traces each message, left out while nobody has set tracing up; any other as it is.

    It makes spans all the same then, for nobody: three hundredths of the time of a short call.
    """
    if type(middleware).__name__ != "OpenTelemetryMiddleware":
        return middleware
    from opentelemetry import trace

    async def traced(context: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):  # the stand-in for a real one
            return await call_next(context)
        return await middleware(context, call_next)

    return traced


def _require_http_protections() -> None:
    """Bodies must be bounded, and a session must belong to the caller who opened it; 1.x has that since 1.30 or so."""
    from mcp.server import transport_security
    from mcp.server.auth.middleware import bearer_auth

    if not (
        hasattr(transport_security, "RequestBodyLimitMiddleware") and hasattr(bearer_auth, "authorization_context")
    ):
        raise ConfigurationError(
            "this version of the MCP SDK is too old to serve HTTP safely: it bounds no bodies, or mixes up sessions",
            hint='pip install "mcp>=1.30,<3"; over standard input and output it will do',
        )


class CatalogueServer(MCPServer[Any]):
    """The SDK's server, with a catalogue of ours in front."""

    def __init__(self, name: str, *, version: str, instructions: str, catalogue: Catalogue, **options: Any) -> None:
        self._catalogue = catalogue
        self._tools = {spec.name: spec for spec in catalogue.tools}
        with _root_logger_kept():
            if SDK_2:
                given = _sdk_2_options(self._serve, options)
                self._bus = given["subscriptions"]
                super().__init__(name, instructions=instructions, version=version, **given)
                chain: list[Any] = self.middleware
                chain[:] = map(_where_it_matters, chain)
            else:
                self._bus = None
                super().__init__(name, instructions=instructions, **options)
                self._correct_sdk_1(version)
        self.completion()(self._complete)  # type: ignore[no-untyped-call]  # the SDK left it out
        # Both SDKs announce changed lists only to those who pass these options; every transport calls without.
        announced = NotificationOptions(resources_changed=True)
        self.low_level.create_initialization_options = partial(self.low_level.create_initialization_options, announced)

    @property
    def low_level(self) -> Any:
        """The SDK's low-level server, which transports run."""
        return self._lowlevel_server if SDK_2 else self._mcp_server  # type: ignore[attr-defined]

    @property
    def call(self) -> Call:
        """The request being served."""
        if SDK_2:
            return Call(_request.get(None), self._bus)
        context: Any = self.get_context()  # type: ignore[attr-defined]  # SDK 1.x
        return Call(context._request_context)

    def streamable_http(self, path: str, security: Mapping[str, Any], max_body_bytes: int) -> Any:
        """The ASGI application of the streamable HTTP transport, with event streams and sessions.

        Raises:
            ConfigurationError: the installed SDK lacks protections that the transport needs.
        """
        _require_http_protections()
        from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
        from starlette.responses import JSONResponse, Response

        checks = TransportSecuritySettings.model_validate(security)

        async def health(request: Any) -> Response:
            # Load balancers probe by address, which no DNS name stands behind that could be rebound.
            host = request.headers.get("host", "")
            hosts = [*checks.allowed_hosts, *([host] if is_address(host) else [])]
            check = TransportSecurityMiddleware(checks.model_copy(update={"allowed_hosts": hosts}))
            return await check.validate_request(request) or JSONResponse({"status": "ok"})

        self.custom_route("/health", methods=["GET"])(health)
        if SDK_2:
            return self.streamable_http_app(
                streamable_http_path=path, max_request_body_size=max_body_bytes, transport_security=checks
            )
        settings: Any = self.settings
        settings.streamable_http_path = path
        settings.transport_security = checks
        settings.max_request_body_size = max_body_bytes
        return self.streamable_http_app()

    async def close_surplus_sessions(self, most: int) -> None:
        """Close HTTP sessions until there are `most`: of the caller who has most of them, the longest unused first."""
        while (session := self._surplus_session(most)) is not None:
            await session.terminate()

    def _surplus_session(self, most: int) -> Any:
        # Not public, but the only record of whose a session is. An SDK that keeps another has its own limit still.
        sessions: dict[str, Any] = getattr(self.session_manager, "_server_instances", {})
        if len(sessions) <= most:
            return None
        owners: dict[str, Any] = getattr(self.session_manager, "_session_owners", {})
        by_owner: dict[str, list[Any]] = {}
        for key, session in sessions.items():
            if not session.is_terminated:
                by_owner.setdefault(str(owners.get(key)), []).append(session)
        if sum(map(len, by_owner.values())) <= most:
            return None
        most_of_one = max(by_owner.values(), key=lambda of_one: len(of_one))
        return min(most_of_one, key=_idle_until)

    async def _serve(self, context: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        """Middleware of the SDK 2.x: lets every handler see the request it serves."""
        token = _request.set(context)
        try:
            if not self._is_plain_call(context):
                _refuse_other_era(context)
                return await call_next(context)
            result = await self.call_tool(context.params["name"], context.params.get("arguments", {}), context)
            del result["resultType"]  # of 2026
            return result
        finally:
            _request.reset(token)

    def _is_plain_call(self, context: Any) -> bool:
        """Whether this is a call of a tool of ours, as the clients of today make it, with nothing unusual about it.

        Then the SDK would check the request against two schemas and the result against another, which our tools
        do themselves, and offer it to extensions, which are of 2026: a tenth of the time that a short chat takes.
        """
        params = context.params or {}
        name = params.get("name")
        return (
            context.method == "tools/call"
            and context.protocol_version in _PLAIN_VERSIONS
            and context.session.client_params is not None  # the handshake is done
            and params.keys() <= _PLAIN_PARAMETERS
            and isinstance(name, str)
            and name in self._tools
            and isinstance(params.get("arguments", {}), dict)
            and ("_meta" in params) == (context.meta is not None)  # it is well-formed
            and (context.meta is None or _VERSION_KEY not in params["_meta"])
        )

    # -- tools ------------------------------------------------------------------------------------------------------

    async def list_tools(self) -> list[types.Tool]:
        """Our tools in catalogue order, then those registered through the SDK."""
        ours = [types.Tool.model_validate(dict(spec.definition)) for spec in self._tools.values()]
        return ours + await super().list_tools()

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Run a tool. Raises the protocol error -32602 when there is none of that name."""
        spec = self._tools.get(name)
        if spec is not None:
            result = await spec.handler(arguments, self.call)
            if context is not None:  # SDK 2.x serving a request: it checks dictionaries against the request's protocol
                return {"resultType": "complete", **result}
            return types.CallToolResult.model_validate(result)
        self._require_tool(name)
        return await (super().call_tool(name, arguments, context) if SDK_2 else super().call_tool(name, arguments))

    def _require_tool(self, name: str) -> None:
        if name not in self._tools and self._tool_manager.get_tool(name) is None:
            raise protocol_error(f"Unknown tool: {name}")

    # -- resources --------------------------------------------------------------------------------------------------

    async def list_resources(self) -> list[types.Resource]:
        """Our resources for this caller, then those registered through the SDK."""
        ours = [types.Resource.model_validate(one) for one in self._catalogue.resources(self.call)]
        return ours + await super().list_resources()

    async def list_resource_templates(self) -> list[types.ResourceTemplate]:
        """Our templates, then those registered through the SDK."""
        ours = [types.ResourceTemplate.model_validate(one) for one in self._catalogue.templates()]
        return ours + await super().list_resource_templates()

    async def read_resource(self, uri: Any, context: Any = None) -> Any:
        """Read a resource. Raises the protocol error -32602, with the URI as data, when there is none."""
        contents = await self._catalogue.read(str(uri), self.call)
        if contents is not None:
            return [ReadResourceContents(content, mime_type) for content, mime_type in contents]
        if SDK_2:
            return await super().read_resource(uri, context)
        try:
            return await super().read_resource(uri)
        except ValueError as error:  # what 1.x raises for "unknown"
            raise protocol_error(f"Unknown resource: {uri}", {"uri": str(uri)}) from error

    # -- prompts and completion -------------------------------------------------------------------------------------

    async def list_prompts(self) -> list[types.Prompt]:
        """Our prompts, then those registered through the SDK."""
        ours = [types.Prompt.model_validate(one) for one in self._catalogue.prompts()]
        return ours + await super().list_prompts()

    async def get_prompt(self, name: str, arguments: dict[str, Any] | None = None, context: Any = None) -> Any:
        """Render a prompt. Raises the protocol error -32602 for an unknown one and for wrong arguments."""
        try:
            ours = self._catalogue.prompt(name, arguments or {})
            if ours is not None:
                return types.GetPromptResult.model_validate(ours)
            if self._prompt_manager.get_prompt(name) is None:
                raise protocol_error(f"Unknown prompt: {name}")
            given = (name, arguments, context) if SDK_2 else (name, arguments)
            return await super().get_prompt(*given)
        except ValueError as error:
            raise protocol_error(str(error)) from error

    async def _complete(self, ref: Any, argument: Any, context: Any) -> types.Completion:
        name = ref.name if ref.type == "ref/prompt" else str(ref.uri)
        chosen = (context.arguments or {}) if context is not None else {}
        found = await self._catalogue.complete(ref.type, name, argument.name, argument.value, self.call, chosen)
        page = {"values": found[:100], "total": len(found), "hasMore": len(found) > 100}
        return types.Completion.model_validate(page)

    # -- SDK 1.x ----------------------------------------------------------------------------------------------------

    def _correct_sdk_1(self, version: str) -> None:
        """1.x has no `version` argument, and turns every exception of a tool handler into a tool result."""
        self.low_level.version = version
        call_tool = self.low_level.request_handlers[types.CallToolRequest]

        async def known_tool(request: Any) -> Any:
            self._require_tool(request.params.name)
            return await call_tool(request)

        self.low_level.request_handlers[types.CallToolRequest] = known_tool
