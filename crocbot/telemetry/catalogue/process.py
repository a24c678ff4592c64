"""The rows about the process that runs the gateway, sampled by `runtime.py`."""

from __future__ import annotations

from enum import StrEnum

from crocbot.telemetry.catalogue.metric import Metric, Segment, Type, words


class Mode(StrEnum):
    """Where processor time was spent."""

    USER = "user"
    SYSTEM = "system"


class Generation(StrEnum):
    """Which generation the garbage collector went through."""

    YOUNG = "0"
    MIDDLE = "1"
    OLD = "2"


_PAUSE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

UPTIME = Metric(
    "crocbot.uptime",
    "crocbot_uptime_seconds",
    Type.GAUGE,
    "seconds",
    "How long the gateway has been running.",
    "crocbot_uptime_seconds < 300",
    source="runtime",
)
CPU = Metric(
    "crocbot.process.cpu",
    "crocbot_process_cpu_seconds_total",
    Type.COUNTER,
    "seconds",
    "Processor time that the gateway used, in its own code and in the kernel.",
    "sum(rate(crocbot_process_cpu_seconds_total[5m]))",
    (words("mode", Mode),),
    source="runtime",
)
RESIDENT_MEMORY = Metric(
    "crocbot.process.resident_memory",
    "crocbot_process_resident_memory_bytes",
    Type.GAUGE,
    "bytes",
    "Memory of the gateway that is in RAM.",
    "max_over_time(crocbot_process_resident_memory_bytes[1h])",
    source="runtime",
)
VIRTUAL_MEMORY = Metric(
    "crocbot.process.virtual_memory",
    "crocbot_process_virtual_memory_bytes",
    Type.GAUGE,
    "bytes",
    "Address space that the gateway has reserved, used or not.",
    "crocbot_process_virtual_memory_bytes",
    source="runtime",
)
OPEN_FDS = Metric(
    "crocbot.process.open_fds",
    "crocbot_process_open_fds",
    Type.GAUGE,
    "file descriptors",
    "File descriptors in use: sockets, files, pipes.",
    "crocbot_process_open_fds / crocbot_process_max_fds > 0.8",
    source="runtime",
)
MAX_FDS = Metric(
    "crocbot.process.max_fds",
    "crocbot_process_max_fds",
    Type.GAUGE,
    "file descriptors",
    "File descriptors that the gateway may have open; absent where there is no limit.",
    "crocbot_process_max_fds",
    source="runtime",
)
START_TIME = Metric(
    "crocbot.process.start_time",
    "crocbot_process_start_time_seconds",
    Type.GAUGE,
    "seconds",
    "When the process started, as Unix time.",
    "changes(crocbot_process_start_time_seconds[1h])",
    source="runtime",
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
    source="runtime",
)
TASKS = Metric(
    "crocbot.event_loop.tasks",
    "crocbot_event_loop_tasks",
    Type.GAUGE,
    "tasks",
    "Tasks of the event loop that have not ended.",
    "deriv(crocbot_event_loop_tasks[1h]) > 0",
    source="runtime",
)
GC_DURATION = Metric(
    "crocbot.gc.duration",
    "crocbot_gc_duration_seconds",
    Type.HISTOGRAM,
    "seconds",
    "How long a garbage collection held up everything else, by the oldest generation.",
    "sum by (generation) (rate(crocbot_gc_duration_seconds_sum[5m]))",
    (words("generation", Generation),),
    buckets=_PAUSE_BUCKETS,
    source="runtime",
)
ALLOCATED_BLOCKS = Metric(
    "crocbot.allocated_blocks",
    "crocbot_allocated_blocks",
    Type.GAUGE,
    "blocks",
    "Memory blocks that Python's own allocator has handed out.",
    "deriv(crocbot_allocated_blocks[6h])",
    source="runtime",
)
MALLOC = Metric(
    "crocbot.malloc",
    "crocbot_malloc_bytes",
    Type.GAUGE,
    "bytes",
    "Memory that the C library handed out; Python's small objects are not in it.",
    "deriv(crocbot_malloc_bytes[6h])",
    source="runtime",
)
THREADS = Metric(
    "crocbot.threads",
    "crocbot_threads",
    Type.GAUGE,
    "threads",
    "Threads that Python knows: the event loop's, the inbox's, look-ups of names.",
    "max_over_time(crocbot_threads[1h])",
    source="runtime",
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
    source="runtime",
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
    source="runtime",
)
