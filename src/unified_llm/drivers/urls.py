"""Server addresses: what a base URL may look like, and its parts as the wire needs them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from unified_llm.errors import InvalidBaseURLError

__all__ = ["Address", "is_loopback", "normalize_base_url"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_EXAMPLE = "for example http://127.0.0.1:8080/v1"
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
    if not isinstance(text, str):
        raise _invalid(f"base_url is {type(text).__name__}", _EXAMPLE)
    url = text.strip()
    if not _SCHEME.match(url):
        raise _no_scheme(url)
    if _UNSAFE.search(url):
        raise _invalid("base_url has a blank or a control character inside", "copy the address again")
    parts = _split(url)
    if parts.scheme not in _DEFAULT_PORTS:
        raise _invalid(f"base_url has the scheme {parts.scheme!r}", "only http:// and https:// are supported")
    if not parts.hostname:
        raise _invalid(f"base_url {url!r} names no host", _EXAMPLE)
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise _invalid("base_url has a query or a fragment", f"use {re.split('[?#]', url)[0]!r}")
    return _without_endpoint(url.rstrip("/"))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        user = parts.username is not None or parts.password is not None
    except ValueError as exc:
        raise _invalid("base_url is no URL: a bracket is missing", _EXAMPLE) from exc
    if user:
        raise _invalid("base_url has a user name or password inside", "pass the credential as api_key= instead")
    try:
        possible = parts.port != 0 and not parts.netloc.endswith(":")
    except ValueError:
        possible = False
    if not possible:
        # Not repeated: after the colon there may be a password.
        raise _invalid(f"base_url of {parts.hostname} has an impossible port", "a port is a number from 1 to 65535")
    return parts


def _without_endpoint(url: str) -> str:
    path = urlsplit(url).path
    for endpoint in sorted(_ENDPOINTS, key=len, reverse=True):
        if path.endswith(endpoint):
            corrected = url.removesuffix(endpoint)
            raise _invalid(
                f"base_url ends in the endpoint {endpoint!r}", f"use {corrected!r}: calls add their own path"
            )
    return url


def _no_scheme(url: str) -> InvalidBaseURLError:
    if not url or "@" in url:
        return _invalid("base_url has no scheme", _EXAMPLE)
    scheme = "http" if is_loopback(re.split(r"[/:]", url, maxsplit=1)[0]) else "https"
    return _invalid(f"base_url {url!r} has no scheme", f"use {scheme}://{url}")


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
        query: sent with every call, encoded, without the ``?``.
    """

    scheme: str
    host: str
    port: int
    netloc: str
    path: str
    query: str = ""

    @classmethod
    def parse(cls, base_url: str, query: Mapping[str, str] | None = None) -> Address:
        """Take apart what `normalize_base_url` accepts. Raises `InvalidBaseURLError` like it."""
        parts = urlsplit(normalize_base_url(base_url))
        host = _idna(parts.hostname or "")
        default = _DEFAULT_PORTS[parts.scheme]
        port = parts.port or default
        shown = f"[{host}]" if ":" in host else host
        netloc = shown if port == default else f"{shown}:{port}"
        return cls(parts.scheme, host, port, netloc, _quote(parts.path), urlencode(query or {}))

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def written_port(self) -> int | None:
        """The port, or None when it is the scheme's own."""
        return None if self.port == _DEFAULT_PORTS[self.scheme] else self.port

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
        target = f"{self.path}/{_quote(path.lstrip('/'))}"
        return f"{target}{'&' if '?' in target else '?'}{self.query}" if self.query else target


def _quote(path: str) -> str:
    return quote(path, safe="/?&=:@!$'()*+,;~%[]-._")


def _idna(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as exc:
        raise _invalid(f"base_url names the impossible host {host!r}", "check the spelling") from exc
