"""
The self-metrics of the bridge: a table of (name, type, help, labels, getter).

The page, the reserved names and the table in docs/bridge-metrics.md follow from it.
Metrics that statsd_exporter has too have its names, for its dashboards and alerts; new
ones start with `statsd_bridge_`.  prometheus_client prints them, and its collectors add
metrics of process, platform and garbage collection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Metric,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from statsd_bridge.exposition.protobuf import encode_message
from statsd_bridge.memory import MemoryBudget
from statsd_bridge.model import CacheStats, MetricType, Stats, StorageStats
from statsd_bridge.series import NativeStats


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeState:
    """The bridge at the time of a scrape."""

    version: str
    stats: Stats
    rules: int = 0
    cache: CacheStats | None = None
    """None if the cache is off."""
    series: int = 0
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    native: NativeStats = field(default_factory=NativeStats)
    label_names_total: Mapping[MetricType, int] = field(default_factory=dict)
    """Pairs of a metric name and its label names ever created, by type."""
    kernel_drops: int | None = None
    """Datagrams that the kernel dropped for the UDP socket; None if unknown."""
    truncated_datagrams: int = 0
    relay_targets: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Whether each relay target is up, 1 or 0, by mode and address."""
    seconds_since_datagram: float | None = None
    """None before the first datagram."""
    log_lines_dropped: int = 0
    storage: StorageStats = field(default_factory=StorageStats)


class StateSource(Protocol):
    """Provides the state of the bridge at a scrape."""

    def state(self) -> BridgeState:
        """Return the state now."""


MetricValue = float | Mapping[Any, float] | None
"""A value, or values by label value or tuple of label values; None: absent now."""


class SelfMetric(NamedTuple):
    """One metric: its name as printed, and how to read it."""

    name: str
    type: type[CounterMetricFamily | GaugeMetricFamily]
    help: str
    labels: tuple[str, ...]
    get: Callable[[BridgeState], MetricValue]


_NO_DENIALS = {"udp": 0, "tcp": 0}
_NO_SCRAPES = {"200": 0, "500": 0, "503": 0}


def _relay_events(bridge: BridgeState, event: str) -> MetricValue:
    """Return the number of events by target."""
    relay = bridge.stats.relay
    return {target: n for (name, target), n in relay.items() if name == event}


def _relay_losses(bridge: BridgeState) -> MetricValue:
    """Return the number of lost lines by target and reason."""
    return {
        (target, event.removeprefix("lost_")): n
        for (event, target), n in bridge.stats.relay.items()
        if event.startswith("lost_")
    }


def _storage_start(bridge: BridgeState) -> MetricValue:
    """Return 1 by the result of the start; nothing without --storage.file."""
    result = bridge.storage.result
    return None if result is None else {str(result): 1}


COUNTER, GAUGE = CounterMetricFamily, GaugeMetricFamily

# A table: its columns are the fields of SelfMetric.
# fmt: off
SELF_METRICS = (
    SelfMetric("statsd_exporter_lines_total", COUNTER,
               "Lines received, including empty ones.",
               (), lambda bridge: bridge.stats.lines),
    SelfMetric("statsd_exporter_samples_total", COUNTER,
               "Samples found in lines.",
               (), lambda bridge: bridge.stats.samples),
    SelfMetric("statsd_exporter_sample_errors_total", COUNTER,
               "Lines and samples that could not be parsed, by reason.",
               ("reason",), lambda bridge: bridge.stats.sample_errors),
    SelfMetric("statsd_exporter_tags_total", COUNTER,
               "Samples with at least one tag.",
               (), lambda bridge: bridge.stats.tags),
    SelfMetric("statsd_exporter_tag_errors_total", COUNTER,
               "Tags that could not be parsed.",
               (), lambda bridge: bridge.stats.tag_errors),
    SelfMetric("statsd_exporter_udp_packets_total", COUNTER,
               "UDP datagrams received.",
               (), lambda bridge: bridge.stats.packets["udp"]),
    SelfMetric("statsd_exporter_unixgram_packets_total", COUNTER,
               "Unix datagrams received.",
               (), lambda bridge: bridge.stats.packets["unixgram"]),
    SelfMetric("statsd_exporter_udp_packet_drops_total", COUNTER,
               "Like statsd_bridge_udp_kernel_drops_total, for existing alerts; 0 if"
               " the kernel does not count.",
               (), lambda bridge: bridge.kernel_drops or 0),
    SelfMetric("statsd_exporter_tcp_connections_total", COUNTER,
               "Connections accepted, TCP and Unix streams.",
               (), lambda bridge: bridge.stats.tcp["connections"]),
    SelfMetric("statsd_exporter_tcp_connection_errors_total", COUNTER,
               "Connections that ended with an error.",
               (), lambda bridge: bridge.stats.tcp["connection_errors"]),
    SelfMetric("statsd_exporter_tcp_too_long_lines_total", COUNTER,
               "Lines of connections that were dropped because they are too long.",
               (), lambda bridge: bridge.stats.tcp["too_long_lines"]),
    SelfMetric("statsd_bridge_packets_denied_total", COUNTER,
               "UDP datagrams and TCP connections of senders that --statsd.allow-from"
               " does not allow, by transport: udp, tcp.",
               ("transport",),
               lambda bridge: {**_NO_DENIALS, **bridge.stats.packets_denied}),
    SelfMetric("statsd_bridge_tcp_connections_closed_total", COUNTER,
               "TCP or Unix connections closed for new ones because of the limit.",
               (), lambda bridge: bridge.stats.tcp["connections_closed"]),
    SelfMetric("statsd_bridge_dogstatsd_dropped_total", COUNTER,
               "DogStatsD events and service checks, which Prometheus cannot store.",
               ("kind",), lambda bridge: bridge.stats.dogstatsd_dropped),
    SelfMetric("statsd_bridge_lines_by_transport_total", COUNTER,
               "Lines received, by transport.",
               ("transport",), lambda bridge: bridge.stats.lines_by_transport),
    SelfMetric("statsd_bridge_lines_by_source_total", COUNTER,
               "Lines by the first segment of their name, for configured segments.",
               ("source",), lambda bridge: bridge.stats.lines_by_source),
    SelfMetric("statsd_exporter_event_queue_flushed_total", COUNTER,
               "Always 0: the bridge has no event queue.",
               (), lambda _: 0),
    SelfMetric("statsd_exporter_events_total", COUNTER,
               "Samples added to a series, by type.",
               ("type",), lambda bridge: bridge.stats.events),
    SelfMetric("statsd_exporter_events_unmapped_total", COUNTER,
               "Samples that no rule matched.",
               (), lambda bridge: bridge.stats.unmapped),
    SelfMetric("statsd_exporter_events_actions_total", COUNTER,
               "Samples that a rule matched, by action.",
               ("action",), lambda bridge: bridge.stats.actions),
    SelfMetric("statsd_exporter_events_error_total", COUNTER,
               "Samples rejected, by reason.",
               ("reason",), lambda bridge: bridge.stats.event_errors),
    SelfMetric("statsd_exporter_events_conflict_total", COUNTER,
               "Samples rejected because another type owns the name.",
               ("type", "metric_name"), lambda bridge: bridge.stats.conflicts),
    SelfMetric("statsd_bridge_series_refused_total", COUNTER,
               "Samples rejected because --statsd.max-series, --statsd.max-memory or"
               " the quota of the name is reached, by reason: series, memory, quota.",
               ("reason", "metric_name"), lambda bridge: bridge.stats.series_refused),
    SelfMetric("statsd_exporter_relay_packets_total", COUNTER,
               "Packets sent to a relay target, failed attempts included.",
               ("target",), lambda bridge: _relay_events(bridge, "packets")),
    SelfMetric("statsd_exporter_relay_long_lines_total", COUNTER,
               "Lines not relayed because they are longer than a packet.",
               ("target",), lambda bridge: _relay_events(bridge, "long_lines")),
    SelfMetric("statsd_exporter_relay_lines_relayed_total", COUNTER,
               "Lines accepted for a relay target.",
               ("target",), lambda bridge: _relay_events(bridge, "lines_relayed")),
    SelfMetric("statsd_bridge_relay_lines_lost_total", COUNTER,
               "Lines that could not be relayed: the name is unresolved, the kernel's"
               " buffer is full, sending failed, or, in mode shard, the host refused"
               " them.",
               ("target", "reason"), _relay_losses),
    SelfMetric("statsd_bridge_relay_lines_moved_total", COUNTER,
               "Lines that a relay target refused and --statsd.relay.failover sent to"
               " another one.",
               ("target",), lambda bridge: _relay_events(bridge, "lines_moved")),
    SelfMetric("statsd_bridge_relay_target_up", GAUGE,
               "1 if a relay target is in use, 0 if its name has no address or, in mode"
               " shard, its host refuses packets.",
               ("mode", "target"), lambda bridge: bridge.relay_targets),
    SelfMetric("statsd_exporter_config_reloads_total", COUNTER,
               "Reloads of the mapping file and the quota file, by outcome.",
               ("outcome",), lambda bridge: bridge.stats.config_reloads),
    SelfMetric("statsd_bridge_bugs_total", COUNTER,
               "Lines and series skipped because of a bug in the bridge; see the log.",
               (), lambda bridge: bridge.stats.bugs),
    SelfMetric("statsd_bridge_log_lines_dropped_total", COUNTER,
               "Lines of the log that standard error did not take.",
               (), lambda bridge: bridge.log_lines_dropped),
    SelfMetric("promhttp_metric_handler_requests_total", COUNTER,
               "Scrapes by HTTP status.",
               ("code",), lambda bridge: {**_NO_SCRAPES, **bridge.stats.scrapes}),
    SelfMetric("promhttp_metric_handler_requests_in_flight", GAUGE,
               "Scrapes being answered now, including this one.",
               (), lambda bridge: bridge.stats.scrapes_in_flight),
    SelfMetric("statsd_bridge_http_connections_closed_total", COUNTER,
               "HTTP connections closed for new ones because of the limit.",
               (), lambda bridge: bridge.stats.http_closed),
    SelfMetric("statsd_bridge_scrape_duration_seconds", GAUGE,
               "Duration of the last scrape, from its request to its last byte.",
               (), lambda bridge: bridge.stats.scrape_seconds),
    SelfMetric("statsd_bridge_scrape_size_bytes", GAUGE,
               "Size of the last scrape as sent, compressed or not.",
               (), lambda bridge: bridge.stats.scrape_bytes),
    SelfMetric("statsd_exporter_loaded_mappings", GAUGE,
               "Rules of the mapping file.",
               (), lambda bridge: bridge.rules),
    SelfMetric("statsd_exporter_metrics_total", GAUGE,
               "Pairs of a name and its label names ever created, by type.",
               ("type",), lambda bridge: bridge.label_names_total),
    SelfMetric("statsd_bridge_series", GAUGE,
               "Series that exist now.",
               (), lambda bridge: bridge.series),
    SelfMetric("statsd_bridge_memory_bytes", GAUGE,
               "Estimated memory of all that the bridge remembers of its senders.",
               (), lambda bridge: bridge.memory.used),
    SelfMetric("statsd_bridge_memory_limit_bytes", GAUGE,
               "The limit of statsd_bridge_memory_bytes, --statsd.max-memory; 0: none.",
               (), lambda bridge: bridge.memory.limit),
    SelfMetric("statsd_bridge_summaries_coarsened_total", COUNTER,
               "Times that a summary had no memory for more values: its quantiles are"
               " less exact.",
               (), lambda bridge: bridge.memory.series.denied),
    SelfMetric("statsd_bridge_native_histograms_dropped_total", COUNTER,
               "Histograms whose native buckets were dropped, by reason: idle (without"
               " a scrape in protobuf), memory, range (a count was too large).",
               ("reason",), lambda bridge: bridge.native.dropped),
    SelfMetric("statsd_bridge_native_histograms_coarsened_total", COUNTER,
               "Times that a native histogram had no memory for another bucket: its"
               " resolution was halved.",
               (), lambda bridge: bridge.native.halved),
    SelfMetric("statsd_bridge_storage_start_info", GAUGE,
               "Always 1; with --storage.file, what this start found: restored (the"
               " series), first_start, unclean_stop, unreadable.",
               ("result",), _storage_start),
    SelfMetric("statsd_bridge_storage_restored_series", GAUGE,
               "Series that this start took from --storage.file.",
               (), lambda bridge: bridge.storage.restored),
    SelfMetric("statsd_bridge_storage_left_out_series", GAUGE,
               "Series of --storage.file that this start did not take, by reason.",
               ("reason",), lambda bridge: bridge.storage.left_out),
    SelfMetric("statsd_bridge_storage_age_seconds", GAUGE,
               "Age of --storage.file at this start: how long the bridge was down.",
               (), lambda bridge: bridge.storage.age_seconds),
    SelfMetric("statsd_bridge_storage_read_seconds", GAUGE,
               "How long this start took to read --storage.file.",
               (), lambda bridge: bridge.storage.read_seconds),
    SelfMetric("statsd_bridge_storage_write_seconds", GAUGE,
               "How long the last stop took to write --storage.file.",
               (), lambda bridge: bridge.storage.write_seconds),
    SelfMetric("statsd_metric_mapper_cache_length", GAUGE,
               "Matches in the mapping cache; absent with a cache size of 0.",
               (), lambda bridge: bridge.cache and bridge.cache.length),
    SelfMetric("statsd_metric_mapper_cache_gets_total", COUNTER,
               "Names looked up, in the cache or not; absent with a cache size of 0.",
               (), lambda bridge: bridge.cache and bridge.cache.gets),
    SelfMetric("statsd_metric_mapper_cache_hits_total", COUNTER,
               "Names that needed no search of rules; absent with a cache size of 0.",
               (), lambda bridge: bridge.cache and bridge.cache.hits),
    SelfMetric("statsd_bridge_seconds_since_last_datagram", GAUGE,
               "Seconds since the last datagram, UDP or Unix; absent before the first.",
               (), lambda bridge: bridge.seconds_since_datagram),
    SelfMetric("statsd_bridge_udp_kernel_drops_total", COUNTER,
               "Datagrams that the kernel dropped because the UDP socket was full.",
               (), lambda bridge: bridge.kernel_drops),
    SelfMetric("statsd_bridge_datagrams_cut_total", COUNTER,
               "Datagrams larger than 65,535 bytes, which lost their last line.",
               (), lambda bridge: bridge.truncated_datagrams),
    SelfMetric("statsd_bridge_build_info", GAUGE,
               "Always 1; the version that runs.",
               ("version",), lambda bridge: {bridge.version: 1}),
)
# fmt: on


class SelfMetrics(Collector):
    """Prints the table and prometheus_client's metrics of the process."""

    def __init__(self, source: StateSource) -> None:
        self._source = source
        # All counters begin with the bridge.
        self._created = time.time()
        self._registry = _process_metrics(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the table that have a value now."""
        state = self._source.state()
        for row in SELF_METRICS:
            family = row.type(row.name, row.help, labels=row.labels)
            for labels, value in _labelled_values(row.get(state)):
                family.add_metric(labels, value)
            if family.samples:
                yield family

    def render_text(self) -> bytes:
        """Return all metrics in the text format 0.0.4."""
        return generate_latest(self._registry)

    def render_openmetrics(self) -> bytes:
        """Return all metrics in OpenMetrics, with the end of the page."""
        page: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
        return page

    def render_protobuf(self) -> bytes:
        """Return all metrics as delimited protobuf messages."""
        metrics = self._registry.collect()
        return b"".join([_encode_metric(each, self._created) for each in metrics])


def _encode_metric(metric: Metric, created: float) -> bytes:
    """Encode a counter or a gauge, under the name that it has as text."""
    return encode_message(
        metric.samples[0].name,
        metric.documentation,
        [(sample.labels, sample.value) for sample in metric.samples],
        is_counter=metric.type == "counter",
        created=created,
    )


@cache
def reserved_names() -> frozenset[str]:
    """
    Return every name that this part of the page can print: no sender may use it.

    Counters appear with and without `_total`: OpenMetrics omits it in HELP and TYPE.
    """
    names = {each.name for each in SELF_METRICS}
    for metric in _process_metrics().collect():
        names |= {metric.name, *(sample.name for sample in metric.samples)}
    return frozenset(names | {name.removesuffix("_total") for name in names})


def _process_metrics(*collectors: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    for each in collectors:
        registry.register(each)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def _labelled_values(value: MetricValue) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(value, Mapping):
        for key, number in value.items():
            yield (key,) if isinstance(key, str) else key, number
    elif value is not None:
        yield (), value
