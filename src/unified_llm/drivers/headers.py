"""The headers of a request: what every call carries, checked before a library could quote them in an error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from unified_llm.errors import InvalidRequestError
from unified_llm.wire import WireCall

__all__ = ["HeaderSet", "RawHeaders", "encode_headers"]

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

# Set by the transport from the call itself; a second value would break the framing of the request.
_FRAMING = ("host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer")


def encode_headers(headers: Iterable[tuple[str, str]]) -> RawHeaders:
    """Encode headers. Raises `InvalidRequestError` for one that cannot be sent, without its value."""
    return [(_checked_name(name), _checked_value(name, value)) for name, value in headers]


def _checked_name(name: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(f"{name[:40]!r} is not a header name", hint="see the headers given to this call")
    if name.lower() in _FRAMING:
        raise InvalidRequestError(f"the header {name!r} cannot be set", hint="the transport sets it from the call")
    return name.lower().encode("ascii")


def _checked_value(name: str, value: str) -> bytes:
    value = value.strip(" \t")
    if not _VALUE.fullmatch(value):
        raise InvalidRequestError(
            f"the value of the header {name!r} has a character that cannot be sent",
            hint="line breaks and characters outside Latin-1 are not allowed: was it copied whole, on one line?",
        )
    return value.encode("latin-1")


class HeaderSet:
    """Headers of the calls to one server, encoded once per kind of call.

    Args:
        netloc: the value of the Host header.
        headers: sent with every call; they win over ours, and a call's own win over them.
    """

    def __init__(self, netloc: str, headers: Mapping[str, str]) -> None:
        ours = {"user-agent": "unified-llm"}
        self._host: RawHeaders = [(b"host", netloc.encode("ascii"))]
        self._common = ours | {name.lower(): value for name, value in headers.items()}
        encode_headers(self._common.items())
        self._kept: dict[tuple[bool, bool], RawHeaders] = {}

    def of(self, call: WireCall) -> RawHeaders:
        """The headers of `call`. Raises `InvalidRequestError` for one that cannot be sent."""
        if call.headers:
            fixed = self._build(call, {name.lower(): value for name, value in call.headers})
        else:
            key = (call.stream, call.body is not None)
            fixed = self._kept.get(key) or self._kept.setdefault(key, self._build(call, {}))
        if call.body is None:
            return fixed
        return [*fixed, (b"content-length", b"%d" % len(call.body))]

    def _build(self, call: WireCall, extra: dict[str, str]) -> RawHeaders:
        # A stream that an intermediary compresses arrives in lumps; a complete answer is the smaller the better.
        varying = {"accept-encoding": "identity" if call.stream else "gzip, deflate"}
        if call.body is not None:
            varying["content-type"] = "application/json"
        return self._host + encode_headers((varying | self._common | extra).items())
