"""Images fetched from URLs for servers that fetch none, where the caller allows it.

What a URL names is chosen by whoever wrote the message, which may be anybody. So only http and https are followed, and
never from https down to http; nothing is sent along (cookies, keys), no proxy is asked, size and time are limited, and
only addresses of the public internet are connected to: each host is looked up here, and what was looked up is used.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin, urlsplit

from unified_llm.drivers.public_addresses import is_public
from unified_llm.errors import InvalidMessageError

__all__ = ["MAX_BYTES", "download_image"]

MAX_BYTES = 20 << 20
_SECONDS = 30.0
_HOPS = 5
_HEADERS = {"accept": "image/*", "accept-encoding": "identity", "user-agent": "unified-llm"}
_HINT = "download the image and pass its bytes: Image(data=...)"


def download_image(url: str, *, private: bool = False) -> bytes:
    """The bytes behind `url`, at most 20 MiB within 30 s. `private` allows addresses of this machine and its networks.

    Raises:
        InvalidMessageError: it cannot be had, or may not be.
    """
    import httpcore
    import httpx

    pool = httpcore.ConnectionPool(
        ssl_context=httpx.create_ssl_context(trust_env=False), network_backend=_backend(private), http2=False
    )
    end = time.monotonic() + _SECONDS
    shown = _shown(url)
    try:
        with pool:
            for _ in range(_HOPS):
                answer = _get(pool, url, end, shown)
                if isinstance(answer, bytes):
                    return answer
                url = _next(url, answer, shown)
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, ValueError) as exc:
        raise _refused(shown, f"{type(exc).__name__} {exc}".strip()) from exc
    raise _refused(shown, f"it leads on more than {_HOPS} times")


def _get(pool: Any, url: str, end: float, shown: str) -> bytes | str:
    """The body, or where it leads."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise _refused(shown, "only plain http and https addresses are fetched")
    left = max(0.1, end - time.monotonic())
    limits = dict.fromkeys(("connect", "read", "write", "pool"), left)
    with pool.stream("GET", url, headers=_HEADERS, extensions={"timeout": limits}) as response:
        headers = {name.lower(): value for name, value in response.headers}
        if 300 <= response.status < 400 and b"location" in headers:
            return str(headers[b"location"].decode("latin-1"))
        if response.status != 200:
            raise _refused(shown, f"HTTP {response.status}")
        return _body(response.iter_stream(), end, shown)


def _body(pieces: Iterable[bytes], end: float, shown: str) -> bytes:
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > MAX_BYTES:
            raise _refused(shown, f"it is larger than {MAX_BYTES >> 20} MiB")
        if time.monotonic() > end:
            raise _refused(shown, f"it takes longer than {_SECONDS:g} s")
    return bytes(data)


def _next(url: str, location: str, shown: str) -> str:
    following = urljoin(url, location)
    if url.startswith("https:") and not following.startswith("https:"):
        raise _refused(shown, "it leads from https to something less safe")
    return following


def _shown(url: str) -> str:
    """The address without what may be a secret in it: user, query, fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _refused(shown: str, why: str) -> InvalidMessageError:
    return InvalidMessageError(f"the image {shown} cannot be fetched: {why}", hint=_HINT)


# -- addresses --------------------------------------------------------------------------------------------------------


def _backend(private: bool) -> Any:
    import httpcore

    class Backend(httpcore.SyncBackend):
        """Connects to the address that was checked, so that a name cannot mean another one the next moment."""

        def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> Any:
            return super().connect_tcp(_address(host, port, private), port, *args, **options)

    return Backend()


def _address(host: str, port: int, private: bool) -> str:
    """An address of `host`. Raises `OSError` where one of its addresses is not of the public internet."""
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not private and not all(map(is_public, found)):
        raise PermissionError("the address belongs to this machine or its networks (download_images='any' allows them)")
    return found[0]
