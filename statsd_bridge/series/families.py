"""All families by name, none of which prints a name of another."""

from __future__ import annotations

from collections.abc import Collection

from statsd_bridge.model import MetricType
from statsd_bridge.series.family import MetricFamily
from statsd_bridge.series.sorted_keys import SortedKeysDict

NAME_SUFFIXES: dict[MetricType, tuple[str, ...]] = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.SUMMARY: ("_sum", "_count"),
}
"""Suffixes of the names that a metric type prints besides its own."""

_ALL_SUFFIXES = NAME_SUFFIXES[MetricType.HISTOGRAM]


class Families(SortedKeysDict[MetricFamily]):
    """
    All families by name, none of which prints a name of another.

    A histogram `x` also owns `x_bucket`, `x_sum` and `x_count`, a summary the last two.
    `reserved` are names that none of them may print.
    """

    __slots__ = ("_reserved", "_suffixed")

    def __init__(self, reserved: Collection[str] = ()) -> None:
        super().__init__()
        self._reserved = frozenset(reserved)
        # Names with a suffix: without any, no name can be one that a new family owns.
        self._suffixed = sum(name.endswith(_ALL_SUFFIXES) for name in self._reserved)

    def add(self, family: MetricFamily) -> None:
        """Add a family whose name is free."""
        name = family.name
        self[name] = family
        self._suffixed += name.endswith(_ALL_SUFFIXES)

    def remove(self, name: str) -> None:
        """Remove a family."""
        super().remove(name)
        self._suffixed -= name.endswith(_ALL_SUFFIXES)

    def would_conflict(self, name: str, type: MetricType) -> bool:
        """
        Return whether a family that is to be created would print the name of another.

        There is none of its name.
        """
        if name in self._reserved:
            return True
        if self._suffixed and type in NAME_SUFFIXES:
            for suffix in NAME_SUFFIXES[type]:
                printed = name + suffix
                if printed in self._reserved or printed in self:
                    return True
        return name.endswith(_ALL_SUFFIXES) and any(
            self._owns(name.removesuffix(suffix), suffix, type)
            for suffix in _ALL_SUFFIXES
            if name.endswith(suffix)
        )

    def _owns(self, base: str, suffix: str, type: MetricType) -> bool:
        """Return whether a family owns `base` + `suffix` against a metric of a type."""
        family = self.get(base)
        if family is None or family.type not in NAME_SUFFIXES:
            return False
        # A summary prints no `_bucket`, but like statsd_exporter it owns this name
        # against counters and gauges.
        return suffix in NAME_SUFFIXES[family.type] or type not in NAME_SUFFIXES
