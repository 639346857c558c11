"""The parser of aiohttp, written in C, in the place of h11: for many answers in flight that are not plain.

Only the parser is used: with the connections, pools and errors of `http_async` around it, nothing above notices which
parser runs.
"""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
import httpcore
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpResponseParser, RawResponseMessage

from unified_llm.drivers.exchange import MAX_HEAD
from unified_llm.drivers.failures import DISCONNECTED
from unified_llm.drivers.headers import RawHeaders

__all__ = ["AiohttpExchange"]

_NO_LIMIT: Final = 2**29  # the connection holds back what is not read yet; the parser need not


class AiohttpExchange:
    """`http11.Exchange` by aiohttp. Each request gets a parser of its own: nothing of the one before is left in it."""

    __slots__ = ("_message", "_parser", "_payload", "_protocol", "_surplus", "idle")

    def __init__(self) -> None:
        self._protocol = BaseProtocol(asyncio.get_running_loop())
        self._parser: HttpResponseParser
        self._message: RawResponseMessage | None = None
        self._payload: aiohttp.StreamReader | None = None
        self._surplus = False
        self.idle = True

    def request(self, method: bytes, target: bytes, headers: RawHeaders, body: bytes) -> list[bytes]:
        """See `Exchange`. The headers were checked when they were encoded (`headers`)."""
        self.idle = False
        self._message = self._payload = None
        self._parser = HttpResponseParser(
            self._protocol,
            self._protocol._loop,
            _NO_LIMIT,
            payload_exception=aiohttp.ClientPayloadError,
            response_with_body=method != b"HEAD",
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=MAX_HEAD,  # as h11
            max_field_size=MAX_HEAD,
        )
        lines = [b"%b: %b\r\n" % header for header in headers]
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, b"".join(lines))
        return [head, body] if body else [head]

    def feed(self, data: bytes) -> None:
        """See `Exchange`."""
        try:
            if data:
                messages, upgraded, _ = self._parser.feed_data(data)
            elif self._message is None:
                raise httpcore.RemoteProtocolError(DISCONNECTED)
            else:
                self._parser.feed_eof()
                return
        except (HttpProcessingError, aiohttp.ClientPayloadError) as exc:
            raise httpcore.RemoteProtocolError(getattr(exc, "message", "") or str(exc)) from exc
        if upgraded:
            raise httpcore.RemoteProtocolError("the server switched protocols unasked")
        for message, payload in messages:
            if self._message is not None:
                self._surplus = True
            elif not 100 <= message.code < 200:
                self._message, self._payload = message, payload

    def response(self) -> tuple[int, RawHeaders] | None:
        """See `Exchange`."""
        message = self._message
        return None if message is None else (message.code, list(message.raw_headers))

    def body(self) -> tuple[bytes, bool]:
        """See `Exchange`."""
        payload = self._payload
        if payload is None:
            return b"", False
        try:
            data = payload.read_nowait(-1)
        except aiohttp.ClientPayloadError as exc:
            raise httpcore.RemoteProtocolError(str(exc)) from exc
        return data, payload.is_eof()

    def finish(self) -> None:
        """See `Exchange`."""
        message, payload = self._message, self._payload
        if message is not None and payload is not None and payload.is_eof():
            self.idle = not (message.should_close or self._surplus)
