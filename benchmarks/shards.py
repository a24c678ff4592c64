"""
One bridge, several behind a sharding one, and statsd_exporter under the same traffic.

    sender --> sharding bridge --> shard, shard       CPU time of each process

Only CPU times are measured, of each process by itself, so that a machine with two cores
is enough.  The ceiling follows from them: the rate at which the busiest process needs
all the time of one core, if every process has one.  statsd_exporter has threads: on n
cores its ceiling is at most n times as high.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from benchmarks.machine import HOST
from benchmarks.measures import (
    US_PER_SECOND,
    Bench,
    Measure,
    Numbers,
    wait_until_idle,
)
from benchmarks.servers import (
    EXPORTER_PACKETS,
    Server,
    ServerSpec,
    bridge_command,
    running,
)
from benchmarks.traffic import HISTOGRAM_RULES

LINES = 10
"""Lines in a packet of the sender."""

PACKET_BYTES = 8_000
"""Of the packets between the bridges: they are on one host."""

WARM_UP_SECONDS = 1.0


class Fleet(NamedTuple):
    """Servers that share the load, and the one that senders know."""

    front: Server
    others: list[Server]

    def all(self) -> list[Server]:
        """Return all servers, the front first."""
        return [self.front, *self.others]

    def drops(self) -> int:
        """Return the packets that the kernel dropped at any of them."""
        return sum(each.drops() for each in self.all())


def traffic(profile: str, rate: int) -> Measure:
    """Measure the CPU time of a line in each process at `rate` packets a second."""
    what = f"{profile}, {LINES} a packet, {rate:,} packets/s"

    def measure(bench: Bench, spec: ServerSpec) -> Numbers:
        with _fleet(bench, spec) as fleet:
            if profile != "distinct":
                # A new name costs more, and all of them are new in this profile.
                _send(bench, fleet, WARM_UP_SECONDS * bench.scale, profile, rate)
            before = [each.cpu_seconds() for each in fleet.all()]
            drops, front_drops = fleet.drops(), fleet.front.drops()
            sent = _send(bench, fleet, bench.seconds, profile, rate)
            lost, front_lost = fleet.drops() - drops, fleet.front.drops() - front_drops
            lines = max(1, sent - front_lost) * LINES
            used = [
                (each.cpu_seconds() - cpu) / lines * US_PER_SECOND
                for each, cpu in zip(fleet.all(), before, strict=True)
            ]
        numbers = {
            (f"CPU a line, all processes: {what}", "us"): sum(used),
            (f"CPU a line, busiest process: {what}", "us"): max(used),
            (f"packets lost: {what}", "packets"): float(lost),
            # 1 / us = 1,000 times 1,000 lines a second.
            (f"ceiling: {what}", "1000 lines/s"): 1_000 / max(*used, 1e-6),
        }
        if fleet.others:
            numbers[f"CPU a line, sharding bridge: {what}", "us"] = used[0]
        return numbers

    return measure


def _send(bench: Bench, fleet: Fleet, seconds: float, profile: str, rate: int) -> int:
    """Send, wait until all is processed, and return the packets."""
    flags = {"profile": profile, "lines": LINES, "rate": rate, "seconds": seconds}
    with bench.sender(fleet.front, **flags) as sender:
        sent, _ = sender.send()
    for each in fleet.all():
        wait_until_idle(each)
    return sent


@contextmanager
def _fleet(bench: Bench, spec: ServerSpec) -> Iterator[Fleet]:
    """Run a server, or as many behind a sharding bridge as its spec says."""
    with ExitStack() as stack:

        def run(each: ServerSpec) -> Server:
            server = running(each, bench.home, HISTOGRAM_RULES, bench.server_cpu)
            return stack.enter_context(server)

        if not spec.shards:
            yield Fleet(run(spec), [])
            return
        others = [run(spec) for _ in range(spec.shards)]
        flags = [f"--statsd.relay.address={HOST}:{each.udp}" for each in others]
        flags.append(f"--statsd.relay.packet-length={PACKET_BYTES}")
        front = ServerSpec(
            name=spec.name,
            command=bridge_command("--statsd.relay.mode=shard", *flags),
            packets_pattern=EXPORTER_PACKETS,
        )
        yield Fleet(run(front), others)
