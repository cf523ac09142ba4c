"""Which addresses are public, held against the standard library where both answer the same question."""

from __future__ import annotations

import ipaddress
import random

import pytest
from fuzzing import rounds

from diantu.datasets.addresses import is_public


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "1.1.1.1", "2606:4700::1111", "2001:4860:4860::8888", "64:ff9b::808:808", "::ffff:8.8.8.8",
        "2002:808:808::1",
    ],
)  # fmt: skip
def test_global_unicast_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "::8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a00:1::1",
        "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "2001:0:7f00:1::1", "2606:4700::5efe:7f00:1", "fec0::1",
        "fe80::1%eth0",
        "fd00::1", "ff02::1", "ff0e::1", "224.0.0.1", "239.1.1.1", "255.255.255.255", "::", "::1", "0.0.0.0",
        "100.64.0.1",
        "198.18.0.1", "192.0.0.8", "192.88.99.1", "240.0.0.1", "2001:db8::1", "3fff::1", "4000::1", "", "x",
    ],
)  # fmt: skip
def test_all_others_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.fuzz
def test_embedded_addresses_decide() -> None:
    seeded = random.Random(5)
    private = [ipaddress.ip_network(each) for each in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16")]
    for _ in range(rounds(500)):
        bits = seeded.getrandbits(32)
        if seeded.random() < 0.5:
            network = seeded.choice(private)
            bits = int(network.network_address) | bits & int(network.hostmask)
        inside = ipaddress.IPv4Address(bits)
        public = is_public(str(inside))
        if public:
            assert inside.is_global
        if not inside.is_global:
            assert not public
        low = seeded.getrandbits(64)
        forms = {
            0xFFFF << 32 | bits: ipaddress.IPv6Address.ipv4_mapped,
            0x64FF9B << 96 | bits: None,
            0x2002 << 112 | bits << 80 | low: ipaddress.IPv6Address.sixtofour,
        }
        for form, unwrap in forms.items():
            address = ipaddress.IPv6Address(form)
            assert unwrap is None or unwrap.__get__(address) == inside
            isatap = low >> 32 & 0xFDFF_FFFF == 0x5EFE
            assert isatap or is_public(str(address)) == public, address
        teredo = ipaddress.IPv6Address(0x20010000_08080808 << 64 | low >> 32 << 32 | ~bits & 0xFFFFFFFF)
        assert teredo.teredo == (ipaddress.IPv4Address("8.8.8.8"), inside)
        assert is_public(str(teredo)) == public
        assert not is_public(str(ipaddress.IPv6Address(bits)))
        assert not is_public(str(ipaddress.IPv6Address(0x64FF9B0001 << 80 | bits)))
