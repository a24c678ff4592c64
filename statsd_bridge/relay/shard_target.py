"""A target that gets a share of the lines, and whether it is gone."""

from __future__ import annotations

from statsd_bridge.model import HostPort, Stats
from statsd_bridge.relay.connected import ConnectedUdpTarget
from statsd_bridge.relay.target import MAX_PACKET_BYTES, REASONS, Target
from statsd_bridge.relay.udp import LossReason

PROBE = b"\n"
"""A packet with no sample: two empty lines."""

MAX_IDLE_FLUSHES = 60
"""
Flushes, one a second, without a packet, until a probe is sent.  So a target that is
gone is noticed without its lines, and the last datagram of a shard is never old while
its sharding bridge runs.
"""

RETURN_PROBES = 5
"""
Probes in a row, one a second, that nothing refuses, until a target has returned.  A
host that does not exist is reported every 3 seconds (Linux, ARP).
"""

MAX_WAITING_BYTES = 4 * 1024 * 1024
"""Packets that wait at the start until the name of the target is looked up."""


class ShardTarget(Target):
    """
    One bridge behind a sharding one.

    A line that is longer than a packet is sent by itself: it would be missing from the
    pages otherwise.  Packets wait for the first look-up of the name, because with
    socket activation many arrive in the first moment.
    """

    reasons = (*REASONS, LossReason.REFUSED)

    def __init__(
        self,
        address: HostPort,
        udp: ConnectedUdpTarget,
        *,
        packet_length: int,
        stats: Stats,
    ) -> None:
        super().__init__(address, udp, packet_length=packet_length, stats=stats)
        self.udp: ConnectedUdpTarget = udp
        self.lines: list[bytes] = []
        """What the router has found for this target in the batch of now."""
        self.is_gone = False
        """Whether nothing receives what is sent, as far as that is known."""
        self.returns_lines = False
        """Whether packets that are refused are not lost: `take_returned` has them."""
        self._returned: list[bytes] = []
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self.count("lines_moved", 0)
        self._quiet_probes = 0
        self._idle_flushes = 0
        """Flushes since the last packet."""
        self._last_lines = 0
        """Lines of the last packet that was sent."""

    @property
    def is_up(self) -> bool:
        """Whether lines can reach the target, as far as that is known."""
        return super().is_up and not self.is_gone

    def add_routed(self) -> None:
        """Gather `lines`, and empty it."""
        if self.lines:
            self.add(self.lines)
            self.lines.clear()

    def send(self) -> None:
        """Send the gathered lines."""
        super().send()
        if self._waiting and not self._is_looked_up_first():
            self._send_waiting()

    def probe(self) -> None:
        """Find out whether the target is gone, or back; once a second, after `send`."""
        is_refused = self._has_refused() or self.udp.is_unknown
        self._idle_flushes += 1
        if self.is_gone or self._idle_flushes > MAX_IDLE_FLUSHES:
            self._idle_flushes = self._last_lines = 0
            loss = self.udp.send(PROBE)
            is_refused |= loss is LossReason.REFUSED
        if is_refused:
            self._mark_gone()
        elif self.is_gone:
            self._quiet_probes += 1
            self.is_gone = self._quiet_probes < RETURN_PROBES

    def take_returned(self) -> bytes:
        """Return the lines of the packets that were refused, once."""
        returned = b"".join(self._returned)
        self._returned.clear()
        self.count("lines_moved", returned.count(b"\n"))
        return returned

    def _fits(self, size: int) -> bool:
        # Without its newline it may be as long as a packet.
        return size - 1 <= MAX_PACKET_BYTES

    def _send(self, packet: bytes) -> None:
        if self._is_looked_up_first():
            if self._waiting_bytes + len(packet) <= MAX_WAITING_BYTES:
                self._waiting.append(packet)
                self._waiting_bytes += len(packet)
                return
        elif self._waiting:
            self._send_waiting()
        self._send_now(packet)

    def _is_looked_up_first(self) -> bool:
        """Return whether the first look-up of the name has no result yet."""
        return self.udp.destination is None and not self.udp.is_unknown

    def _send_waiting(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for packet in waiting:
            self._send_now(packet)

    def _send_now(self, packet: bytes) -> None:
        if self._has_refused() and self.returns_lines:
            self._returned.append(packet)
            return
        self._idle_flushes = 0
        loss = self.udp.send(packet[:MAX_PACKET_BYTES])
        lines = packet.count(b"\n")
        if loss is not LossReason.UNRESOLVED:
            self.count("packets", 1)
        if loss is None:
            self._last_lines = lines
            return
        if loss is LossReason.REFUSED or self.udp.is_unknown:
            self._mark_gone()
            if self.returns_lines:
                self._returned.append(packet)
                return
        self.count(f"lost_{loss}", lines)

    def _has_refused(self) -> bool:
        """Return whether an earlier packet was refused; count its lines."""
        if not self.udp.has_refused():
            return False
        self.count(f"lost_{LossReason.REFUSED}", self._last_lines)
        self._mark_gone()
        return True

    def _mark_gone(self) -> None:
        self.is_gone = True
        self._quiet_probes = 0
        self.udp.resolve_soon()
