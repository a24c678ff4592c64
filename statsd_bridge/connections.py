"""
The open connections of a listener, by peer, and which of them is closed for a new one.

A listener with too many connections closes one of the peer that has the most, so a
client that opens many keeps out only itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)

IPV6_NETWORK_BITS = 64
"""One subscriber of the internet has all addresses of such a network."""


class Connections(Generic[C]):
    """
    Connections in the order of their last activity, by peer.

    A connection is used once it has delivered something: a line, a whole request.
    """

    def __init__(self) -> None:
        self._peers: dict[Hashable, _PeerConnections[C]] = {}
        self._peer_by_connection: dict[C, Hashable] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._peer_by_connection)

    def add(self, connection: C, peer: Hashable) -> None:
        """Add a connection that was just accepted."""
        self._peer_by_connection[connection] = peer
        self._sequence += 1
        of_peer = self._peers.setdefault(peer, _PeerConnections())
        of_peer.unused[connection] = self._sequence

    def remove(self, connection: C) -> None:
        """Remove a connection, if it is still there."""
        peer = self._peer_by_connection.pop(connection, None)
        if peer is None:
            return
        of_peer = self._peers[peer]
        of_peer.pop(connection)
        if not len(of_peer):
            del self._peers[peer]

    def record_activity(self, connection: C, *, is_used: bool = False) -> None:
        """Note that a connection has sent or received something just now."""
        peer = self._peer_by_connection.get(connection)
        if peer is None:
            return
        of_peer = self._peers[peer]
        is_used = is_used or connection in of_peer.used
        of_peer.pop(connection)
        self._sequence += 1
        (of_peer.used if is_used else of_peer.unused)[connection] = self._sequence

    def quietest(self) -> C:
        """
        Return the connection to close for a new one; there must be one.

        It is one of the peer with the most: the one that was inactive the longest of
        those that never delivered anything, else of all.
        """
        most = max(map(len, self._peers.values()))
        candidates = [each for each in self._peers.values() if len(each) == most]
        return min(each.quietest() for each in candidates)[2]


class _PeerConnections(Generic[C]):
    """
    The connections of one peer, by whether they are used.

    The values are places in the order of last activities, in which the dicts are, too.
    """

    __slots__ = ("unused", "used")

    def __init__(self) -> None:
        self.unused: dict[C, int] = {}
        self.used: dict[C, int] = {}

    def __len__(self) -> int:
        return len(self.unused) + len(self.used)

    def pop(self, connection: C) -> None:
        """Remove a connection."""
        if self.unused.pop(connection, None) is None:
            del self.used[connection]

    def quietest(self) -> tuple[bool, int, C]:
        """Return whether it is used, its last activity, and the quietest itself."""
        connections = self.unused or self.used
        connection = next(iter(connections))
        return connections is self.used, connections[connection], connection


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
