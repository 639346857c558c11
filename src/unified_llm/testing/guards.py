"""Guards against accidents: no paid request, no network at all, while a test runs."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from unified_llm.providers.guard import only_providers
from unified_llm.providers.registry import PROVIDER_CONFIGS

__all__ = ["NetworkBlockedError", "block_network", "forbid_real_providers"]


class NetworkBlockedError(RuntimeError):
    """Something tried to reach another machine inside `block_network`."""


@contextmanager
def forbid_real_providers(allow: Iterable[str] = ()) -> Iterator[None]:
    """Within, no provider but ``offline`` and those in `allow` can be used, and no other machine can be reached.

    Using one raises `ConfigurationError` before anything is sent, also from clients made earlier and from other
    threads. Providers that are not registered (your own test doubles, passed as objects) stay usable. This machine
    stays reachable, and with an `allow` every machine does. Also a decorator for functions that are not async.

        @pytest.fixture(autouse=True)
        def no_accidents():
            with forbid_real_providers():
                yield
    """
    names = {"offline", *allow}
    with ExitStack() as stack:
        stack.enter_context(only_providers(lambda name: name in names or name not in PROVIDER_CONFIGS))
        if names == {"offline"}:
            stack.enter_context(block_network())
        yield


@contextmanager
def block_network(allow: Iterable[str] = ()) -> Iterator[None]:
    """Within, connecting to another machine or looking up its name raises `NetworkBlockedError`.

    This machine (loopback addresses, Unix sockets) and the hosts in `allow` (names or addresses) stay reachable.
    Works on Python's own `socket` module, for the whole process; extensions that open sockets in C are not seen.
    The library may wrap the error in its own (`APIConnectionError`), as it would any failure to connect.
    """
    allowed = frozenset(allow)
    saved = [(owner, name, owner.__dict__.get(name)) for owner, name in _PATCHED]
    for owner, name, _ in saved:
        setattr(owner, name, _guarded(getattr(owner, name), allowed, lookup=owner is socket))
    try:
        yield
    finally:
        for owner, name, original in saved:
            if original is None:  # it was inherited
                delattr(owner, name)
            else:
                setattr(owner, name, original)


_PATCHED: tuple[tuple[Any, str], ...] = (
    (socket.socket, "connect"),
    (socket.socket, "connect_ex"),
    (socket, "getaddrinfo"),
)


def _guarded(original: Callable[..., Any], allowed: frozenset[str], *, lookup: bool) -> Callable[..., Any]:
    def guarded(*arguments: Any, **options: Any) -> Any:
        host = (arguments[0] if arguments else options.get("host")) if lookup else _host(arguments[1])
        if not _is_near(host, allowed):
            raise NetworkBlockedError(f"a test tried to reach {host!r}; unified_llm.testing.block_network forbids it")
        return original(*arguments, **options)

    return guarded


def _host(address: Any) -> Any:
    """The host of a socket address; Unix sockets have none."""
    return address[0] if isinstance(address, tuple) and address else None


def _is_near(host: Any, allowed: frozenset[str]) -> bool:
    if isinstance(host, bytes):
        host = host.decode("idna")
    if host in (None, "", "localhost") or host in allowed:
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False
