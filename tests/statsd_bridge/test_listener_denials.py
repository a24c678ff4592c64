"""Listeners that only some senders may use: what is counted and logged."""

from __future__ import annotations

import socket
from typing import Any

from structlog.testing import capture_logs
from twisted.internet.address import IPv6Address
from twisted.internet.testing import MemoryReactorClock

from statsd_bridge.listener import DatagramReader, Denials, StreamFactory, bind
from statsd_bridge.model import HostPort, Stats
from statsd_bridge.networks import parse_network
from tests.statsd_bridge.in_memory import FakePipeline


def test_denied_datagrams_reach_neither_pipeline_nor_time() -> None:
    """Each is counted, one a minute is logged with its sender."""
    stats, pipeline = Stats(), FakePipeline()
    any_pipeline: Any = pipeline
    sock = bind.open_udp("flag", HostPort("127.0.0.1", 0), 1 << 20)
    reader = DatagramReader(
        sock,
        any_pipeline,
        transport="udp",
        receive_buffer=1 << 20,
        reactor=MemoryReactorClock(),
        denials=Denials([parse_network("10.0.0.0/8")], stats),
    )
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, sock, capture_logs() as logs:
        for _ in range(3):
            sender.sendto(b"a:1|c", sock.getsockname())
            reader.drain()

    assert stats.packets_denied == {"udp": 3}
    assert pipeline.lines == []
    assert reader.received_at is None
    assert [each["sender"] for each in logs] == ["127.0.0.1"]


def test_a_denied_connection_closes_no_other_for_it() -> None:
    """A listener that is full keeps its connections; a mapped address is IPv4."""
    stats = Stats()
    pipeline: Any = FakePipeline()
    factory = StreamFactory(
        pipeline,
        transport="tcp",
        max_connections=0,
        denials=Denials([parse_network("10.0.0.0/8")], stats),
    )
    with capture_logs() as logs:
        for host in ("::ffff:192.0.2.1", "2001:db8::1"):
            assert factory.buildProtocol(IPv6Address("TCP", host, 50_000)) is None

    assert stats.packets_denied == {"tcp": 2}
    assert [each["transport"] for each in logs] == ["tcp"]
