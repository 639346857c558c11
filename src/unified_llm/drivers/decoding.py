"""Content codings of response bodies, decoded as the bytes arrive."""

from __future__ import annotations

import zlib
from typing import Protocol

__all__ = ["BodyDecoder", "DecodingError", "body_decoder"]


class DecodingError(ValueError):
    """The body is not what its content-encoding says."""


class BodyDecoder(Protocol):
    """Decodes one body. Both methods raise `DecodingError`."""

    def feed(self, data: bytes) -> bytes: ...
    def close(self) -> bytes: ...


def body_decoder(encoding: str | None) -> BodyDecoder | None:
    """The decoder for a Content-Encoding, or None when the body is as it is. Raises `DecodingError` when unknown."""
    name = (encoding or "").strip().lower()
    if name in ("", "identity"):
        return None
    if name not in ("gzip", "x-gzip", "deflate"):
        raise DecodingError(f"its content-encoding {name!r} was not asked for")
    return _Inflater(zlib.decompressobj(31) if name != "deflate" else None)


class _Inflater:
    def __init__(self, inflate: zlib._Decompress | None) -> None:
        self._inflate = inflate
        self._start = b""

    def feed(self, data: bytes) -> bytes:
        if self._inflate is None:
            data = self._start + data
            if len(data) < 2:
                self._start = data
                return b""
            self._inflate = zlib.decompressobj(_window(data))
        try:
            return self._inflate.decompress(data)
        except zlib.error as exc:
            raise DecodingError(f"its compressed body is damaged ({exc})") from exc

    def close(self) -> bytes:
        if self._inflate is None or not self._inflate.eof:
            raise DecodingError("its compressed body is incomplete")
        return self._inflate.flush()


def _window(data: bytes) -> int:
    """ "deflate" means the zlib format, and some servers send it bare: the first two bytes tell (RFC 1950, 2.2)."""
    return 15 if data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0 else -15
