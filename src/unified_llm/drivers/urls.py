"""Server addresses: what a base URL may look like, and its parts as the wire needs them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from unified_llm.errors import InvalidBaseURLError

__all__ = ["Address", "is_loopback", "normalize_base_url"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_DEFAULT_PORTS = {"http": 80, "https": 443}

# Paths people copy from a vendor's curl example. They belong to the calls, which add them themselves.
_ENDPOINTS = (
    "/chat/completions",
    "/completions",
    "/responses",
    "/messages",
    "/messages/count_tokens",
    "/embeddings",
    "/models",
    "/api/chat",
    "/api/generate",
)


def normalize_base_url(text: str) -> str:
    """Check the address of a server and return it without trailing slashes.

    Raises:
        InvalidBaseURLError: no scheme, a scheme other than http and https, no host, credentials or a query inside,
            or a path that already names an endpoint such as ``/chat/completions`` (the hint shows it corrected).
    """
    url = text.strip()
    if not _SCHEME.match(url):
        raise _invalid(f"base_url {url!r} has no scheme", _with_scheme(url))
    if _UNSAFE.search(url):
        raise _invalid("base_url has a blank or a control character inside", "copy the address again")
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS:
        raise _invalid(f"base_url has the scheme {parts.scheme!r}", "only http:// and https:// are supported")
    if parts.username is not None or parts.password is not None:
        raise _invalid("base_url has a user name or password inside", "pass the credential as api_key= instead")
    _check_host(parts.hostname, parts.netloc, url)
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise _invalid("base_url has a query or a fragment", f"use {url.split('?')[0].split('#')[0]!r}")
    return _without_endpoint(url.rstrip("/"))


def _check_host(host: str | None, netloc: str, url: str) -> None:
    if not host:
        raise _invalid(f"base_url {url!r} names no host", "for example http://127.0.0.1:8080/v1")
    try:
        port = urlsplit(url).port
    except ValueError as exc:
        raise _invalid(f"base_url {url!r} has an impossible port", "a port is a number from 1 to 65535") from exc
    if port == 0 or netloc.endswith(":"):
        raise _invalid(f"base_url {url!r} has an impossible port", "a port is a number from 1 to 65535")


def _without_endpoint(url: str) -> str:
    path = urlsplit(url).path
    for endpoint in sorted(_ENDPOINTS, key=len, reverse=True):
        if path.endswith(endpoint):
            corrected = url.removesuffix(endpoint)
            raise _invalid(
                f"base_url ends in the endpoint {endpoint!r}", f"use {corrected!r}: calls add their own path"
            )
    return url


def _with_scheme(url: str) -> str:
    host = re.split(r"[/:]", url, maxsplit=1)[0]
    if not url or "@" in url:
        return "for example http://127.0.0.1:8080/v1"
    return f"use {'http' if is_loopback(host) else 'https'}://{url}"


def _invalid(message: str, hint: str) -> InvalidBaseURLError:
    return InvalidBaseURLError(message, hint=hint)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: ``localhost``, a name under it, 127.0.0.0/8 or ::1."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Address:
    """A normalized base URL, taken apart.

    Attributes:
        host: as DNS and TLS want it (IDNA, no brackets); port: a number, also when it is the default one.
        netloc: the value of the Host header; path: prefix of every call, without a slash at the end.
    """

    scheme: str
    host: str
    port: int
    netloc: str
    path: str

    @classmethod
    def parse(cls, base_url: str) -> Address:
        """Take apart what `normalize_base_url` accepts. Raises `InvalidBaseURLError` like it."""
        parts = urlsplit(normalize_base_url(base_url))
        host = _idna(parts.hostname or "")
        default = _DEFAULT_PORTS[parts.scheme]
        port = parts.port or default
        shown = f"[{host}]" if ":" in host else host
        netloc = shown if port == default else f"{shown}:{port}"
        return cls(parts.scheme, host, port, netloc, _quote(parts.path))

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def label(self) -> str:
        """``host:port``, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """``scheme://host[:port]``."""
        return f"{self.scheme}://{self.netloc}"

    def target(self, path: str) -> str:
        """The request target of a call whose path, relative to the base URL, is `path`."""
        return f"{self.path}/{_quote(path.lstrip('/'))}"


def _quote(path: str) -> str:
    return quote(path, safe="/?&=:@!$'()*+,;~%[]-._")


def _idna(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as exc:
        raise _invalid(f"base_url names the impossible host {host!r}", "check the spelling") from exc
