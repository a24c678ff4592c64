"""A sharding bridge and the bridges behind it, joined by real UDP sockets."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.task import Clock

from statsd_bridge import mapping
from statsd_bridge.fastpath import FastPipeline
from statsd_bridge.line import DEFAULT_DIALECT, Dialect
from statsd_bridge.memory import Account
from statsd_bridge.model import HostPort
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.relay import ShardRelay
from statsd_bridge.relay.shard_target import PROBE
from statsd_bridge.sharding import ShardingPipeline
from tests.ports import HOST, free_port
from tests.statsd_bridge.in_memory import InMemoryPath, MakePipeline
from tests.statsd_bridge.recorded import Page, read_page

ROUTES_BYTES = 64 * 1024 * 1024


SUMMED = (
    *("samples", "tags", "tag_errors", "unmapped", "sample_errors", "events"),
    *("actions", "event_errors", "conflicts", "series_refused", "dogstatsd_dropped"),
)
"""What all bridges together count as often as one."""


class Shard:
    """One bridge behind the sharding one; its socket may be closed and opened again."""

    def __init__(self, make: Callable[..., InMemoryPath]) -> None:
        self.path = make()
        self._socket = self._listen(free_port())
        self.address = HostPort(*self._socket.getsockname())
        self.packets: list[bytes] = []
        """All packets that have arrived, probes aside."""

    def receive(self) -> None:
        """Process what has arrived."""
        try:
            while True:
                packet = self._socket.recv(70_000)
                if packet != PROBE:
                    self.packets.append(packet)
                self.path.feed(packet)
        except (BlockingIOError, OSError):
            return

    def close(self) -> None:
        """Receive no more; the kernel refuses what comes."""
        self._socket.close()

    def reopen(self) -> None:
        """Receive again."""
        self._socket = self._listen(self.address.port)

    def _listen(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        sock.bind((HOST, port))
        sock.setblocking(False)
        return sock


class Sharding:
    """A sharding bridge in front of `count` others with the same rules."""

    def __init__(
        self,
        count: int,
        rules: str = "",
        *,
        failover: bool = False,
        packet_length: int = 1400,
        routes_bytes: int = ROUTES_BYTES,
        dialect: Dialect = DEFAULT_DIALECT,
        make_pipeline: MakePipeline = FastPipeline,
        **options: Any,
    ) -> None:
        def make() -> InMemoryPath:
            return InMemoryPath(
                rules, make_pipeline=make_pipeline, dialect=dialect, **options
            )

        self.clock = Clock()
        self.account = Account(routes_bytes)
        self.shards = [Shard(make) for _ in range(count)]

        def make_front(plain: Pipeline) -> ShardingPipeline:
            self.relay = ShardRelay(
                [each.address for each in self.shards],
                table=plain.table,
                dialect=dialect,
                failover=failover,
                packet_length=packet_length,
                stats=plain.stats,
                bugs=plain.bugs,
                account=self.account,
                reactor=self.clock,
            )
            rest = make_pipeline(plain)
            return ShardingPipeline(rest, plain=plain, relay=self.relay)

        self.front = InMemoryPath(
            rules, make_pipeline=make_front, dialect=dialect, **options
        )
        self.relay.start()

    def __enter__(self) -> Sharding:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.shards:
            each.close()
        for target in self.relay.targets:
            target.udp.close()

    @property
    def paths(self) -> Sequence[InMemoryPath]:
        """All bridges, the sharding one first."""
        return [self.front, *(each.path for each in self.shards)]

    def feed(self, *datagrams: bytes, transport: str = "udp") -> None:
        """Send datagrams, or the lines of a connection, through all bridges."""
        if transport in ("udp", "unixgram"):
            self.front.pipeline.feed(datagrams, transport)
        else:
            self.front.pipeline.feed_lines(datagrams, transport)
        self.relay.flush()
        for each in self.shards:
            each.receive()

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass on all bridges."""
        self.clock.advance(min(seconds, 1.0))
        for each in self.paths:
            each.pass_seconds(seconds)

    def wait(self, seconds: int) -> None:
        """Let the relay flush and probe its targets, once a second."""
        for _ in range(seconds):
            self.clock.advance(1)

    def reload(self, rules: str) -> None:
        """Apply other rules everywhere."""
        for each in self.paths:
            each.pipeline.replace_table(mapping.parse(rules, "rules.yml"))

    def page(self) -> Page:
        """Return what all pages show together: none of it twice, or at the front."""
        assert not read_page(self.front.page()).series
        return joined([each.page() for each in self.paths])

    def counted(self) -> dict[str, Any]:
        """Return what all bridges together have counted."""
        return summed(self.paths)

    def outcomes(self) -> dict[str, int]:
        """Return the counters of the relay over all targets, without zeros."""
        found: Counter[str] = Counter()
        for (outcome, _), number in self.front.stats.relay.items():
            found[outcome] += number
        return {outcome: number for outcome, number in found.items() if number}


def joined(pages: Iterable[str]) -> Page:
    """Return what pages show together; a series or a type must be on one of them."""
    together = Page({}, {}, {})
    for page in pages:
        for whole, part in zip(together, read_page(page), strict=True):
            assert not whole.keys() & part.keys()
            whole.update(part)
    return together


def summed(paths: Iterable[InMemoryPath]) -> dict[str, Any]:
    """Return the sums of the counters that are the same for one bridge."""
    totals: dict[str, Any] = {}
    for name in SUMMED:
        values = [getattr(path.stats, name) for path in paths]
        if isinstance(values[0], int):
            totals[name] = sum(values)
        else:
            totals[name] = {k: v for k, v in sum(values, Counter()).items() if v}
    return totals
