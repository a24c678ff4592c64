"""
What a row of the catalogue is.

    crocbot.errors.agent.warning  -->  crocbot_errors_total{type="agent",severity=...}
            statsd type  severity

The statsd client has no tags, so a label travels as one segment of the name.  Rules:

- A segment is a literal or a member of a closed enumeration, never text from outside,
  so the number of series is bounded.
- Units are Prometheus' base units.  Only statsd timers carry milliseconds.
- A gauge lives 60 s in the bridge: the heartbeat renews it, and the gauges of a gateway
  that died go away.  Running totals of lines are gauges as well: a counter would be
  lost together with the lines that it counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import ClassVar, NamedTuple

_SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ChosenAtStart(NamedTuple):
    """
    The value of a label that the process chooses once, such as its version.

    It makes one series a process.  It travels as this many segments, joined by dots.
    """

    segments: int = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Metric:
    """
    One row: `name` and `help` are Prometheus', `statsd` begins the statsd name.

    `labels` has the possible values of each label, in the order of the segments that
    follow `statsd`.  `query` is an example in PromQL.
    """

    name: str
    statsd: str
    help: str
    query: str
    labels: Mapping[str, Iterable[str] | ChosenAtStart] = field(default_factory=dict)
    type: ClassVar[str]
    ttl: ClassVar[str] = ""

    @property
    def segments(self) -> list[tuple[str, ...]]:
        """Return the possible values of each segment; () for one chosen at start."""
        segments: list[tuple[str, ...]] = []
        for values in self.labels.values():
            if isinstance(values, ChosenAtStart):
                segments += [()] * values.segments
            else:
                segments.append(tuple(values))
        return segments

    def label_values(self) -> Iterator[tuple[str, ...]]:
        """Yield each combination of label values; none if one is chosen at start."""
        return product(*self.segments)

    def statsd_name(self, *values: str) -> str:
        """
        Return the statsd name of one series.

        ValueError for a value that the row does not list, or that is no segment.
        """
        segments = self.segments
        if len(values) != len(segments):
            raise ValueError(f"{self.name} has {len(segments)} segments, not {values}")
        for allowed, value in zip(segments, values, strict=True):
            if (allowed and value not in allowed) or not _SEGMENT.fullmatch(value):
                raise ValueError(f"{self.name} has no label value {value!r}")
        return ".".join((self.statsd, *values))


class CounterMetric(Metric):
    """A row for a counter."""

    type = "counter"


class GaugeMetric(Metric):
    """A row for a gauge."""

    type = "gauge"
    ttl = "60s"


@dataclass(frozen=True, eq=False, kw_only=True)
class HistogramMetric(Metric):
    """A row for a histogram of seconds; `buckets` are the upper bounds."""

    type = "histogram"
    buckets: tuple[float, ...]
