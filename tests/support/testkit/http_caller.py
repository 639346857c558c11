"""The three ways through the HTTP driver, behind one interface, so that one test tells them all the same story."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from unified_llm.drivers.http import HTTPDriver
from unified_llm.wire import WireCall, WireReply

__all__ = ["CALL", "STREAM", "WAYS", "Caller"]

WAYS = ("sync", "httpx", "aiohttp")
CALL = WireCall("chat/completions", b'{"model":"m"}')
STREAM = WireCall("chat/completions", b'{"model":"m"}', stream=True)


@dataclass
class Caller:
    """Calls a driver synchronously (in a thread), or asynchronously over one of the two transports."""

    way: str
    drivers: list[HTTPDriver] = field(default_factory=list)

    def driver(self, url: str, **options: Any) -> HTTPDriver:
        """A driver that `close` closes."""
        transport = "httpx" if self.way == "sync" else self.way
        self.drivers.append(HTTPDriver(url, transport=transport, **options))  # type: ignore[arg-type]
        return self.drivers[-1]

    async def send(self, driver: HTTPDriver, call: WireCall = CALL) -> WireReply:
        """The complete answer."""
        if self.way == "sync":
            return await asyncio.to_thread(driver.send, call)
        return await driver.send_async(call)

    async def pieces(self, driver: HTTPDriver, call: WireCall = STREAM) -> list[bytes]:
        """The pieces of the streamed answer."""
        pieces: list[bytes] = []
        await self.collect(driver, pieces, call)
        return pieces

    async def collect(self, driver: HTTPDriver, into: list[bytes], call: WireCall = STREAM) -> None:
        """`pieces`, put into a list that survives a failure."""
        if self.way == "sync":
            await asyncio.to_thread(_collect, driver, into, call)
        else:
            async with driver.open_async(call) as reply:
                async for piece in reply:
                    into.append(piece)

    async def first_piece(self, driver: HTTPDriver, call: WireCall = STREAM) -> bytes:
        """The first piece; the rest is abandoned."""
        if self.way == "sync":
            return await asyncio.to_thread(_first_piece, driver, call)
        async with driver.open_async(call) as reply:
            async for piece in reply:
                return piece
        return b""

    async def close(self) -> None:
        """Close every driver made here."""
        for driver in self.drivers:
            await driver.aclose()


def _collect(driver: HTTPDriver, into: list[bytes], call: WireCall) -> None:
    with driver.open(call) as reply:
        into.extend(reply)


def _first_piece(driver: HTTPDriver, call: WireCall) -> bytes:
    with driver.open(call) as reply:
        return next(iter(reply), b"")
