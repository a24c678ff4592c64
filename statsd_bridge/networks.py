"""
The networks whose hosts may send statsd over UDP and TCP: --statsd.allow-from.

    10.0.0.0/8, 192.0.2.7 (this address alone), 2001:db8::/32

An IPv4 address in IPv6 notation (`::ffff:10.0.0.1`), as a socket for both families
reports it, is the IPv4 address.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_REMEMBERED_ADDRESSES = 1_024
"""Addresses whose decision is remembered, about 150 bytes each."""

MAPPED_PREFIX = 96
"""Bits before the IPv4 address in an IPv6 address that has one."""

_CIDR = re.compile(r"[^/%]+(?:/[0-9]{1,3})?")


def parse_network(text: str) -> Network:
    """Read a network in CIDR notation, or one address; raise ValueError otherwise."""
    try:
        # A netmask after the slash would be read as well.
        interface = ipaddress.ip_interface(text if _CIDR.fullmatch(text) else "")
    except ValueError as error:
        raise ValueError(
            f"{text!r} is not a network; write 10.0.0.0/8, 2001:db8::/32 or one address"
        ) from error
    network = interface.network
    if interface.ip != network.network_address:
        raise ValueError(
            f"{text!r} has bits beyond its prefix; write {network} for the network, or"
            f" {interface.ip} for this address alone"
        )
    return _without_mapping(network)


def _without_mapping(network: Network) -> Network:
    """Return the IPv4 network that an IPv6 network stands for, else the network."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < MAPPED_PREFIX:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - MAPPED_PREFIX))


class AllowedSenders:
    """
    Decides about addresses, as text or as the bytes of a packet's header.

    The decisions of the last addresses are remembered, because a sender sends again.
    Others are found by bisection: forged addresses are new each time.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self._ranges = {4: _Ranges(networks, 4), 6: _Ranges(networks, 6)}
        self._decisions: dict[str | bytes, bool] = {}

    def allows(self, address: str | bytes) -> bool:
        """Return whether the host at an IP address may send."""
        decision = self._decisions.get(address)
        if decision is None:
            if len(self._decisions) >= MAX_REMEMBERED_ADDRESSES:
                self._decisions.clear()
            decision = self._decisions[address] = self._decide(address)
        return decision

    def _decide(self, address: str | bytes) -> bool:
        ip = plain_address(address)
        return int(ip) in self._ranges[ip.version]


class _Ranges:
    """The addresses of all networks of an IP version, as ascending ranges."""

    def __init__(self, networks: Sequence[Network], version: int) -> None:
        chosen: Any = [each for each in networks if each.version == version]
        collapsed = list(ipaddress.collapse_addresses(chosen))
        self._first = [int(each.network_address) for each in collapsed]
        self._last = [int(each.broadcast_address) for each in collapsed]

    def __contains__(self, address: int) -> bool:
        at = bisect_right(self._first, address)
        return at > 0 and address <= self._last[at - 1]


def plain_address(
    address: str | bytes,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address; one in IPv6 notation that has an IPv4 address is that."""
    ip = ipaddress.ip_address(address)
    return getattr(ip, "ipv4_mapped", None) or ip
