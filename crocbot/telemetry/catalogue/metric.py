"""
What a row of the catalogue is.

    crocbot.errors.agent.warning  -->  crocbot_errors_total{type="agent",severity=...}
            family type  severity

The statsd client has no tags, so a label travels as one segment of the name.  Rules:

- A segment is a literal or a word of a closed enum, never text from outside, so the
  number of series is known: `Metric.series` counts it.
- The exception is a segment without listed values.  It is chosen once, when the
  process starts (a version), and so makes one series a process.
- Units are Prometheus' base units.  The wire carries milliseconds only in timers.
- A gauge lives 60 s in the bridge: the heartbeat renews it, and one of a gateway that
  died goes away.  Running totals of what happens to lines are gauges as well: a counter
  would be lost together with the lines it counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from math import prod


class Type(StrEnum):
    """What a metric is in Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a statsd name that varies, and the words that it can be."""

    name: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One row.  `statsd` is the fixed beginning of the name; the segments follow it.

    `templates` are the labels made of the segments; empty: each segment is one label.
    `source` is what moves it: a fact, or a part of telemetry.
    """

    statsd: str
    name: str
    type: Type
    unit: str
    help: str
    query: str
    segments: tuple[Segment, ...] = ()
    templates: tuple[tuple[str, str], ...] = ()
    buckets: tuple[float, ...] = ()
    source: str = ""

    @property
    def match(self) -> str:
        """The glob of the mapping file."""
        return self.statsd + ".*" * len(self.segments)

    @property
    def pattern(self) -> str:
        """The name as people read it: `crocbot.errors.<type>.<severity>`."""
        return self.statsd + "".join(f".<{s.name}>" for s in self.segments)

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Label names and the templates of their values."""
        if self.templates:
            return self.templates
        return tuple((s.name, f"${i}") for i, s in enumerate(self.segments, start=1))

    @property
    def ttl(self) -> str:
        """How long the bridge keeps a series that is not renewed; empty: for ever."""
        return "60s" if self.type is Type.GAUGE else ""

    @property
    def series(self) -> int:
        """How many series one gateway can make of it; a bucket is a series, too."""
        lines = len(self.buckets) + 3 if self.type is Type.HISTOGRAM else 1
        return lines * prod(max(1, len(s.words)) for s in self.segments)

    def words(self) -> Iterator[tuple[str, ...]]:
        """Every combination of segments; a segment without listed words is left out."""
        return product(*(s.words for s in self.segments if s.words))

    def path(self, *words: str) -> str:
        """
        Name one series on the wire.

        ValueError for words that the row does not list: a bug, found at the start.
        """
        if len(words) != len(self.segments):
            raise ValueError(f"{self.pattern} needs {len(self.segments)} words")
        for segment, word in zip(self.segments, words, strict=True):
            if segment.words and word not in segment.words:
                raise ValueError(f"{self.pattern}: no {segment.name} {word!r}")
            if not _SEGMENT.fullmatch(word):
                raise ValueError(f"{self.pattern}: no name segment: {word!r}")
        return ".".join((self.statsd, *words))


_SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")


def words(name: str, words: type[StrEnum]) -> Segment:
    """Make the segment that can be any word of an enum."""
    return Segment(name, tuple(word.value for word in words))
