"""Serving one client over standard input and output."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
from pydantic_core import from_json

from unified_llm_mcp._sdk_lines import calls_begun, line_of_message, message_of_line, notified, serve_streams
from unified_llm_mcp.lines import LONGEST_LINE, TOO_LONG, LineReader, LineWriter

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from unified_llm_mcp.server import ModelServer
    from unified_llm_mcp.wire import Wire

__all__ = ["serve_stdio"]

logger = logging.getLogger("unified_llm_mcp")

LAST_WORDS = 2.0
"""Seconds that a client which reads no more gets for what is still to be written to it at the end."""


async def serve_stdio(server: ModelServer, wire: Wire) -> None:
    """Serve until the client closes its side; calls in flight are then cancelled."""
    reader, writer = LineReader(wire.read_fd), LineWriter(wire.write_fd)
    # SDKs before 1.30 would wait for running calls: they are stopped before the SDK hears of the end.
    outgoing = _Outgoing(writer, reader.close)
    incoming = _Incoming(reader, server.aclose, outgoing.write)
    try:
        await serve_streams(server.low_level, incoming, outgoing, await incoming.peek())
    finally:
        reader.close()
        await _flushed(writer)


async def _flushed(writer: LineWriter) -> None:
    try:
        async with asyncio.timeout(LAST_WORDS):
            await writer.flush()
    except TimeoutError:
        logger.warning("the client did not read its last messages within %g s", LAST_WORDS)
    except OSError:
        pass  # it has gone away, as was logged


class _Stream:
    """What both streams that the SDK's session is given have in common.

    Closing them does nothing. SDKs of the 1.x line close both at the end of input and only then cancel what runs: an
    answer that is ready by then is still sent, instead of failing the session.
    """

    async def aclose(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class _Incoming(_Stream):
    """The messages that the client sends. A line that is none is answered here: the SDKs leave it without an answer."""

    def __init__(
        self, lines: LineReader, at_end: Callable[[], Awaitable[None]], answer: Callable[[str], Awaitable[None]]
    ) -> None:
        self._lines = lines
        self._at_end = at_end
        self._answer = answer
        self._next: list[Any] = []

    async def peek(self) -> Any:
        """The first message, which `receive` gives, too; None when the input ends without one."""
        try:
            self._next.append(await self.receive())
        except anyio.EndOfStream:
            return None
        return self._next[0]

    async def receive(self) -> Any:
        if self._next:
            return self._next.pop()
        while (line := await self._lines.next()) is not None:
            message = message_of_line(line) if line is not TOO_LONG else ValueError(line)
            if not isinstance(message, Exception):
                method = notified(message)
                if method is None or await self._is_notification(method, line):
                    return message
            await self._refuse(line)
        await self._at_end()
        raise anyio.EndOfStream

    async def _is_notification(self, method: str, line: str) -> bool:
        """Whether a line that the SDK takes for a notification is one, and no request with an id that is none."""
        if method == "notifications/cancelled":
            await calls_begun()
        return method.startswith("notifications/") or "id" not in from_json(line)

    async def _refuse(self, line: str) -> None:
        from unified_llm_mcp.refusals import refusal, too_long

        error = too_long(LONGEST_LINE) if line is TOO_LONG else refusal(line)
        logger.warning("a line is no message: %s", error["error"]["message"] if error else "an answer of a wrong form")
        if error is not None:
            await self._answer(json.dumps(error) + "\n")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _Outgoing(_Stream):
    """What the client is sent, written before `send` returns. It never fails: a client that has gone ends the input."""

    def __init__(self, lines: LineWriter, client_gone: Callable[[], None]) -> None:
        self._lines = lines
        self._client_gone = client_gone

    async def send(self, message: Any) -> None:
        await self.write(line_of_message(message))

    async def write(self, line: str) -> None:
        """Write a line, its end included."""
        try:
            await self._lines.write(line)
        except OSError as error:
            logger.warning("the client has closed our standard output: %s", error)
            self._client_gone()  # whom nobody hears has nothing left to do
