"""Bedrock's streamed bodies, which are frames of ``application/vnd.amazon.eventstream``, as server-sent events.

A frame: its length, the length of its headers, a checksum of the two (4 bytes each, big-endian), the headers, the
payload, a checksum of everything before it. The payload of a ``chunk`` is ``{"bytes": "<base64 of an event>"}``.
Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/event-stream.html (Smithy's event stream encoding).
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from typing import Final

from unified_llm import _json

__all__ = ["CONTENT_TYPE", "EventStreamDecoder", "FrameError"]

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
_PRELUDE: Final = struct.Struct(">III")
_CHECKSUM: Final = struct.Struct(">I")
_LONGEST: Final = 24 * 1024 * 1024
_TEXT: Final = 7
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of the header values of a fixed size, by type: booleans, integers, timestamp, uuid."""


class FrameError(ValueError):
    """The bytes are no event stream, or were damaged on the way."""


class EventStreamDecoder:
    """Turns bytes, cut anywhere, into the bytes of server-sent events."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> bool:
        """Whether part of a frame is waiting for its rest."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The events that `data` completes. Raises `FrameError`."""
        self._buffer += data
        while (size := self._whole()) is not None:
            frame = bytes(self._buffer[:size])
            del self._buffer[:size]
            event = _event(frame)
            if event is not None:
                yield event

    def _whole(self) -> int | None:
        """Length of the frame at the front, if all of it is there."""
        if len(self._buffer) < _PRELUDE.size:
            return None
        size, _, checksum = _PRELUDE.unpack_from(self._buffer)
        if binascii.crc32(self._buffer[:8]) != checksum or not 16 <= size <= _LONGEST:
            raise FrameError("the frame's head is damaged")
        return size if len(self._buffer) >= size else None


def _event(frame: bytes) -> bytes | None:
    if binascii.crc32(frame[:-4]) != _CHECKSUM.unpack(frame[-4:])[0]:
        raise FrameError("a frame's checksum is wrong")
    end = _PRELUDE.size + _PRELUDE.unpack_from(frame)[1]
    headers, payload = _headers(frame[_PRELUDE.size : end]), frame[end:-4]
    if headers.get(":message-type", "event") != "event":
        return _failure(headers, payload)
    if headers.get(":event-type") != "chunk":
        return None
    value = _decoded(payload)
    if "bytes" not in value and "type" in value:  # a gateway that leaves out the wrapping
        return _sse(str(value["type"]), payload)
    try:
        data = base64.b64decode(str(value["bytes"]), validate=True)
    except (KeyError, TypeError, ValueError) as exc:
        raise FrameError("a chunk without its bytes") from exc
    return _sse(str(_decoded(data).get("type") or "message"), data)


def _headers(data: bytes) -> dict[str, str]:
    """Those whose value is a text; the others are passed over."""
    found, at = {}, 0
    while at < len(data):
        name_end = at + 1 + data[at]
        name, kind, at = data[at + 1 : name_end].decode(), data[name_end], name_end + 1
        if kind in _SIZES:
            at += _SIZES[kind]
            continue
        size = int.from_bytes(data[at : at + 2], "big")
        if kind == _TEXT:
            found[name] = data[at + 2 : at + 2 + size].decode()
        at += 2 + size
    return found


def _failure(headers: dict[str, str], payload: bytes) -> bytes:
    """An exception in mid-stream, as the first-party API would say it."""
    kind = headers.get(":exception-type") or headers.get(":error-code") or "api_error"
    value = _decoded(payload)
    message = value.get("message") or value.get("Message") or headers.get(":error-message") or kind
    error = {"type": _TYPES.get(kind.lower(), kind), "message": message}
    return _sse("error", _json.dumps({"type": "error", "error": error}))


_TYPES: Final = {
    "throttlingexception": "rate_limit_error",
    "validationexception": "invalid_request_error",
    "modeltimeoutexception": "timeout_error",
    "modelstreamerrorexception": "api_error",
    "internalserverexception": "api_error",
    "serviceunavailableexception": "overloaded_error",
}


def _decoded(data: bytes) -> dict[str, object]:
    try:
        value = _json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _sse(event: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
