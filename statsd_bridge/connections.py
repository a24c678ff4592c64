"""
The open connections of a listener, by peer, and which of them is closed for a new one.

A listener with too many connections closes one of the peer that has the most, so a
client that opens many keeps out only itself.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Hashable
from itertools import chain
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)

IPV6_NETWORK_BITS = 64
"""One subscriber of the internet has all addresses of such a network."""


class Connections(Generic[C]):
    """
    Connections in the order of their last activity, and how many each peer has.

    A connection is used once it has delivered something: a line, a whole request.
    """

    def __init__(self) -> None:
        # The values are peers.
        self._unused: dict[C, Hashable] = {}
        self._used: dict[C, Hashable] = {}
        self._counts: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return len(self._unused) + len(self._used)

    def add(self, connection: C, peer: Hashable) -> None:
        """Add a connection that was just accepted."""
        self._unused[connection] = peer
        self._counts[peer] += 1

    def remove(self, connection: C) -> None:
        """Remove a connection, if it is still there."""
        for connections in (self._unused, self._used):
            if connection in connections:
                peer = connections.pop(connection)
                self._counts[peer] -= 1
                if not self._counts[peer]:
                    del self._counts[peer]

    def all(self) -> list[C]:
        """Return all connections."""
        return [*self._unused, *self._used]

    def record_activity(self, connection: C, *, is_used: bool = False) -> None:
        """Note that a connection has sent or received something just now."""
        # Removed and inserted again, it is the last in the order of a dict.
        if connection in self._used:
            self._used[connection] = self._used.pop(connection)
        elif connection in self._unused:
            peer = self._unused.pop(connection)
            (self._used if is_used else self._unused)[connection] = peer

    def quietest(self) -> C:
        """
        Return the connection to close for a new one; there must be one.

        It is one of the peers with the most: the one that was inactive the longest of
        those that never delivered anything, else of all.
        """
        most = max(self._counts.values())
        in_order = chain(self._unused.items(), self._used.items())
        return next(each for each, peer in in_order if self._counts[peer] == most)


def peer_of_host(host: str) -> str:
    """
    Return what identifies the client at an IP address.

    An IPv4 address is itself, in IPv6 notation too; a global IPv6 address is its
    network, because one client may have all of that.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, ipaddress.IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if not address.is_global:
        return str(address)
    network = int(address) >> (128 - IPV6_NETWORK_BITS) << (128 - IPV6_NETWORK_BITS)
    return f"{ipaddress.IPv6Address(network)}/{IPV6_NETWORK_BITS}"
