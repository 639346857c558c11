"""Which addresses are of the public internet: what the registries of special purposes leave over.

`ipaddress.is_global` answers from what Python knew at its release, and says yes to what no registry names. So this
is a rule of what is allowed: IPv6 is global unicast alone, and what is taken out of it, or of IPv4, is written here.
Sources: iana.org/assignments/iana-ipv4-special-registry, iana.org/assignments/iana-ipv6-special-registry,
RFC 5214 (ISATAP), RFC 6052 (IPv4 in IPv6).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["is_public"]

_SPECIAL_V4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by the customers of a carrier
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, where clouds keep credentials
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4, which are no more
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")
_SPECIAL_V6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocols, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: any address of IPv4
        "3fff::/20",
    )
)
_ISATAP = (0x00005EFE, 0x02005EFE)  # before the last 32 bits, which are any address of IPv4


def is_public(text: str) -> bool:
    """Whether an address, as a lookup gives it, is one of the public internet. An IPv4 address mapped into IPv6 counts
    as itself; every other form that holds one is not public.

    Raises:
        ValueError: it is no address.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address in _MAPPED:
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _SPECIAL_V4)
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return False
    return address in _GLOBAL_UNICAST and not any(address in block for block in _SPECIAL_V6)
