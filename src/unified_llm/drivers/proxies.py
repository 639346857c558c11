"""Which proxy leads to a server."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from unified_llm.drivers.urls import Address, is_loopback
from unified_llm.errors import ConfigurationError

__all__ = ["Proxy", "find_proxy"]

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP or SOCKS5 proxy. `auth` is (user, password), or None; it never shows in a repr."""

    scheme: str
    host: str
    port: int
    auth: tuple[str, str] | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Read ``scheme://[user:password@]host[:port]``, the scheme being http (also when absent), https or socks5.

        Raises:
            ConfigurationError: another scheme, no host, or an impossible port.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            port = None
        if not port or not parts.hostname or parts.scheme not in _PORTS:
            raise ConfigurationError(
                f"the proxy {parts.scheme}://{parts.hostname or ''} cannot be used",
                hint="use http://host:port or socks5://host:port; see also HTTP_PROXY, HTTPS_PROXY and ALL_PROXY",
            )
        auth = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
        return cls(parts.scheme, parts.hostname, port, auth)

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization, or None."""
        return None if self.auth is None else "Basic " + b64encode(":".join(self.auth).encode()).decode("ascii")

    @property
    def url(self) -> str:
        """The address without credentials."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def find_proxy(address: Address, explicit: str | None) -> Proxy | None:
    """The proxy to use for `address`: the explicit one, else the environment's (or the system's), else None.

    The environment's is not used for this machine itself, whatever NO_PROXY says: a proxy elsewhere cannot reach our
    loopback, and company machines that run a local model server have HTTP_PROXY set (browsers decide the same:
    https://chromium.googlesource.com/chromium/src/+/HEAD/net/docs/proxy.md#implicit-bypass-rules).
    """
    if explicit is not None:
        return Proxy.parse(explicit)
    if is_loopback(address.host) or not _configured():
        return None
    from urllib.request import getproxies, proxy_bypass  # 20 ms to import, seldom needed

    found = getproxies()
    url = found.get(address.scheme) or found.get("all")
    return None if not url or proxy_bypass(address.label) else Proxy.parse(url)


def _configured() -> bool:
    # macOS and Windows keep proxies elsewhere too.
    return sys.platform in ("darwin", "win32") or any(name.lower().endswith("_proxy") for name in os.environ)
