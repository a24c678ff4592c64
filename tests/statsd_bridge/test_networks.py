"""The networks that may send: their notation, and which addresses they have."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.networks import (
    MAX_REMEMBERED_ADDRESSES,
    AllowedSenders,
    parse_network,
)


def allowed(*networks: str) -> AllowedSenders:
    """Return what allows these networks."""
    return AllowedSenders([parse_network(each) for each in networks])


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
        ("0.0.0.0/0", "192.0.2.7", "::1"),
        ("0.0.0.0/0", "::ffff:192.0.2.7", "::192.0.2.7"),
        ("127.0.0.1/32", "::ffff:127.0.0.1", "::ffff:127.0.0.2"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("::1", "::1", "::2"),
        ("::/0", "2001:db8::1", "::ffff:10.0.0.1"),
        ("::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"),
        ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("fe80::/10", "fe80::1%eth0", "fec0::1"),
    ],
)
def test_a_network_has_its_addresses(network: str, inside: str, outside: str) -> None:
    """As text and as the bytes of a header, IPv4 addresses in IPv6 notation too."""
    senders = allowed(network)

    assert senders.allows(inside)
    assert not senders.allows(outside)
    assert senders.allows(ipaddress.ip_address(inside).packed)
    assert not senders.allows(ipaddress.ip_address(outside).packed)


def test_one_of_several_networks_is_enough() -> None:
    """They are of both families."""
    senders = allowed("10.0.0.0/8", "::1", "127.0.0.1")

    addresses = ["10.1.1.1", "::1", "127.0.0.1", "127.0.0.2", "::2"]
    allowed_addresses = [each for each in addresses if senders.allows(each)]
    assert allowed_addresses == addresses[:3]


@given(st.ip_addresses(), st.ip_addresses(network="198.18.0.0/15") | st.none())
def test_an_address_is_allowed_by_a_network_that_has_it_and_by_no_other(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    benchmark: ipaddress.IPv4Address | None,
) -> None:
    """The same decision the second time, when it is remembered."""
    host = benchmark or address
    is_inside = host in ipaddress.ip_network("198.18.0.0/15")
    senders = allowed("198.18.0.0/15")

    assert [senders.allows(host.packed) for _ in range(2)] == [is_inside] * 2


def test_many_forged_addresses_are_decided_right() -> None:
    """Also those that are not remembered any more."""
    senders = allowed("10.0.0.1")
    first = int(ipaddress.IPv4Address("10.0.0.0"))
    hosts = [(first + n).to_bytes(4, "big") for n in range(MAX_REMEMBERED_ADDRESSES)]

    for _ in range(3):
        assert [n for n, each in enumerate(hosts) if senders.allows(each)] == [1]
        assert not senders.allows("192.0.2.1")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/a"),
        *("10.0.0.0/8 ", "10.0.0/8", "10.0.0.0/8,11.0.0.0/8", "localhost", "all"),
        *("10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "10.0.0.0:9125"),
        *("::/129", "fe80::1%eth0", "[::1]", "010.0.0.0/8", "10.0.0.0/8\n"),
    ],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    """The message shows a network."""
    with pytest.raises(ValueError, match="is not a network; write 10"):
        parse_network(text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("10.0.0.1/8", "write 10.0.0.0/8 for the network, or 10.0.0.1 for this"),
        ("2001:db8::1/32", "write 2001:db8::/32 for the network, or 2001:db8::1 for"),
        ("1.2.3.4/0", "write 0.0.0.0/0 for the network, or 1.2.3.4 for"),
    ],
)
def test_bits_beyond_the_prefix_are_refused(text: str, advice: str) -> None:
    """The message has both networks that may be meant."""
    with pytest.raises(ValueError, match="has bits beyond its prefix") as caught:
        parse_network(text)

    assert advice in str(caught.value)


@given(
    st.lists(st.tuples(st.integers(0, 255), st.integers(20, 32)), max_size=8),
    st.integers(0, 255),
)
def test_networks_may_touch_and_overlap(
    chosen: list[tuple[int, int]], last_byte: int
) -> None:
    """The decision is that of the networks one by one."""
    networks = [
        ipaddress.ip_interface(f"192.0.2.{byte}/{prefix}").network
        for byte, prefix in chosen
    ]
    address = ipaddress.ip_address(f"192.0.2.{last_byte}")

    expected = any(address in network for network in networks)
    assert AllowedSenders(networks).allows(str(address)) == expected


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-f:.]{1,20}/[0-9]{1,3}"))
def test_any_text_is_a_network_or_a_value_error(text: str) -> None:
    """What is read has all of its own addresses."""
    try:
        network = parse_network(text)
    except ValueError:
        return
    assert AllowedSenders([network]).allows(str(network.network_address))
