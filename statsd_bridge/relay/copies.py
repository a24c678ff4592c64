"""Relay a copy of every line to each of some statsd servers, over UDP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from statsd_bridge.log import BugReporter
from statsd_bridge.model import HostPort, Stats
from statsd_bridge.relay.base import BaseRelay
from statsd_bridge.relay.target import Target
from statsd_bridge.relay.udp import Resolver, UdpTarget


class Relay(BaseRelay[Target]):
    """All targets of one bridge that get copies."""

    def __init__(
        self,
        addresses: Sequence[HostPort],
        *,
        packet_length: int,
        stats: Stats,
        bugs: BugReporter,
        reactor: Any,
        resolver: Resolver | None = None,
    ) -> None:
        resolver = resolver or Resolver(reactor, len(addresses))
        targets = [
            Target(
                address,
                UdpTarget(address, resolver),
                packet_length=packet_length,
                stats=stats,
            )
            for address in addresses
        ]
        super().__init__(targets, bugs=bugs, reactor=reactor)

    def forward(self, lines: Sequence[bytes]) -> None:
        """Add lines to the packet of every target, except empty ones."""
        lines = list(filter(None, lines))
        for target in self.targets:
            target.add(lines)
