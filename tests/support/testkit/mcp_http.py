"""A server on loopback HTTP in the test's event loop, and raw requests to it in both protocol eras."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import mcp
from mcp.server import transport_security

from testkit.mcp_clients import SDK_2, TestClient

if TYPE_CHECKING:
    from unified_llm_mcp import ModelServer

__all__ = [
    "HANDSHAKE",
    "HTTP_SAFE",
    "MODERN",
    "RAW_ERAS",
    "RawClient",
    "answer_of",
    "over_http",
    "raw_client",
    "served",
]

MODERN = "2026-07-28"
HANDSHAKE = "2025-06-18"
HTTP_SAFE = hasattr(transport_security, "RequestBodyLimitMiddleware")
"""Whether the installed SDK has the protections without which our server refuses to serve HTTP."""
RAW_ERAS = [MODERN, HANDSHAKE] if SDK_2 else [HANDSHAKE]


@asynccontextmanager
async def served(server: ModelServer, **settings: Any) -> AsyncIterator[str]:
    """Serve over HTTP on a free loopback port; gives the URL of the endpoint."""
    from unified_llm_mcp.http import HttpServing, HttpSettings

    serving = HttpServing(server, HttpSettings(port=0, **settings), "warning")
    task = asyncio.create_task(serving.serve())
    try:
        yield serving.url
    finally:
        serving.stop()
        await task


@asynccontextmanager
async def over_http(url: str, era: str, token: str | None = None) -> AsyncIterator[TestClient]:
    """The official client, connected to `url`."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    from mcp.client.streamable_http import streamable_http_client

    if SDK_2:
        import httpx2

        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as http,
            mcp.Client(streamable_http_client(url, http_client=http), mode=era) as client,
        ):
            yield TestClient(client)
    else:
        transport: Any = streamable_http_client
        async with (
            httpx.AsyncClient(headers=headers, timeout=30, trust_env=False) as client_1,
            transport(url, http_client=client_1) as (incoming, outgoing, _),
            mcp.ClientSession(incoming, outgoing) as session,
        ):
            await session.initialize()
            yield TestClient(session)


class RawClient:
    """Requests as bytes on the wire, without an SDK. `era` is the protocol version it speaks."""

    def __init__(self, url: str, era: str, http: httpx.AsyncClient) -> None:
        self.url = url
        self.era = era
        self.http = http
        self.session: dict[str, str] = {}
        self._next = 0

    async def open(self) -> None:
        """The handshake, where the era has one."""
        if self.era != MODERN:
            info = {"name": "raw", "version": "0"}
            params = {"protocolVersion": self.era, "capabilities": {}, "clientInfo": info}
            response = await self.post("initialize", params)
            assert response.status_code == 200, response.text
            self.session = {"mcp-session-id": response.headers["mcp-session-id"]}
            await self.http.post(
                self.url,
                json={"jsonrpc": "2.0", "method": "notifications/initialized"},
                headers=self.headers("notifications/initialized"),
            )

    def headers(self, method: str, name: str | None = None) -> dict[str, str]:
        """The headers the protocol asks for."""
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": self.era,
            **self.session,
        }
        if self.era == MODERN:
            headers |= {"mcp-method": method} | ({"mcp-name": name} if name else {})
        return headers

    def message(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON-RPC request."""
        self._next += 1
        params = dict(params)
        if self.era == MODERN:
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "0"},
                **params.get("_meta", {}),
            }
        return {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params}

    async def post(self, method: str, params: Mapping[str, Any], **headers: str) -> httpx.Response:
        """Send a request and read the whole answer."""
        given = self.headers(method, params.get("name")) | {k.replace("_", "-"): v for k, v in headers.items()}
        return await self.http.post(self.url, json=self.message(method, params), headers=given)

    @asynccontextmanager
    async def opened(self, method: str, params: Mapping[str, Any]) -> AsyncIterator[None]:
        """Send a request; leaving closes the connection without reading the answer."""
        headers = self.headers(method, params.get("name"))
        request = self.http.build_request("POST", self.url, json=self.message(method, params), headers=headers)
        sending = asyncio.create_task(self.http.send(request, stream=True))
        try:
            yield
        finally:
            if not sending.done():
                sending.cancel()
            answer = (await asyncio.gather(sending, return_exceptions=True))[0]
            if isinstance(answer, httpx.Response):
                await answer.aclose()


def answer_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON-RPC answer in a response, a plain one or an event stream."""
    if response.headers["content-type"].startswith("application/json"):
        answer = response.json()
    else:
        events = [line.removeprefix("data:") for line in response.text.splitlines() if line.startswith("data:")]
        answer = next(one for one in map(json.loads, filter(str.strip, events)) if "id" in one)
    assert isinstance(answer, dict)
    return answer


@asynccontextmanager
async def raw_client(url: str, era: str, token: str | None = None) -> AsyncIterator[RawClient]:
    """An open `RawClient`."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(headers=headers, timeout=20, trust_env=False) as http:
        client = RawClient(url, era, http)
        await client.open()
        yield client
