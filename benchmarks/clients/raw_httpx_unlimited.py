"""The yardstick without httpx's limits (100 connections, 20 of them kept), so that all 256 calls are in flight."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx

from benchmarks.clients import raw_httpx

REQUIRES = ("httpx",)
IMPORT = "import httpx"


def chat_async(url: str) -> Callable[[], Awaitable[str]]:
    return raw_httpx.chat_async(url, limits=httpx.Limits(max_connections=None, max_keepalive_connections=None))


in_flight_64 = in_flight_256 = chat_async
