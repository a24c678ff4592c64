r"""
Relay a copy of every line to other statsd servers, over UDP.

    line, line, line  ->  "line\nline\nline\n"  ->  each target

Nothing here waits.  Lines are gathered until a packet is full or a second is over; a
packet that the kernel does not take at once is lost and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.task import LoopingCall

from statsd_bridge.log import BugReporter
from statsd_bridge.model import HostPort, Stats
from statsd_bridge.relay.udp import RETRY_SECONDS, LossReason, Resolver, UdpTarget

FLUSH_SECONDS = 1.0

MAX_PACKET_BYTES = 65_507
"""The payload of the largest UDP datagram over IPv4."""


class Relay:
    """All targets of one bridge.  Owned by the reactor's thread."""

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
        self._reactor = reactor
        self._bugs = bugs
        self._targets = [
            _Target(
                address,
                UdpTarget(address, resolver),
                packet_length=packet_length,
                stats=stats,
            )
            for address in addresses
        ]

    def start(self) -> None:
        """Look names up, now and whenever that is due, and flush every second."""
        calls = (self._refresh, RETRY_SECONDS), (self.flush, FLUSH_SECONDS)
        for call, seconds in calls:
            loop = LoopingCall(call)
            loop.clock = self._reactor
            loop.start(seconds)

    def forward(self, lines: Sequence[bytes]) -> None:
        """Add lines to the packet of every target, except empty ones."""
        for target in self._targets:
            target.add(lines)

    def flush(self) -> None:
        """Send the gathered lines."""
        for target in self._targets:
            # Raised, an exception would end the loop.
            with self._bugs.catch():
                target.send()

    def _refresh(self) -> None:
        for target in self._targets:
            with self._bugs.catch():
                target.udp.refresh(self._reactor.seconds())


class _Target:
    """One server: the lines that are gathered for it, and what is counted."""

    def __init__(
        self, address: HostPort, udp: UdpTarget, *, packet_length: int, stats: Stats
    ) -> None:
        self.udp = udp
        self._name = str(address)
        # The kernel would refuse a longer packet.
        self._packet_length = min(packet_length, MAX_PACKET_BYTES)
        # Like in statsd_exporter, length 0 sends every line in its own packet.
        self._max_line_bytes = (self._packet_length or MAX_PACKET_BYTES) - 1
        self._stats = stats
        self._lines: list[bytes] = []
        self._size = 0
        outcomes = ("packets", "long_lines", "lines_relayed")
        for outcome in (*outcomes, *(f"lost_{loss}" for loss in LossReason)):
            # A counter that exists at 0 has a rate at its first increment.
            self._count(outcome, 0)

    def add(self, lines: Iterable[bytes]) -> None:
        added = too_long = 0
        for line in filter(None, lines):
            if len(line) > self._max_line_bytes:
                too_long += 1
                continue
            if self._size + len(line) + 1 > self._packet_length:
                self.send()
            self._lines.append(line)
            self._size += len(line) + 1
            added += 1
        self._count("lines_relayed", added)
        self._count("long_lines", too_long)

    def send(self) -> None:
        if not self._lines:
            return
        count = len(self._lines)
        packet = b"\n".join([*self._lines, b""])
        self._lines.clear()
        self._size = 0
        loss = self.udp.send(packet)
        if loss is not LossReason.UNRESOLVED:
            self._count("packets", 1)
        if loss is not None:
            self._count(f"lost_{loss}", count)

    def _count(self, outcome: str, count: int) -> None:
        self._stats.relay[outcome, self._name] += count
