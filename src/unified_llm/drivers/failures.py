"""What went wrong underneath, in the words of our error tree: who was called, which phase, what to do next."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import httpcore

from unified_llm.drivers.urls import Address
from unified_llm.errors import (
    APIConnectionError,
    APITimeoutError,
    ResponseError,
    StreamInterruptedError,
    UnifiedLLMError,
)
from unified_llm.wire import request_id_of

__all__ = [
    "CLOSED",
    "CONNECT_SECONDS",
    "DISCONNECTED",
    "Phase",
    "body_failed",
    "connect_failed",
    "cut",
    "damaged",
    "exchange_failed",
    "lost",
    "timed_out",
]

CONNECT_SECONDS: Final = 10.0
"""Longest wait for a connection; a server that is up answers a SYN at once, however slow its model is."""

Phase: TypeAlias = Literal["pool", "connect", "first byte", "next byte", "total"]

CLOSED: Final = (httpcore.NetworkError, httpcore.RemoteProtocolError)
"""What httpcore raises when the server closes the connection instead of answering."""

DISCONNECTED: Final = "Server disconnected without sending a response."  # httpcore's words, for half a head too

_HINTS: dict[Phase, str] = {
    "pool": "more calls are in flight than max_connections allows; raise it, or make fewer calls at once",
    "connect": "check the address and the network; a firewall that drops packets looks like this",
    "first byte": "the server accepted the request and said nothing: raise timeout=, or see whether it still works",
    "total": "the deadline passed before the answer was complete: raise deadline=, or add fallbacks",
    "next byte": "the answer began and then stopped: raise timeout=, or see whether the server still works",
}


def timed_out(address: Address, phase: Phase, after: float) -> APITimeoutError:
    """The error for a wait of `after` seconds that brought nothing."""
    what = {
        "pool": f"no free connection to {address.label}",
        "connect": f"no connection to {address.label}",
        "first byte": f"no answer from {address.label}",
        "next byte": f"no more bytes from {address.label}",
        "total": f"no complete answer from {address.label}",
    }[phase]
    return APITimeoutError(f"{what} within {after:g} s ({phase} timeout)", hint=_HINTS[phase])


def connect_failed(address: Address, exc: BaseException, *, via: str | None = None) -> APIConnectionError:
    """The error for a connection that was never made. `via` names the proxy, if there is one."""
    route = f" through the proxy {via}" if via else ""
    reason, hint, retryable = _reason(address, exc)
    return APIConnectionError(f"cannot connect to {address.label}{route}: {reason}", hint=hint, retryable=retryable)


def _reason(address: Address, exc: BaseException) -> tuple[str, str, bool]:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({exc.verify_message})",
            "for a private authority set SSL_CERT_FILE to its certificate, or pass verify=an ssl.SSLContext",
            False,
        )
    if isinstance(exc, ssl.SSLError):
        word = (exc.reason or "handshake failure").lower().replace("_", " ")
        return f"TLS failed ({word})", f"does it speak https? if not, use http://{address.netloc}", False
    if isinstance(exc, socket.gaierror):
        return "the host name is unknown", "check the spelling in base_url, and the network", True
    if isinstance(exc, ConnectionRefusedError) or getattr(exc, "errno", None) == errno.ECONNREFUSED:
        return "connection refused", f"is the server running, and does it listen on port {address.port}?", True
    if isinstance(exc, ConnectionError):
        return f"the connection was closed ({_word(exc)})", "is this the right port, http or https as written?", True
    return _word(exc), "check the address and the network", True


def _word(exc: BaseException) -> str:
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return str(text)


def exchange_failed(
    address: Address, exc: BaseException, limit: float, *, answered: bool, via: str | None
) -> UnifiedLLMError | None:
    """The error for what httpcore raised between connecting and the head of the answer; None for what is not its own.

    `answered` tells whether a byte of the answer had come.
    """
    if isinstance(exc, httpcore.ConnectTimeout):
        return timed_out(address, "connect", min(limit, CONNECT_SECONDS))
    if isinstance(exc, (httpcore.ReadTimeout, httpcore.WriteTimeout)):
        return timed_out(address, "first byte", limit)
    if isinstance(exc, (httpcore.ConnectError, httpcore.ProxyError)):
        return connect_failed(address, exc.__cause__ or exc, via=via)
    if isinstance(exc, httpcore.RemoteProtocolError) and answered and str(exc) != DISCONNECTED:
        return not_http(address, _word(exc))
    if isinstance(exc, (httpcore.NetworkError, httpcore.RemoteProtocolError)):
        return lost(address, exc)
    return None


def not_http(address: Address, reason: str) -> APIConnectionError:
    """The error for an answer that is not HTTP/1.x."""
    return APIConnectionError(
        f"{address.label} does not speak HTTP/1.1: {reason}",
        hint="is this the right port? does it need https:// ?",
        retryable=False,
    )


def lost(address: Address, exc: BaseException) -> APIConnectionError:
    """The error for a connection that ended before the head of an answer did."""
    return APIConnectionError(
        f"{address.label} closed the connection without an answer ({_word(exc.__cause__ or exc)})",
        hint="the server may have crashed or restarted: see its log; http where https is needed looks like this too",
    )


def body_failed(
    address: Address, exc: Exception, limit: float, status: int, headers: Mapping[str, str], ended: bool
) -> UnifiedLLMError:
    """The error for what httpcore, or decoding, raised inside a body; `ended` tells whether the connection ended."""
    if isinstance(exc, httpcore.TimeoutException):
        error: UnifiedLLMError = timed_out(address, "next byte", limit)
    elif isinstance(exc, httpcore.NetworkError) or ended:
        error = cut(address, status, _word(exc.__cause__ or exc))
    else:
        error = damaged(address, status, _word(exc))
    return error.with_context(status=status, request_id=request_id_of(headers))


def damaged(address: Address, status: int, reason: str) -> ResponseError:
    """The error for a body that breaks HTTP/1.1 or its content-encoding."""
    return ResponseError(
        f"{address.label} sent a damaged answer: {reason}",
        status=status,
        hint="a proxy or gateway in between may be at fault: try the server's own address",
    )


def cut(address: Address, status: int, reason: str) -> StreamInterruptedError:
    """The error for a body that stopped before its end."""
    return StreamInterruptedError(
        f"{address.label} broke off its answer: {reason}",
        status=status,
        hint="the answer is incomplete; ask again, and see the server's log if it keeps happening",
    )
