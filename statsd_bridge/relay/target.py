"""
A server that lines are relayed to: they are gathered until a packet is full.

    line, line, line  ->  "line\nline\nline\n"  ->  UDP
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from statsd_bridge.model import HostPort, Stats
from statsd_bridge.relay.udp import LossReason, UdpTarget

MAX_PACKET_BYTES = 65_507
"""The payload of the largest UDP datagram over IPv4."""

REASONS = (LossReason.UNRESOLVED, LossReason.FULL, LossReason.ERROR)
"""Why a target that gets copies can lose lines."""


class Target:
    """The lines that are gathered for one server, and what is counted."""

    reasons: Iterable[LossReason] = REASONS

    def __init__(
        self, address: HostPort, udp: UdpTarget, *, packet_length: int, stats: Stats
    ) -> None:
        self.udp = udp
        self.name = str(address)
        # The kernel would refuse a longer packet.
        self._packet_length = min(packet_length, MAX_PACKET_BYTES)
        # Like in statsd_exporter, length 0 sends every line in its own packet.
        self._max_line_bytes = self._packet_length or MAX_PACKET_BYTES
        self._stats = stats
        self._gathered = b""
        """Lines with their newlines, at most a packet."""
        outcomes = ("packets", "long_lines", "lines_relayed")
        for outcome in (*outcomes, *(f"lost_{reason}" for reason in self.reasons)):
            # A counter that exists at 0 has a rate at its first increment.
            self.count(outcome, 0)

    @property
    def is_up(self) -> bool:
        """Whether lines can reach the target, as far as that is known."""
        return self.udp.destination is not None

    def add(self, lines: Sequence[bytes]) -> None:
        """Gather lines, none of which is empty, and send each packet that is full."""
        if not lines:
            return
        data = b"%b%b\n" % (self._gathered, b"\n".join(lines))
        self._gathered = b""
        start = too_long = 0
        while len(data) - start > self._packet_length:
            end = data.rfind(b"\n", start, start + self._packet_length) + 1
            if not end:
                end = data.find(b"\n", start) + 1
                if not self._fits(end - start):
                    too_long += 1
                    start = end
                    continue
            self._send(data[start:end])
            start = end
        self._gathered = data[start:]
        self.count("lines_relayed", len(lines) - too_long)
        self.count("long_lines", too_long)

    def send(self) -> None:
        """Send the gathered lines."""
        packet, self._gathered = self._gathered, b""
        if packet:
            self._send(packet)

    def count(self, outcome: str, count: int) -> None:
        """Add to a counter of this target."""
        self._stats.relay[outcome, self.name] += count

    def _fits(self, size: int) -> bool:
        """Return whether a line that is longer than a packet is sent by itself."""
        return size <= self._max_line_bytes

    def _send(self, packet: bytes) -> None:
        loss = self.udp.send(packet)
        if loss is not LossReason.UNRESOLVED:
            self.count("packets", 1)
        if loss is not None:
            self.count(f"lost_{loss}", packet.count(b"\n"))
