"""Which connection is closed for a new one, and what identifies a client."""

from __future__ import annotations

import pytest

from statsd_bridge.connections import Connections, peer_of_host


def opened(*connections: tuple[str, str]) -> Connections[str]:
    """Return open connections: their names and peers, in this order."""
    table: Connections[str] = Connections()
    for name, peer in connections:
        table.add(name, peer)
    return table


def close_all(table: Connections[str]) -> list[str]:
    """Close all connections in the order in which they would be for new ones."""
    closed = []
    while len(table):
        closed.append(table.quietest())
        table.remove(closed[-1])
    return closed


def test_the_peer_with_the_most_gives_up_its_quietest() -> None:
    """However long the connection of another peer was inactive."""
    table = opened(("honest", "a"), *((f"idle{n}", "b") for n in range(3)))
    table.record_activity("idle0")

    assert close_all(table) == ["idle1", "idle2", "honest", "idle0"]


def test_a_connection_that_delivered_outlives_those_that_did_not() -> None:
    """Also of the same peer, and after one byte from each of the others."""
    table = opened(("honest", "a"), ("idle0", "a"), ("idle1", "a"))
    table.record_activity("honest", is_used=True)
    for name in ("idle1", "idle0"):
        table.record_activity(name)

    assert close_all(table) == ["idle1", "idle0", "honest"]


def test_used_connections_go_in_the_order_of_their_last_activity() -> None:
    """A connection stays used when it sends half a line."""
    table = opened(*((name, "a") for name in "xyz"))
    for name in "xyz":
        table.record_activity(name, is_used=True)
    table.record_activity("x")

    assert close_all(table) == ["y", "z", "x"]


def test_peers_with_as_many_connections_are_compared() -> None:
    """The quietest of all their connections is closed."""
    table = opened(("used", "a"), ("idle", "b"), ("new", "c"))
    table.record_activity("used", is_used=True)

    assert close_all(table) == ["idle", "new", "used"]


def test_a_removed_connection_is_forgotten() -> None:
    """Its later activity, and a second removal, change nothing."""
    table = opened(("x", "a"), ("y", "a"))
    table.remove("x")
    table.remove("x")
    table.record_activity("x", is_used=True)

    assert close_all(table) == ["y"]


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("fe80::1%lo", "fe80::1%lo"),
        ("fd00::1:2:3:4", "fd00::1:2:3:4"),
        ("2600:1:2:3:4:5:6:7", "2600:1:2:3::/64"),
        ("2600:1:2:3::1", "2600:1:2:3::/64"),
        ("2600:1:2:4::1", "2600:1:2:4::/64"),
        ("", ""),
        ("a name", "a name"),
    ],
)
def test_a_peer_is_an_address_or_a_network(host: str, peer: str) -> None:
    """One client may have a whole network of IPv6."""
    assert peer_of_host(host) == peer
