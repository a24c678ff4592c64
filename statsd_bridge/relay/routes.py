"""
What becomes of a line in mode `shard`, by what stands before its first colon.

    b"api.hits,zone=eu"  ->  name  ->  rules  ->  family  ->  the lines of its target
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from statsd_bridge.line import DOGSTATSD_MESSAGES, Dialect, parse_name
from statsd_bridge.mapping import MappingTable
from statsd_bridge.memory import Account
from statsd_bridge.model import Action, SampleType
from statsd_bridge.relay.rendezvous import Rendezvous
from statsd_bridge.syntax import escape_metric_name

MAX_ROUTED_NAME_BYTES: Final = 1_024
"""A longer name with its tags is looked up each time."""

MAX_ROUTES_SHARE: Final = 0.75
"""Of the account of buffers, which the fast path has for lines that stay here."""

ROUTE_BYTES: Final = 165
"""A route besides its name (python -m benchmarks.memory has the others)."""

Lines = list[bytes]


class RouteByType(Lines):
    """The route of a name whose samples go to several places, by their type."""

    def __init__(self, by_type: Mapping[SampleType, Lines]) -> None:
        super().__init__()
        self.by_type = by_type

    @property
    def default(self) -> Lines:
        """The place of a line without a sample: its errors are counted there."""
        return self.by_type[SampleType.COUNTER]


class Router:
    """
    Finds the lists that lines are added to: that of a target, or `here`.

    Here remain lines that a rule drops, DogStatsD's events and service checks, and
    lines without a readable name.
    """

    def __init__(
        self,
        table: MappingTable,
        dialect: Dialect,
        rendezvous: Rendezvous,
        *,
        places: Sequence[Lines],
        here: Lines,
    ) -> None:
        self._table = table
        self._dialect = dialect
        self._rendezvous = rendezvous
        self._places = places
        self._here = here
        self._types = _types_alike(rule.sample_types for rule in table.search.rules)
        self.gone: frozenset[int] = frozenset()
        """The targets that get nothing, by index."""
        self.has_routes_by_type = False
        """Whether a RouteByType was returned."""
        self._by_type: dict[tuple[int, ...], RouteByType] = {}

    def find(self, name: bytes) -> Lines:
        """Return the route of a name with its tags."""
        try:
            text = name.decode()
        except UnicodeDecodeError:
            return self._here
        is_message = self._dialect.dogstatsd and text.startswith(DOGSTATSD_MESSAGES)
        if not text or is_message:
            return self._here
        statsd_name, _, _ = parse_name(text, self._dialect)
        if len(self._types) == 1:
            return self._find(SampleType.COUNTER, statsd_name)
        by_type: dict[SampleType, Lines] = {}
        for types in self._types:
            by_type |= dict.fromkeys(types, self._find(types[0], statsd_name))
        first = by_type[SampleType.COUNTER]
        if all(each is first for each in by_type.values()):
            return first
        self.has_routes_by_type = True
        # Many names have the same few routes.
        key = tuple([id(by_type[type]) for type in SampleType])
        return self._by_type.setdefault(key, RouteByType(by_type))

    def _find(self, type: SampleType, name: str) -> Lines:
        # Without the labels that a match has, a third of the time.
        rule, values = self._table.find_rule(type, name)
        if rule is None:
            metric_name = name
        elif rule.action is Action.DROP:
            return self._here
        else:
            if rule.pattern is None:
                values = name, *[values[star] for star in rule.stars]
            metric_name = rule.name.expand(values)
        family = escape_metric_name(metric_name)
        return self._places[self._rendezvous.choose(family, self.gone)]


class RouteCache(dict[bytes, Lines]):
    """
    Routes by name, charged to `account`.

    There are two generations: when the new one is full, the old one is dropped and the
    new one takes its place, so names that are in use stay.
    """

    def __init__(self, router: Router, account: Account) -> None:
        super().__init__()
        self.router = router
        self._account = account
        self._max_bytes = int(account.limit * MAX_ROUTES_SHARE) // 2
        self._bytes = self._old_bytes = 0
        self._old: dict[bytes, Lines] = {}

    def __missing__(self, name: bytes) -> Lines:
        """Find the route of a name that is not in the new generation."""
        route = self._old.get(name)
        if route is None:
            route = self.router.find(name)
        if len(name) <= MAX_ROUTED_NAME_BYTES:
            size = ROUTE_BYTES + len(name)
            if self._bytes + size > self._max_bytes:
                self._rotate()
            # Else the fast path needs the account for lines that stay here.
            if self._account.reserve(size):
                self._bytes += size
                self[name] = route
        return route

    def reset(self, router: Router) -> None:
        """Forget all routes; find those of now."""
        self.router = router
        self._rotate()
        self._rotate()

    def _rotate(self) -> None:
        self._account.release(self._old_bytes)
        self._old, self._old_bytes = dict(self), self._bytes
        self.clear()
        self._bytes = 0


def _types_alike(
    kinds: Iterable[frozenset[SampleType]],
) -> Sequence[Sequence[SampleType]]:
    """Return the types of samples in groups: all rules are for a whole group or not."""
    different = set(kinds)
    groups: dict[frozenset[frozenset[SampleType]], list[SampleType]] = {}
    for each in SampleType:
        matching = frozenset(kind for kind in different if each in kind)
        groups.setdefault(matching, []).append(each)
    return list(groups.values())
