"""
The traffic of the last 15 minutes: counters that exist, looked at every 5 seconds.

    counters -> every 5 s -> ring of 181 looks -> what changed from look to look

Nothing is counted for it, and the ring is bounded: transports, types and reasons are
few.  Names, which senders choose, are not in it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from statsd_bridge.exposition import BridgeState
from statsd_bridge.inspection.steps import Json

STEP_SECONDS = 5.0
"""Time between two looks."""

POINTS = 180
"""Points of a chart: 15 minutes."""

CHARTS = ("lines", "samples", "errors", "rejected", "packets", "dropped")
"""Charts with a line for each transport, type or reason."""

Key = tuple[str, str]
"""A chart and one of its lines."""


ALL_LINES: Key = ("total", "lines")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All counters at one time; `time` is a Unix time, `clock` is monotonic."""

    time: float
    clock: float
    counts: Mapping[Key, int]
    series: int = 0
    memory: int = 0


def take_look(state: BridgeState, time: float, clock: float) -> Look:
    """Return the counters of a bridge now."""
    return Look(
        time=time,
        clock=clock,
        counts=dict(_counts(state)),
        series=state.series,
        memory=state.memory.used,
    )


def _counts(state: BridgeState) -> Iterator[tuple[Key, int]]:
    stats = state.stats
    tables: dict[str, Mapping[str, int]] = {
        "lines": stats.lines_by_transport,
        "samples": stats.events,
        "errors": stats.sample_errors + stats.event_errors,
        "rejected": _refused(state),
        "packets": stats.packets,
        "dropped": _dropped(state),
        "total": {
            "lines": stats.lines,
            "samples": stats.samples,
            "unmapped": stats.unmapped,
            "tag_errors": stats.tag_errors,
            "bugs": stats.bugs,
        },
    }
    for chart, table in tables.items():
        for name, count in table.items():
            yield (chart, str(name)), count


def _refused(state: BridgeState) -> Mapping[str, int]:
    """Return the samples that no series took, by reason, whatever their name."""
    counts = Counter({"conflict": sum(state.stats.conflicts.values())})
    for (reason, _), count in state.stats.series_refused.items():
        counts[reason] += count
    return counts


def _dropped(state: BridgeState) -> Mapping[str, int]:
    """Return what was lost before it was a line."""
    stats = state.stats
    relay_lost = sum(
        count for (event, _), count in stats.relay.items() if event.startswith("lost_")
    )
    return {
        "kernel": state.kernel_drops or 0,
        "truncated": state.truncated_datagrams,
        "denied": sum(stats.packets_denied.values()),
        "too_long_lines": stats.tcp["too_long_lines"],
        "relay": relay_lost,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of all charts: what changed from one look to the next, a second."""

    time: float
    rates: Mapping[Key, float]
    series: int
    memory: int


class TrafficHistory:
    """The looks of the last 15 minutes, oldest first; the first one is at the start."""

    def __init__(self, first: Look) -> None:
        self._looks = deque([first], maxlen=POINTS + 1)
        self._points: deque[Point] = deque(maxlen=POINTS)
        self.last_lines_at = first.clock
        """When the number of lines was last found to be larger than before."""

    def add(self, look: Look) -> None:
        """Add a look, and remove the oldest if there are enough."""
        if look.counts.get(ALL_LINES) != self.newest.counts.get(ALL_LINES):
            self.last_lines_at = look.clock
        self._points.append(_point(self.newest, look))
        self._looks.append(look)

    @property
    def newest(self) -> Look:
        """The last look."""
        return self._looks[-1]

    def growth(self, key: Key, now: Look) -> int:
        """Return by how much a counter has grown since the oldest look."""
        return now.counts.get(key, 0) - self._looks[0].counts.get(key, 0)

    def growing_since(self, key: Key) -> float | None:
        """Return the Unix time of the first look at which it had grown, if any had."""
        before = self._looks[0].counts.get(key, 0)
        for look in self._looks:
            if look.counts.get(key, 0) > before:
                return look.time
        return None

    def charts(self, since: float = 0.0) -> Json:
        """Return the rates a second at each look after a Unix time, by chart."""
        points = [point for point in self._points if point.time > since]
        charts: Json = {
            "step": STEP_SECONDS,
            "times": [point.time for point in points],
            **{chart: {} for chart in CHARTS},
            "series": [point.series for point in points],
            "memory": [point.memory for point in points],
        }
        # All reasons that a chart has had are in its newest point.
        for chart, name in sorted(self.newest.counts):
            if chart in CHARTS:
                key = chart, name
                rates = [point.rates.get(key, 0.0) for point in points]
                charts[chart][name] = rates
        return charts


def _point(before: Look, after: Look) -> Point:
    """Return the point of a look; what has not changed is left out."""
    seconds = max(after.clock - before.clock, 0.001)
    rates = {
        key: round(grown / seconds, 3)
        for key, count in after.counts.items()
        if (grown := count - before.counts.get(key, 0))
    }
    return Point(time=after.time, rates=rates, series=after.series, memory=after.memory)
