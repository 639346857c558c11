"""Serving one client over lines of JSON, with either major of the MCP SDK (see `_sdk`)."""

from __future__ import annotations

import asyncio
from typing import Any

from mcp import types
from mcp.shared.message import SessionMessage

from unified_llm_mcp._sdk import SDK_2

__all__ = ["calls_begun", "line_of_message", "message_of_line", "notified", "serve_streams"]


def message_of_line(line: str) -> SessionMessage | Exception:
    """A message as the SDK's session takes it from a transport: an exception when the line is none."""
    try:
        if SDK_2:
            return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
        make: Any = types.JSONRPCMessage
        return SessionMessage(make.model_validate_json(line))
    except ValueError as error:
        return error


def line_of_message(message: SessionMessage) -> str:
    """The line of a message that the SDK's session sends, newline included."""
    # As each SDK's own transports do: 1.x fills in what was not set, and means by null "left out".
    left_out: dict[str, Any] = {"exclude_unset": True} if SDK_2 else {"exclude_none": True}
    return message.message.model_dump_json(by_alias=True, **left_out) + "\n"


def notified(message: SessionMessage) -> str | None:
    """The method of a notification; None for any other message."""
    given: Any = message.message
    given = given if SDK_2 else given.root
    return given.method if type(given) is types.JSONRPCNotification else None


async def calls_begun() -> None:
    """Return once the calls that were read before have begun.

    SDK 1.x loses a cancellation which it is given before the task of its call has taken its first step, two rounds of
    the event loop after it was read. 2.x does not.
    """
    if not SDK_2:
        for _ in range(5):
            await asyncio.sleep(0)


async def serve_streams(low_level: Any, incoming: Any, outgoing: Any, first: SessionMessage | None) -> None:
    """Serve one client over a pair of streams, of which `first` is the first message.

    The SDK 2.x finds out by it which era the client speaks, and then passes each message on through a stream of its
    own. For a client that begins with the handshake, as nearly all do, the way without that is half a step shorter in
    each direction: a tenth of what a short call takes.
    """
    options = low_level.create_initialization_options()
    serve_loop = _handshake_loop() if getattr(getattr(first, "message", None), "method", None) == "initialize" else None
    if serve_loop is None:
        await low_level.run(incoming, outgoing, options)
        return
    async with low_level.lifespan(low_level) as state:
        await serve_loop(low_level, incoming, outgoing, lifespan_state=state, init_options=options)


def _handshake_loop() -> Any:
    """What serves the protocols with a handshake alone, in the SDK 2.0 to 2.3 at least; else None."""
    try:
        from mcp.server.runner import serve_loop
    except ImportError:
        return None
    return serve_loop
