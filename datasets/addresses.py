"""Which addresses of the internet are public, so that a URL of a stranger does not reach a private network (SSRF)."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

# IANA's registries of special purposes, without what is globally reachable: https://www.iana.org/assignments/
# iana-ipv4-special-registry and iana-ipv6-special-registry. Python's `is_global` differs between its releases, and
# takes multicast and translated addresses for global.
_NOT_PUBLIC_4 = tuple(map(IPv4Network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
)))  # fmt: skip
_UNICAST_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")))
# Prefixes whose last 32 bits are an IPv4 address: mapped (RFC 4291) and NAT64 (RFC 6052). Others with such bits are
# outside 2000::/3 and never public: compatible (::/96), translated (::ffff:0:0:0/96), local NAT64 (64:ff9b:1::/48).
_LAST_32_BITS = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_TEREDO = IPv6Network("2001::/32")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # the upper half of the interface identifier (RFC 5214)


def is_public(address: str) -> bool:
    """Whether an address is global unicast, and so is every IPv4 address inside it.

    Args:
        address: as `getaddrinfo` returns it, with or without a zone.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return _is_public_4(found) if isinstance(found, IPv4Address) else _is_public_6(found)


def _is_public_4(address: IPv4Address) -> bool:
    return not any(address in network for network in _NOT_PUBLIC_4)


def _is_public_6(address: IPv6Address) -> bool:
    bits = int(address)
    if any(address in network for network in _LAST_32_BITS):
        return _is_public_4(IPv4Address(bits & 0xFFFF_FFFF))
    if address in _TEREDO:  # the server, and the client with inverted bits (RFC 4380)
        server, client = bits >> 64 & 0xFFFF_FFFF, ~bits & 0xFFFF_FFFF
        return _is_public_4(IPv4Address(server)) and _is_public_4(IPv4Address(client))
    if address not in _UNICAST_6 or any(address in network for network in _NOT_PUBLIC_6):
        return False
    if address.sixtofour is not None and not _is_public_4(address.sixtofour):
        return False
    return bits >> 32 & 0xFFFF_FFFF not in _ISATAP or _is_public_4(IPv4Address(bits & 0xFFFF_FFFF))
