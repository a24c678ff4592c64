"""
The metrics of the process, one row each: runtime.py and process.py sample them.

`catalogue.py` has all other metrics, and says what a row is.
"""

from __future__ import annotations

from crocbot.telemetry.buckets import PAUSE_BUCKETS, quantile_query
from crocbot.telemetry.instruments import (
    ChosenAtStart,
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    Metric,
)
from crocbot.telemetry.labels import CpuMode, Generation

CPU = CounterMetric(
    name="crocbot_process_cpu_seconds_total",
    statsd="crocbot.process.cpu",
    labels={"mode": CpuMode},
    help="CPU time of the gateway, in user mode and in the kernel.",
    query="sum(rate(crocbot_process_cpu_seconds_total[5m]))",
)
RESIDENT_MEMORY = GaugeMetric(
    name="crocbot_process_resident_memory_bytes",
    statsd="crocbot.process.resident_memory",
    help="Resident memory of the gateway.",
    query="max_over_time(crocbot_process_resident_memory_bytes[1h])",
)
VIRTUAL_MEMORY = GaugeMetric(
    name="crocbot_process_virtual_memory_bytes",
    statsd="crocbot.process.virtual_memory",
    help="Virtual memory of the gateway, used or only reserved.",
    query="crocbot_process_virtual_memory_bytes",
)
OPEN_FDS = GaugeMetric(
    name="crocbot_process_open_fds",
    statsd="crocbot.process.open_fds",
    help="Open file descriptors: sockets, files, pipes.",
    query="crocbot_process_open_fds / crocbot_process_max_fds > 0.8",
)
MAX_FDS = GaugeMetric(
    name="crocbot_process_max_fds",
    statsd="crocbot.process.max_fds",
    help="Limit of open file descriptors; absent if there is none.",
    query="crocbot_process_max_fds",
)
START_TIME = GaugeMetric(
    name="crocbot_process_start_time_seconds",
    statsd="crocbot.process.start_time",
    help="Start of the process, as Unix time.",
    query="changes(crocbot_process_start_time_seconds[1h])",
)
LOOP_LAG = HistogramMetric(
    name="crocbot_event_loop_lag_seconds",
    statsd="crocbot.event_loop.lag",
    buckets=(*PAUSE_BUCKETS, 2.5, 5.0),
    help="Delay of timers on the event loop, measured ten times a second.",
    query=quantile_query(0.99, "crocbot_event_loop_lag_seconds"),
)
TASKS = GaugeMetric(
    name="crocbot_event_loop_tasks",
    statsd="crocbot.event_loop.tasks",
    help="Unfinished tasks of the event loop.",
    query="deriv(crocbot_event_loop_tasks[1h]) > 0",
)
THREADS = GaugeMetric(
    name="crocbot_threads",
    statsd="crocbot.threads",
    help="Python threads: of the event loop, the inbox, name look-ups.",
    query="max_over_time(crocbot_threads[1h])",
)
GC_DURATION = HistogramMetric(
    name="crocbot_gc_duration_seconds",
    statsd="crocbot.gc.duration",
    labels={"generation": Generation},
    buckets=PAUSE_BUCKETS,
    help="Duration of garbage collections, by the oldest generation collected.",
    query="sum by (generation) (rate(crocbot_gc_duration_seconds_sum[5m]))",
)
ALLOCATED_BLOCKS = GaugeMetric(
    name="crocbot_allocated_blocks",
    statsd="crocbot.allocated_blocks",
    help="Memory blocks allocated by Python's own allocator.",
    query="deriv(crocbot_allocated_blocks[6h])",
)
MALLOC = GaugeMetric(
    name="crocbot_malloc_bytes",
    statsd="crocbot.malloc",
    help="Memory allocated by the C library; without Python's small objects.",
    query="deriv(crocbot_malloc_bytes[6h])",
)
PYTHON_INFO = GaugeMetric(
    name="crocbot_python_info",
    statsd="crocbot.python",
    labels={"implementation": ChosenAtStart(), "version": ChosenAtStart(segments=3)},
    help="Always 1; the labels are the implementation and version of Python.",
    query="count by (version) (crocbot_python_info)",
)
BUILD_INFO = GaugeMetric(
    name="crocbot_build_info",
    statsd="crocbot.build",
    labels={"version": ChosenAtStart(segments=3)},
    help="Always 1; the label is the version of the gateway.",
    query="count by (version) (crocbot_build_info)",
)

ROWS = tuple(row for row in list(globals().values()) if isinstance(row, Metric))
"""Every row above, in that order."""
