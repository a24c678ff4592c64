"""
Relay each line to one of several bridges, by the metric family that it belongs to.

    lines --> names --> routes --> the lines of each target --> packets
                          |
                          '--> lines that stay here: dropped by a rule, events of
                               DogStatsD, lines without a name

All lines of a name have the same route, malformed ones too: each error is counted at
one bridge.  Where rules for a type of sample give a name several families, the type in
the line decides, and a line with samples of several types is divided.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from statsd_bridge.line import SAMPLE_TYPES, Dialect, divide_line, parse_line
from statsd_bridge.log import BugReporter, logger
from statsd_bridge.mapping import MappingTable
from statsd_bridge.memory import Account
from statsd_bridge.model import HostPort, Stats
from statsd_bridge.relay.base import BaseRelay
from statsd_bridge.relay.connected import ConnectedUdpTarget
from statsd_bridge.relay.rendezvous import Rendezvous
from statsd_bridge.relay.routes import Lines, RouteByType, RouteCache, Router
from statsd_bridge.relay.shard_target import ShardTarget
from statsd_bridge.relay.udp import Resolver

_DELIMITERS = b":\n"
_ALL_BUT_DELIMITERS = bytes(set(range(256)) - set(_DELIMITERS))
_TYPES_IN_LINES = {
    text.encode(): sample_type for text, sample_type in SAMPLE_TYPES.items()
}


class ShardRelay(BaseRelay[ShardTarget]):
    """
    All targets of a sharding bridge.  Owned by the reactor's thread.

    A target that is gone keeps its share, whose lines are lost and counted.  With
    `failover` the others take them over until it returns.
    """

    def __init__(
        self,
        addresses: Sequence[HostPort],
        *,
        table: MappingTable,
        dialect: Dialect,
        failover: bool,
        packet_length: int,
        stats: Stats,
        bugs: BugReporter,
        account: Account,
        reactor: Any,
        resolver: Resolver | None = None,
    ) -> None:
        resolver = resolver or Resolver(reactor, len(addresses))
        targets = [
            ShardTarget(
                address,
                ConnectedUdpTarget(address, resolver),
                packet_length=packet_length,
                stats=stats,
            )
            for address in addresses
        ]
        super().__init__(targets, bugs=bugs, reactor=reactor)
        self.has_failover = failover
        self._stats = stats
        self._dialect = dialect
        self._rendezvous = Rendezvous([each.name for each in targets])
        self._here: Lines = []
        self._table = table
        self._gone: frozenset[int] = frozenset()
        self.routes = RouteCache(self._new_router(), account)
        """The routes that are known."""
        self._allow_returns()

    def exclude(self, own_address: HostPort) -> None:
        """Send nothing to the address at which this bridge receives."""
        for target in self.targets:
            target.udp.own_address = own_address

    def replace_table(self, table: MappingTable) -> None:
        """Apply other rules from the next line on."""
        self._table = table
        self.routes.reset(self._new_router())

    def forward(self, lines: Sequence[bytes]) -> list[bytes]:
        """
        Relay lines; return those that this bridge has to process itself.

        Empty ones are neither: many clients end each datagram with a newline.
        """
        self._route(list(filter(None, lines)))
        for target in self.targets:
            target.add_routed()
        self._look_at_targets()
        here, self._here[:] = self._here[:], ()
        return here

    def flush(self) -> None:
        """Send the gathered lines, and look which targets are gone."""
        super().flush()
        for target in self.targets:
            with self._bugs.catch():
                target.probe()
        with self._bugs.catch():
            self._look_at_targets()

    def target_of(self, line: bytes) -> str:
        """Return the address that a line is sent to, or an empty text if to none."""
        route = self.routes[line.partition(b":")[0]]
        if isinstance(route, RouteByType):
            route = self._place_by_type(route, line) or route.default
        for target in self.targets:
            if target.lines is route:
                return target.name
        return ""

    def _new_router(self) -> Router:
        router = Router(
            self._table,
            self._dialect,
            self._rendezvous,
            places=[target.lines for target in self.targets],
            here=self._here,
        )
        router.gone = self._gone
        return router

    def _route(self, lines: Sequence[bytes]) -> None:
        """Add lines to those of their targets, or to those that stay here."""
        names = _names(lines)
        routes = list(map(self.routes.__getitem__, names))
        if not self.routes.router.has_routes_by_type:
            deque(map(list.append, routes, lines), maxlen=0)
            return
        for route, line in zip(routes, lines, strict=True):
            if isinstance(route, RouteByType):
                self._route_by_type(route, line)
            else:
                route.append(line)

    def _route_by_type(self, route: RouteByType, line: bytes) -> None:
        place = self._place_by_type(route, line)
        if place is not None:
            place.append(line)
            return
        samples = parse_line(line, self._dialect).samples
        places = {id(each): each for each in (route.by_type[s.type] for s in samples)}
        if len(places) < 2:
            next(iter(places.values()), route.default).append(line)
            return
        by_type = {type: id(each) for type, each in route.by_type.items()}
        parts, errors = divide_line(line, self._dialect, by_type)
        for key, part in parts.items():
            places[key].append(part)
        # Only in the whole line they are sure to be errors: no part has them.
        self._stats.samples += len(errors)
        for error in errors:
            self._stats.sample_errors[error.reason] += 1

    def _place_by_type(self, route: RouteByType, line: bytes) -> Lines | None:
        """Return the place of a line with one type of sample; None if it has more."""
        _, _, right = line.partition(b":")
        if b":" in right and b"|#" not in right:
            return None
        _, _, suffix = right.removesuffix(b"\r").partition(b"|")
        type = _TYPES_IN_LINES.get(suffix.partition(b"|")[0])
        return route.default if type is None else route.by_type[type]

    def _look_at_targets(self) -> None:
        """Log which targets are gone or back; route the lines that they returned."""
        # Each round finds one more target that is gone, or there is nothing to route.
        for _ in range(len(self.targets) + 1):
            self._note_gone()
            returned = b"".join([each.take_returned() for each in self.targets])
            if not returned:
                return
            self._route(returned.removesuffix(b"\n").split(b"\n"))
            for target in self.targets:
                target.add_routed()
                target.send()

    def _note_gone(self) -> None:
        """Route what comes next around the targets that are gone, with failover."""
        gone = frozenset(
            [index for index, each in enumerate(self.targets) if each.is_gone]
        )
        if gone == self._gone:
            return
        log = logger(__name__)
        for index in gone - self._gone:
            log.warning("a relay target is gone", target=self.targets[index].name)
        for index in self._gone - gone:
            log.info("a relay target is back", target=self.targets[index].name)
        self._gone = gone
        if self.has_failover:
            self.routes.reset(self._new_router())
            self._allow_returns()

    def _allow_returns(self) -> None:
        """Let targets return lines while another one can take them."""
        for index, target in enumerate(self.targets):
            others = len(self.targets) - len(self._gone - {index}) - 1
            target.returns_lines = self.has_failover and others > 0


def _names(lines: Sequence[bytes]) -> Sequence[bytes]:
    """Return what stands before the first colon of each line, or the whole line."""
    data = b"\n".join(lines) + b"\n"
    if data.translate(None, _ALL_BUT_DELIMITERS) != _DELIMITERS * len(lines):
        return [line.partition(b":")[0] for line in lines]
    # All have one colon: one split is a C loop over the batch, 0.1 us a line.
    names = data.replace(b":", b"\n").split(b"\n")[0::2]
    names.pop()
    return names
