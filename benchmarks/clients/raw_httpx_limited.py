"""The yardstick with httpx's own limits: at most 100 of the calls are in flight, and 20 connections are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx

from benchmarks.clients import raw_httpx

REQUIRES = ("httpx",)
IMPORT = "import httpx"


def chat_async(url: str) -> Callable[[], Awaitable[str]]:
    return raw_httpx.chat_async(url, httpx.Limits(max_connections=100, max_keepalive_connections=20))


in_flight_64 = in_flight_256 = chat_async
