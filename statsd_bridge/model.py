"""
The nouns of the bridge: the values that travel between the stages.  Read this first.

    datagram --> line --> mapping --> series --> exposition
          lines   |  Sample  |  SeriesSpec  |  values
                  |          |              |
              ParseError  unmapped      Rejection   --> Stats

Times are seconds, sizes are bytes.  A stage returns what it could not use instead of
raising.  `Stats` counts everything that happens; each module increments only the
counters of what it does itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self

Clock = Callable[[], float]
"""Returns the time in seconds, from any start; it never falls."""

Labels = tuple[tuple[str, str], ...]
"""Pairs of label name and value, sorted by name, each name once."""

MAX_TEXT_LENGTH = 256
"""
Names and lines that are shown are cut to this; a longer metric name is the label value
`other`.
"""

MAX_EXPANDED_LENGTH = 65_536
"""
Characters of a name or a label that a rule makes: more than any may have, so that no
template costs more than a datagram.
"""

_WILDCARDS = frozenset(
    str(ipaddress.ip_address(each)) for each in (b"\0" * 4, b"\0" * 16)
)
_LOOPBACKS = ("127.0.0.1", "localhost", "::1")

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

    @property
    def key(self) -> tuple[str, int]:
        """What two ways to write the same address have in common."""
        try:
            host = str(ipaddress.ip_address(self.host))
        except ValueError:
            host = self.host.lower().removesuffix(".")
        return host, self.port

    def receives(self, other: HostPort) -> bool:
        """Return whether a socket that listens here surely receives what goes there."""
        if self.port != other.port or not self.port:
            return False
        ours, theirs = self.key[0], other.key[0]
        if not ours or ours in _WILDCARDS:
            return theirs in _LOOPBACKS
        is_localhost = {ours, theirs} == {"127.0.0.1", "localhost"}
        return ours == theirs or is_localhost

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class SampleType(StrEnum):
    """Type of a sample, from its line; `type` of statsd_exporter_events_total."""

    COUNTER = "counter"
    GAUGE = "gauge"
    OBSERVER = "observer"
    SET = "set"

    # `Enum.__hash__` is pure Python (about 100 ns, several times a line): reuse str's.
    __hash__ = str.__hash__


class MetricType(StrEnum):
    """Type of a metric, from the rule of its name.  A set is exposed as a gauge."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    SET = "set"

    __hash__ = str.__hash__


class ParseErrorReason(StrEnum):
    """
    Why a line or one of its samples cannot be parsed.

    `reason` of statsd_exporter_sample_errors_total.
    """

    MALFORMED_LINE = "malformed_line"
    MIXED_TAGGING_STYLES = "mixed_tagging_styles"
    NOT_ENOUGH_PARTS = "not_enough_parts_after_colon"
    INVALID_EXTENDED_AGGREGATE = "invalid_extended_aggregate_type"
    MALFORMED_COMPONENT = "malformed_component"
    MALFORMED_VALUE = "malformed_value"
    INVALID_SAMPLE_FACTOR = "invalid_sample_factor"
    MALFORMED_CONTAINER_ID = "malformed_container_id"
    ILLEGAL_EVENT = "illegal_event"


class RejectionReason(StrEnum):
    """Why a parsed sample is not added to a series."""

    # reason of statsd_exporter_events_error_total
    ILLEGAL_NEGATIVE_COUNTER = "illegal_negative_counter"
    EMPTY_METRIC_NAME = "empty_metric_name"
    RESERVED_LABEL = "reserved_label"
    NAME_TOO_LONG = "name_too_long"
    LABEL_TOO_LONG = "label_too_long"
    NAN = "nan"
    # statsd_exporter_events_conflict_total
    CONFLICT = "conflict"
    # statsd_bridge_series_refused_total
    SERIES_LIMIT = "series_limit"
    MEMORY_LIMIT = "memory_limit"
    QUOTA = "quota"


class NativeMode(StrEnum):
    """When histograms have native buckets; AUTO: while they are scraped."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Action(StrEnum):
    """What the mapping does with a name; UNMAPPED if no rule matches it."""

    MAP = "map"
    DROP = "drop"
    UNMAPPED = "unmapped"

    __hash__ = str.__hash__


class Sample(NamedTuple):
    """
    One value of one line, in base units (`ms` is already converted to seconds).

    `name` is as received, without tags and not escaped.  `weight` is the number of
    observations that the sample stands for: int(1/rate) for timers, otherwise 1.
    `member` is the text of a set's value, whose `value` is 0.  `value` is the number in
    the line divided by `divisor`: 1000 for milliseconds, the rate for counters.
    """

    type: SampleType
    name: str
    value: float
    labels: Labels = ()
    relative: bool = False
    weight: int = 1
    member: str = ""
    divisor: float = 1.0


class ParseError(NamedTuple):
    """A line or sample that cannot be parsed; `detail` is the offending text."""

    reason: ParseErrorReason
    detail: str


class Parsed(NamedTuple):
    """
    Everything found in one line, which may hold both samples and errors.

    `attempted`, `tagged` and `tag_errors` are added to samples_total, tags_total and
    tag_errors_total.  `dogstatsd` is the type of a DogStatsD message that is recognised
    and dropped, "event" or "service_check", else empty.
    """

    samples: Sequence[Sample] = ()
    errors: Sequence[ParseError] = ()
    attempted: int = 0
    tagged: int = 0
    tag_errors: int = 0
    dogstatsd: str = ""


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile of a summary and its allowed rank error, both in 0..1."""

    quantile: float
    error: float


MIN_NATIVE_SCHEMA, MAX_NATIVE_SCHEMA = -4, 8
"""The coarsest and the finest schema of native buckets."""


@dataclass(frozen=True, slots=True)
class NativeOptions:
    """Native buckets of a histogram: the schema that it begins with, and a limit."""

    schema: int
    max_buckets: int


@dataclass(frozen=True, slots=True)
class MetricOptions:
    """
    Type and options of a metric: one object per rule and sample type.

    `buckets` are upper bounds, ascending, without +Inf.  `ttl` is in seconds, 0 for no
    expiry.  `max_age` is a summary's window in seconds, divided into `age_buckets`.
    `native` is None for a histogram with classic buckets only, and for other types.
    """

    type: MetricType
    help: str
    _: KW_ONLY
    ttl: float = 0.0
    scale: float | None = None
    buckets: tuple[float, ...] = ()
    native: NativeOptions | None = None
    quantiles: tuple[Quantile, ...] = ()
    max_age: float = 600.0
    age_buckets: int = 5


class SeriesSpec(NamedTuple):
    """
    The series that a sample belongs to: escaped metric name, all labels, options.

    `label_text` is the labels as the page prints them, if already known.
    """

    name: str
    labels: Labels
    options: MetricOptions
    label_text: str | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class SampleFormat:
    """
    How to read the numbers of lines that differ in the number only, and how to count.

    The value of a sample is `number / divisor * scale`; it stands for `weight`
    observations.  Compared by identity, since to hash the fields takes a microsecond;
    not frozen, since that takes another microsecond to create.  It never changes.
    """

    type: SampleType
    action: Action
    divisor: float = 1.0
    scale: float | None = None
    weight: int = 1
    is_tagged: bool = False
    tag_errors: int = 0
    source: str = ""
    suffix: bytes = b""
    """That of the lines, if all have the same; see fastpath/known.py."""
    rule: int = -1
    """The index of the rule in the table of this time; -1 if none matches."""


class Rejection(NamedTuple):
    """A parsed sample that is not added to a series; `name` is the metric name."""

    reason: RejectionReason
    type: SampleType
    name: str


class CacheStats(NamedTuple):
    """The mapping cache: its length, its look-ups, and those that it answered."""

    length: int
    gets: int
    hits: int


class StorageResult(StrEnum):
    """What a start found in the place of --storage.file."""

    RESTORED = "restored"
    FIRST_START = "first_start"
    UNCLEAN_STOP = "unclean_stop"
    UNREADABLE = "unreadable"

    __hash__ = str.__hash__


@dataclass(slots=True, kw_only=True)
class StorageStats:
    """What a start with --storage.file found; without it all is None or empty."""

    result: StorageResult | None = None
    problem: str = ""
    """Why the file could not be read, or not to its end."""
    restored: int | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    """Series of the file that were not taken, by reason."""
    age_seconds: float | None = None
    """Between the time of the file and this start."""
    read_seconds: float | None = None
    write_seconds: float | None = None
    """What the last run took to write the file."""


@dataclass(slots=True, kw_only=True)
class Stats:
    """
    Counters of the self-metrics; `exposition/self_metrics.py` prints them.

    They never fall, `scrapes_in_flight` and the two figures of the last scrape aside.
    Keys are label values; code that adds keys which senders choose bounds them.
    """

    lines: int = 0
    samples: int = 0
    tags: int = 0
    tag_errors: int = 0
    unmapped: int = 0
    """Samples that no rule matched."""
    sample_errors: Counter[str] = field(default_factory=Counter)
    """Lines and samples that could not be parsed, by reason."""
    events: Counter[str] = field(default_factory=Counter)
    """Samples added to a series, by sample type."""
    actions: Counter[str] = field(default_factory=Counter)
    """Samples that a rule matched, by action."""
    event_errors: Counter[str] = field(default_factory=Counter)
    """Samples rejected, by reason."""
    conflicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By sample type and metric name."""
    series_refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By reason (series, memory, quota) and metric name."""
    dogstatsd_dropped: Counter[str] = field(default_factory=Counter)
    packets: Counter[str] = field(default_factory=Counter)
    """Datagrams by transport: udp, unixgram; without those that were denied."""
    packets_denied: Counter[str] = field(default_factory=Counter)
    """Datagrams and connections of senders that are not allowed: udp, tcp."""
    tcp: Counter[str] = field(default_factory=Counter)
    """
    connections, connection_errors, too_long_lines, connections_closed; those of the
    Unix stream socket included.
    """
    lines_by_transport: Counter[str] = field(default_factory=Counter)
    """udp, tcp, unixgram, unixstream."""
    relay: Counter[tuple[str, str]] = field(default_factory=Counter)
    """
    By event (packets, long_lines, lines_relayed, lost_unresolved, lost_full,
    lost_error, and in mode `shard` lost_refused, lines_moved) and relay target.
    """
    lines_by_source: Counter[str] = field(default_factory=Counter)
    """Lines by the first segment of their name, for the configured segments."""
    config_reloads: Counter[str] = field(default_factory=Counter)
    """By outcome: success, failure."""
    scrapes: Counter[str] = field(default_factory=Counter)
    """By HTTP status."""
    scrapes_in_flight: int = 0
    http_closed: int = 0
    """HTTP connections closed because there were as many as allowed."""
    scrape_seconds: float = 0.0
    """Duration of the last scrape."""
    scrape_bytes: int = 0
    """Size of the last scrape as sent."""
    bugs: int = 0
    """Lines and series skipped because of an exception in the bridge."""
