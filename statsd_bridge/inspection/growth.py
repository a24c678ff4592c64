"""
How many series metric names had 10 minutes ago: the largest ones, each minute.

A name that is not among them had at most as many as the smallest of them, so growth is
never overstated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from statsd_bridge.inspection.steps import Steps, parts
from statsd_bridge.series import SeriesStore

SAMPLE_SECONDS = 60.0
"""Time between two samples."""

GROWTH_SAMPLES = 10
"""The oldest sample is this old, in minutes."""

MAX_SAMPLED = 1_000
"""Names of a sample."""

STEP_FAMILIES = 2_000
"""Families that are counted in a step, in 0.2 us each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The series of the largest families at one time, on the store's clock."""

    clock: float
    total: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    others: int = 0
    """No other family had more series."""

    def count(self, name: str) -> int:
        """Return how many series a name had, at most."""
        return self.counts.get(name, self.others)


def take_sample(store: SeriesStore) -> Steps[Sample]:
    """Count the series of all families."""
    largest: list[tuple[str, int]] = []
    for keys in store.by_name.parts_of_keys():
        for part in parts(keys, STEP_FAMILIES):
            largest += _counts(store, part, least=_least(largest))
            if len(largest) > 2 * MAX_SAMPLED:
                largest = _cut(largest)
            yield
    # Keys come twice if the dict changes.
    counts = dict(largest)
    kept = dict(_cut(list(counts.items())))
    return Sample(
        clock=store.now(),
        total=len(store),
        counts=kept,
        others=min(kept.values()) if len(kept) < len(store.by_name) else 0,
    )


def _counts(
    store: SeriesStore, names: Sequence[str], least: int
) -> list[tuple[str, int]]:
    families = map(store.by_name.get, names)
    return [
        (family.name, count)
        for family in families
        if family is not None and (count := family.series_count) > least
    ]


def _least(largest: list[tuple[str, int]]) -> int:
    return largest[MAX_SAMPLED - 1][1] if len(largest) >= MAX_SAMPLED else 0


def _cut(largest: list[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(largest, key=itemgetter(1), reverse=True)[:MAX_SAMPLED]


class Growth:
    """The samples of the last 10 minutes."""

    def __init__(self, first: Sample) -> None:
        self._samples = deque([first], maxlen=GROWTH_SAMPLES + 1)

    @property
    def oldest(self) -> Sample:
        """The sample with which all is compared."""
        return self._samples[0]

    def add(self, sample: Sample) -> None:
        """Add a sample, and remove the oldest one if there are enough."""
        self._samples.append(sample)
