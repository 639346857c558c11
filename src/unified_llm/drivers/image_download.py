"""Images fetched from URLs for servers that fetch none, where the caller allows it.

What a URL names is chosen by whoever wrote the message, which may be anybody. So only http and https are followed, and
never from https down to http; nothing is sent along (cookies, keys), no proxy is asked, size and time are limited, and
only addresses of the public internet are connected to: each host is looked up here, and what was looked up is used.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from functools import cache
from typing import Any

import httpcore
import httpx

from unified_llm.drivers.image_network import AsyncNetwork, Network
from unified_llm.errors import APITimeoutError, InvalidMessageError, UnifiedLLMError

__all__ = ["MAX_BYTES", "download_image", "download_image_async"]

MAX_BYTES = 20 << 20
_SECONDS = 30.0
_HOPS = 5
_HINT = "download the image and pass its bytes: Image(data=...)"
_USER = re.compile(r"//[^/?#]*@")


class _Refusal(Exception):  # noqa: N818  # never leaves this module
    """It may not be fetched, or not any further; the text says why."""


_FAILURES = (
    _Refusal,
    httpx.InvalidURL,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    OSError,
    ValueError,  # of the codec for names of hosts, too
    OverflowError,  # a port that no socket takes
)


def download_image(url: str, *, private: bool = False, seconds: float | None = None) -> bytes:
    """The bytes behind `url`, at most 20 MiB within 30 s. `private` allows addresses of this machine and its networks.

    `seconds` is what the call has left. The limits are for everything, from looking up the name to the last byte.

    Raises:
        InvalidMessageError: it cannot be had, or may not be.
        APITimeoutError: it was not there when `seconds` were over.
    """
    limit = _limit(seconds)
    try:
        with httpcore.ConnectionPool(
            ssl_context=_tls(), network_backend=Network(private, time.monotonic() + limit)
        ) as pool:
            at = _checked(httpx.URL(url))
            for _ in range(_HOPS):
                with pool.stream("GET", _core(at), headers=_headers(at)) as response:
                    location = _location(response)
                    if location is None:
                        body = _Body()
                        for piece in response.iter_stream():
                            body.add(piece)
                        return bytes(body.data)
                at = _next(at, location)
            raise _Refusal(f"it leads on more than {_HOPS} times")
    except _FAILURES as exc:
        raise _error(url, exc, seconds) from exc


async def download_image_async(url: str, *, private: bool = False, seconds: float | None = None) -> bytes:
    """`download_image`, without blocking the event loop: a task that is cancelled leaves nothing under way."""
    try:
        async with (
            asyncio.timeout(_limit(seconds)),
            httpcore.AsyncConnectionPool(ssl_context=_tls(), network_backend=AsyncNetwork(private)) as pool,
        ):
            at = _checked(httpx.URL(url))
            for _ in range(_HOPS):
                async with pool.stream("GET", _core(at), headers=_headers(at)) as response:
                    location = _location(response)
                    if location is None:
                        body = _Body()
                        async for piece in response.aiter_stream():
                            body.add(piece)
                        return bytes(body.data)
                at = _next(at, location)
            raise _Refusal(f"it leads on more than {_HOPS} times")
    except _FAILURES as exc:
        raise _error(url, exc, seconds) from exc


class _Body:
    """What came so far."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, piece: bytes) -> None:
        self.data += piece
        if len(self.data) > MAX_BYTES:
            raise _Refusal(f"it is larger than {MAX_BYTES >> 20} MiB")


def _limit(seconds: float | None) -> float:
    return _SECONDS if seconds is None else min(_SECONDS, seconds)


@cache
def _tls() -> Any:
    """Certificates are checked, whatever the environment says; reading them takes longer than a small image."""
    return httpx.create_ssl_context(trust_env=False)


# -- addresses --------------------------------------------------------------------------------------------------------


def _checked(url: httpx.URL) -> httpx.URL:
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise _Refusal("only plain http and https addresses are fetched")
    return url


def _core(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _headers(url: httpx.URL) -> list[tuple[bytes, bytes]]:
    return [
        (b"host", url.netloc),
        (b"accept", b"image/*"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"unified-llm"),
    ]


def _location(response: httpcore.Response) -> str | None:
    """Where an answer leads; None where it is the image itself."""
    found = _header(response.headers, b"location")
    if 300 <= response.status < 400 and found is not None:
        return found.decode("latin-1")
    if response.status != 200:
        raise _Refusal(f"HTTP {response.status}")
    return None


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    return next((value for key, value in headers if key.lower() == name), None)


def _next(url: httpx.URL, location: str) -> httpx.URL:
    following = _checked(url.join(location))
    if url.scheme == "https" and following.scheme != "https":
        raise _Refusal("it leads from https to something less safe")
    return following


# -- errors -----------------------------------------------------------------------------------------------------------


def _error(url: str, exc: Exception, seconds: float | None) -> UnifiedLLMError:
    """The error (not raised) for a failure. All waiting here is for the one limit of time."""
    late = isinstance(exc, (TimeoutError, httpcore.TimeoutException))
    if late and seconds is not None and seconds < _SECONDS:
        return APITimeoutError(
            f"the image {_shown(url)} was not there when the deadline passed",
            hint="raise deadline=, or download the image and pass its bytes: Image(data=...)",
        )
    if late:
        why = f"it takes longer than {_SECONDS:g} s"
    else:
        why = str(exc) if isinstance(exc, (_Refusal, PermissionError)) else f"{type(exc).__name__} {exc}".strip()
    return InvalidMessageError(f"the image {_shown(url)} cannot be fetched: {why}", hint=_HINT)


def _shown(url: str) -> str:
    """The address without what may be a secret in it: user, query, fragment."""
    return _USER.sub("//", re.split(r"[?#]", url, maxsplit=1)[0])
