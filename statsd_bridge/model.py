"""
The nouns of the bridge: what travels between the stages. Read first.

    datagram --> line --> mapping --> series --> exposition
          lines   |  Sample  |  Target  |  Family   ^
                  |          |          |           |
                Fault     unmapped   Refusal --> Tally

Times are seconds, sizes are bytes.  A stage returns what it found wrong as a value;
only pipeline.py counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol, Self

Labels = tuple[tuple[str, str], ...]
"""Pairs of name and value, sorted by name, each name once: hashable, never changed."""


_HOST_PORT = re.compile(r"(?:\[([^]]*)\]|([^:]*)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class HostPort:
    """
    A network address.  The host is a name or an IP address without brackets.

    To listen, an empty host is every interface and port 0 lets the kernel choose.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host:port`, `[::1]:port` or `:port`; raise ValueError otherwise."""
        match = _HOST_PORT.fullmatch(text)
        if match is None or int(match[3]) > 65_535:
            raise ValueError(f"{text!r} is not an address; write host:port")
        return cls(match[1] if match[1] is not None else match[2], int(match[3]))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class SampleType(StrEnum):
    """What the sender says a sample is; the `type` of statsd_exporter_events_total."""

    COUNTER = "counter"
    GAUGE = "gauge"
    OBSERVER = "observer"
    SET = "set"

    # That of an Enum is written in Python: 100 ns, several times a line.
    __hash__ = str.__hash__


class MetricType(StrEnum):
    """How a series is remembered.  A set is shown as a gauge."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    SET = "set"


class SampleError(StrEnum):
    """Why a line or a sample could not be read: `reason` of ..._sample_errors_total."""

    MALFORMED_LINE = "malformed_line"
    MIXED_TAGGING_STYLES = "mixed_tagging_styles"
    NOT_ENOUGH_PARTS = "not_enough_parts_after_colon"
    INVALID_EXTENDED_AGGREGATE = "invalid_extended_aggregate_type"
    MALFORMED_COMPONENT = "malformed_component"
    MALFORMED_VALUE = "malformed_value"
    INVALID_SAMPLE_FACTOR = "invalid_sample_factor"
    MALFORMED_CONTAINER_ID = "malformed_container_id"
    ILLEGAL_EVENT = "illegal_event"


class EventError(StrEnum):
    """Why a sample that was read is not remembered."""

    # reason of statsd_exporter_events_error_total
    ILLEGAL_NEGATIVE_COUNTER = "illegal_negative_counter"
    EMPTY_METRIC_NAME = "empty_metric_name"
    RESERVED_LABEL = "reserved_label"
    # statsd_exporter_events_conflict_total
    CONFLICT = "conflict"
    # statsd_bridge_series_refused_total
    SERIES_LIMIT = "series_limit"


class Action(StrEnum):
    """What the mapping says of a name."""

    MAP = "map"
    DROP = "drop"
    UNMAPPED = "unmapped"

    __hash__ = str.__hash__


class Sample(NamedTuple):
    """
    One value of one line, in base units (`ms` is already seconds).

    `weight` is how many observations it stands for: int(1/rate) of a timer, else 1.
    `member` is the text of a set's value; `value` is 0 then.
    `name` is as sent, without its tags, not yet escaped.
    """

    kind: SampleType
    name: str
    value: float
    labels: Labels = ()
    relative: bool = False
    weight: int = 1
    member: str = ""


class ParseError(NamedTuple):
    """What is wrong with a line or one sample of it; `detail` is the text meant."""

    reason: SampleError
    detail: str


class Parsed(NamedTuple):
    """
    Everything that one line says.  Half a line can be good: samples and faults.

    `attempted`, `tagged` and `tag_errors` are what samples_total, tags_total and
    tag_errors_total rise by.  `dogstatsd` names what was recognised and dropped:
    "event" or "service_check".
    """

    samples: Sequence[Sample] = ()
    faults: Sequence[ParseError] = ()
    attempted: int = 0
    tagged: int = 0
    tag_errors: int = 0
    dogstatsd: str = ""


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile of a summary and the rank error that is allowed, both in 0..1."""

    quantile: float
    error: float


@dataclass(frozen=True, slots=True)
class MetricOptions:
    """
    How a series is kept: one per rule and kind, shared by its series.

    `buckets` are upper bounds, ascending, without +Inf.  `ttl` 0 is for ever.
    `max_age` and `age_buckets` are a summary's window and into how many it turns.
    """

    shape: MetricType
    help: str
    ttl: float = 0.0
    scale: float | None = None
    buckets: tuple[float, ...] = ()
    quantiles: tuple[Quantile, ...] = ()
    max_age: float = 600.0
    age_buckets: int = 5


class SeriesSpec(NamedTuple):
    """
    Where a sample goes: the Prometheus name (escaped), all labels, and the form.

    `text` is the labels as they are printed, if somebody knows it.
    """

    name: str
    labels: Labels
    form: MetricOptions
    text: str | None = None


class Rejection(NamedTuple):
    """A sample that the series did not take, and why; `name` is the Prometheus name."""

    reason: EventError
    kind: SampleType
    name: str


class Series(Protocol):
    """What exposition needs of one series."""

    form: MetricOptions

    def numbers(self, now: float) -> tuple[float, ...]:
        """
        Every number of the text, in the order of its lines.

        Counter, gauge, set: the value.  Histogram: cumulative count of each bucket,
        +Inf, sum, count.  Summary: each quantile (ascending), sum, count.
        """


class Family(Protocol):
    """
    All series of one metric name, by the text of their labels as it is printed.

        a="1",b="2"     ->  a series
    """

    @property
    def name(self) -> str:
        """The metric's."""

    @property
    def shape(self) -> MetricType:
        """Of all series."""

    @property
    def help(self) -> str:
        """Not escaped."""

    @property
    def series(self) -> Mapping[str, Series]:
        """Those that are remembered now."""

    def texts(self) -> Sequence[str]:
        """List the keys of `series` as the page has them; later some may be gone."""


@dataclass(slots=True)
class Stats:
    """
    What happened, in plain numbers: the pipeline and the doors add, exposition reads.

    Counters only rise.  Keys are the label values; those that senders choose are
    bounded by whoever adds them.
    """

    lines: int = 0
    samples: int = 0
    tags: int = 0
    tag_errors: int = 0
    unmapped: int = 0
    sample_errors: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    event_errors: Counter[str] = field(default_factory=Counter)
    conflicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and metric name."""
    series_refused: Counter[str] = field(default_factory=Counter)
    """By metric name."""
    dogstatsd_dropped: Counter[str] = field(default_factory=Counter)
    packets: Counter[str] = field(default_factory=Counter)
    """Datagrams by transport: udp, unixgram."""
    tcp: Counter[str] = field(default_factory=Counter)
    """
    connections, connection_errors, too_long_lines, connections_refused; of the Unix
    stream socket, too.
    """
    lines_by_transport: Counter[str] = field(default_factory=Counter)
    """udp, tcp, unixgram, unixstream."""
    relay: Counter[tuple[str, str]] = field(default_factory=Counter)
    """
    By what happened (packets, long_lines, lines_relayed, lost_unresolved, lost_full,
    lost_error) and target.
    """
    lines_by_source: Counter[str] = field(default_factory=Counter)
    """Lines by the first segment of their name, for a configured few."""
    config_reloads: Counter[str] = field(default_factory=Counter)
    """By outcome: success, failure."""
    scrapes: Counter[str] = field(default_factory=Counter)
    """By HTTP status."""
    scrapes_in_flight: int = 0
    http_closed: int = 0
    """Connections for pages that were closed to make room for others."""
    scrape_seconds: float = 0.0
    """Of the last scrape, like the next."""
    scrape_bytes: int = 0
    bugs: int = 0
    """Lines and series that an exception of ours left out."""
