"""All families by name, none of which prints a name of another."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from statsd_bridge.model import MetricType
from statsd_bridge.series.family import MetricFamily
from statsd_bridge.series.sorted_keys import SortedKeysDict

NAME_SUFFIXES: dict[MetricType, tuple[str, ...]] = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.SUMMARY: ("_sum", "_count"),
}
"""Suffixes of the names that a metric type prints besides its own."""

MAX_PART_FAMILIES = 5_000
"""Families that are listed at once, in about a millisecond."""

_ALL_SUFFIXES = NAME_SUFFIXES[MetricType.HISTOGRAM]


class Families(SortedKeysDict[MetricFamily]):
    """
    All families by name, none of which prints a name of another.

    A histogram `x` also owns `x_bucket`, `x_sum` and `x_count`, a summary the last two.
    `reserved` are names that none of them may print.
    """

    __slots__ = ("_has_suffixed", "_reserved")

    def __init__(self, reserved: Collection[str] = ()) -> None:
        super().__init__()
        self._reserved = frozenset(reserved)
        # Until a name has a suffix, none can be one that a new family owns.
        self._has_suffixed = any(name.endswith(_ALL_SUFFIXES) for name in reserved)

    def would_conflict(self, name: str, type: MetricType) -> bool:
        """
        Return whether a family that is to be added would print the name of another.

        There is none of its name.
        """
        if name in self._reserved:
            return True
        if name.endswith(_ALL_SUFFIXES):
            self._has_suffixed = True
            for suffix in _ALL_SUFFIXES:
                base = name.removesuffix(suffix)
                if base != name and self._owns(base, suffix, type):
                    return True
        if self._has_suffixed:
            for suffix in NAME_SUFFIXES.get(type, ()):
                printed = name + suffix
                if printed in self._reserved or printed in self:
                    return True
        return False

    def parts(self) -> Iterator[list[MetricFamily]]:
        """
        Yield all families by name; they may come and go between two parts.

        Parts before names are sorted are empty.
        """
        for _ in self.sort_in_steps():
            yield []
        names = self.sorted_keys()
        for start in range(0, len(names), MAX_PART_FAMILIES):
            part = names[start : start + MAX_PART_FAMILIES]
            yield [family for family in map(self.get, part) if family is not None]

    def _owns(self, base: str, suffix: str, type: MetricType) -> bool:
        """Return whether a family owns `base` + `suffix` against a metric of a type."""
        family = self.get(base)
        if family is None or family.type not in NAME_SUFFIXES:
            return False
        # A summary prints no `_bucket`, but like statsd_exporter it owns this name
        # against counters and gauges.
        return suffix in NAME_SUFFIXES[family.type] or type not in NAME_SUFFIXES
