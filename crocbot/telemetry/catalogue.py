"""
Every metric of the gateway, once: nothing in, the rows out.

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

from crocbot.model import ErrorType, Kind, ReconnectReason, Severity


class Type(StrEnum):
    """What a metric is in Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Mode(StrEnum):
    """Where processor time was spent."""

    USER = "user"
    SYSTEM = "system"


class Generation(StrEnum):
    """Which generation the garbage collector went through."""

    YOUNG = "0"
    MIDDLE = "1"
    OLD = "2"


class Loss(StrEnum):
    """Why a line did not reach the receiver."""

    REFUSED = "refused"
    BUFFER_FULL = "buffer_full"
    UNREACHABLE = "unreachable"
    OTHER = "other"


class Drop(StrEnum):
    """Why something that was reported became no value of a metric."""

    INVALID = "invalid"
    UNKNOWN = "unknown"
    OVERFLOW = "overflow"


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


def _words(name: str, words: type[StrEnum]) -> Segment:
    return Segment(name, tuple(word.value for word in words))


# A model can take minutes.
_TURN_BUCKETS = (
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
_PAUSE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

# The mission.  These five names are fixed.

UPTIME = Metric(
    "crocbot.uptime",
    "crocbot_uptime_seconds",
    Type.GAUGE,
    "seconds",
    "How long the gateway has been running.",
    "crocbot_uptime_seconds < 300",
)
MESSAGES = Metric(
    "crocbot.messages",
    "crocbot_messages_total",
    Type.COUNTER,
    "messages",
    "Messages whose turn has ended, answered or not, by what was sent.",
    "sum by (type) (rate(crocbot_messages_total[5m]))",
    (_words("type", Kind),),
)
ERRORS = Metric(
    "crocbot.errors",
    "crocbot_errors_total",
    Type.COUNTER,
    "errors",
    "What went wrong, by where; critical needs a person, a warning mends itself.",
    'sum by (type) (increase(crocbot_errors_total{severity="critical"}[1h]))',
    (_words("type", ErrorType), _words("severity", Severity)),
)
LATENCY = Metric(
    "crocbot.telegram.latency",
    "crocbot_telegram_latency_seconds",
    Type.HISTOGRAM,
    "seconds",
    "From a message received to its reply delivered; only messages that were answered.",
    "histogram_quantile(0.95, sum by (le) "
    "(rate(crocbot_telegram_latency_seconds_bucket[5m])))",
    (_words("type", Kind),),
    buckets=_TURN_BUCKETS,
)
RECONNECTS = Metric(
    "crocbot.telegram.reconnects",
    "crocbot_telegram_reconnects_total",
    Type.COUNTER,
    "polls",
    "Polls that failed and were tried again; conflict: another poller has our token.",
    "sum by (reason) (increase(crocbot_telegram_reconnects_total[15m]))",
    (_words("reason", ReconnectReason),),
)

# The process that runs it.

CPU = Metric(
    "crocbot.process.cpu",
    "crocbot_process_cpu_seconds_total",
    Type.COUNTER,
    "seconds",
    "Processor time that the gateway used, in its own code and in the kernel.",
    "sum(rate(crocbot_process_cpu_seconds_total[5m]))",
    (_words("mode", Mode),),
)
RESIDENT_MEMORY = Metric(
    "crocbot.process.resident_memory",
    "crocbot_process_resident_memory_bytes",
    Type.GAUGE,
    "bytes",
    "Memory of the gateway that is in RAM.",
    "max_over_time(crocbot_process_resident_memory_bytes[1h])",
)
VIRTUAL_MEMORY = Metric(
    "crocbot.process.virtual_memory",
    "crocbot_process_virtual_memory_bytes",
    Type.GAUGE,
    "bytes",
    "Address space that the gateway has reserved, used or not.",
    "crocbot_process_virtual_memory_bytes",
)
OPEN_FDS = Metric(
    "crocbot.process.open_fds",
    "crocbot_process_open_fds",
    Type.GAUGE,
    "file descriptors",
    "File descriptors in use: sockets, files, pipes.",
    "crocbot_process_open_fds / crocbot_process_max_fds > 0.8",
)
MAX_FDS = Metric(
    "crocbot.process.max_fds",
    "crocbot_process_max_fds",
    Type.GAUGE,
    "file descriptors",
    "File descriptors that the gateway may have open; absent where there is no limit.",
    "crocbot_process_max_fds",
)
START_TIME = Metric(
    "crocbot.process.start_time",
    "crocbot_process_start_time_seconds",
    Type.GAUGE,
    "seconds",
    "When the process started, as Unix time.",
    "changes(crocbot_process_start_time_seconds[1h])",
)
LOOP_LAG = Metric(
    "crocbot.event_loop.lag",
    "crocbot_event_loop_lag_seconds",
    Type.HISTOGRAM,
    "seconds",
    "How much too late the event loop woke a sleeper, tried ten times a second.",
    "histogram_quantile(0.99, sum by (le) "
    "(rate(crocbot_event_loop_lag_seconds_bucket[5m])))",
    buckets=(*_PAUSE_BUCKETS, 2.5, 5.0),
)
TASKS = Metric(
    "crocbot.event_loop.tasks",
    "crocbot_event_loop_tasks",
    Type.GAUGE,
    "tasks",
    "Tasks of the event loop that have not ended.",
    "deriv(crocbot_event_loop_tasks[1h]) > 0",
)
GC_DURATION = Metric(
    "crocbot.gc.duration",
    "crocbot_gc_duration_seconds",
    Type.HISTOGRAM,
    "seconds",
    "How long a garbage collection held up everything else, by the oldest generation.",
    "sum by (generation) (rate(crocbot_gc_duration_seconds_sum[5m]))",
    (_words("generation", Generation),),
    buckets=_PAUSE_BUCKETS,
)
ALLOCATED_BLOCKS = Metric(
    "crocbot.allocated_blocks",
    "crocbot_allocated_blocks",
    Type.GAUGE,
    "blocks",
    "Memory blocks that Python's own allocator has handed out.",
    "deriv(crocbot_allocated_blocks[6h])",
)
PYTHON_INFO = Metric(
    "crocbot.python",
    "crocbot_python_info",
    Type.GAUGE,
    "",
    "Always 1; the labels tell which Python runs the gateway.",
    "count by (version) (crocbot_python_info)",
    (Segment("implementation"), Segment("major"), Segment("minor"), Segment("micro")),
    (("implementation", "$1"), ("version", "$2.$3.$4")),
)
BUILD_INFO = Metric(
    "crocbot.build",
    "crocbot_build_info",
    Type.GAUGE,
    "",
    "Always 1; the label tells which version of the gateway runs.",
    "count by (version) (crocbot_build_info)",
    (Segment("major"), Segment("minor"), Segment("micro")),
    (("version", "$1.$2.$3"),),
)

# What tells about all of it.

LINES_SENT = Metric(
    "crocbot.emitter.lines_sent",
    "crocbot_emitter_lines_sent",
    Type.GAUGE,
    "lines",
    "Running total of statsd lines handed to the kernel.",
    "increase(crocbot_emitter_lines_sent[5m])",
)
LINES_LOST = Metric(
    "crocbot.emitter.lines_lost",
    "crocbot_emitter_lines_lost",
    Type.GAUGE,
    "lines",
    "Running total of statsd lines that nobody got; the refused had been sent before.",
    "sum by (reason) (increase(crocbot_emitter_lines_lost[5m])) > 0",
    (_words("reason", Loss),),
)
VALUES_DROPPED = Metric(
    "crocbot.emitter.values_dropped",
    "crocbot_emitter_values_dropped_total",
    Type.COUNTER,
    "values",
    "Reports that became no value; invalid or unknown means a bug in the gateway.",
    "increase(crocbot_emitter_values_dropped_total[1h]) > 0",
    (_words("reason", Drop),),
)

CATALOGUE = (
    *(UPTIME, MESSAGES, ERRORS, LATENCY, RECONNECTS),
    *(CPU, RESIDENT_MEMORY, VIRTUAL_MEMORY, OPEN_FDS, MAX_FDS, START_TIME),
    *(LOOP_LAG, TASKS, GC_DURATION, ALLOCATED_BLOCKS, PYTHON_INFO, BUILD_INFO),
    *(LINES_SENT, LINES_LOST, VALUES_DROPPED),
)
