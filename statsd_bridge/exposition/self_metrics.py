"""
The tally and the process to the bridge's own metrics.

What means the same as in statsd_exporter has its name, so that its dashboards and
alerts work; what is new starts with `statsd_bridge_`.  prometheus_client prints these,
and its collectors tell about process, platform and garbage collection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Metric,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.registry import Collector

from statsd_bridge.exposition.formats import Format
from statsd_bridge.model import MetricType, Stats


@dataclass(frozen=True, slots=True)
class Vitals:
    """What is not counted but read when somebody looks."""

    version: str
    loaded_mappings: int = 0
    cache_size: int = 0
    """Names that may be kept; 0: there is no cache, nor numbers of it."""
    cache_length: int = 0
    cache_gets: int = 0
    cache_hits: int = 0
    series: int = 0
    label_sets: Mapping[MetricType, int] | None = None
    """Sets of label names ever made, by type."""
    kernel_drops: int | None = None
    """Datagrams that the kernel dropped for our UDP socket; None where unknown."""
    datagrams_cut: int = 0
    """Those that were larger than we take."""
    quiet_seconds: float | None = None
    """Since the last datagram; None before the first."""


class SelfMetrics:
    """The bridge's own metrics.  `vitals` is called at every scrape."""

    def __init__(self, stats: Stats, vitals: Callable[[], Vitals]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Tallied(stats, vitals))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self, form: Format = Format.TEXT) -> bytes:
        """Print all of them; in OpenMetrics, the end of the page, too."""
        if form is Format.OPENMETRICS:
            # Untyped there.
            write: Callable[[CollectorRegistry], bytes] = open_metrics
            return write(self._registry)
        return generate_latest(self._registry)

    def names(self) -> frozenset[str]:
        """List the names that are printed now, of families and of samples."""
        metrics = list(self._registry.collect())
        samples = {sample.name for metric in metrics for sample in metric.samples}
        return frozenset(samples | {metric.name for metric in metrics})


@cache
def reserved_names() -> frozenset[str]:
    """
    List every name that may ever be printed here: nobody else may have it.

    OpenMetrics names a counter's family without `_total`, so that name is here, too.
    """
    vitals = Vitals("", cache_size=1, kernel_drops=0, quiet_seconds=0.0)
    own = SelfMetrics(Stats(), lambda: vitals)
    return own.names().union(*((f"{name}_total", name) for name in LATER))


# Counters that are printed only once there is something to print, without `_total`.
LATER = (
    "statsd_exporter_events",
    "statsd_exporter_events_actions",
    "statsd_exporter_events_error",
    "statsd_exporter_events_conflict",
    "statsd_exporter_sample_errors",
    "statsd_exporter_config_reloads",
    "statsd_exporter_metrics",
    "statsd_exporter_relay_packets",
    "statsd_exporter_relay_long_lines",
    "statsd_exporter_relay_lines_relayed",
    "statsd_bridge_dogstatsd_dropped",
    "statsd_bridge_lines_by_source",
    "statsd_bridge_lines_by_transport",
    "statsd_bridge_relay_lines_lost",
    "statsd_bridge_series_refused",
)


@dataclass(frozen=True, slots=True, eq=False)
class _Tallied(Collector):
    stats: Stats
    vitals: Callable[[], Vitals]

    def collect(self) -> Iterable[Metric]:
        """Give what there is to print; a metric without a value has no lines."""
        metrics = chain(
            _lines(self.stats),
            _events(self.stats),
            _relay(self.stats),
            _doings(self.stats),
            _state(self.vitals()),
        )
        return [metric for metric in metrics if metric.samples]


def _lines(stats: Stats) -> Iterator[Metric]:
    """What came in and could not be read."""
    yield _counter("lines", "Lines received, empty ones too.", stats.lines)
    yield _counter("samples", "Samples found in lines.", stats.samples)
    yield _by(
        "sample_errors",
        "Lines and samples that could not be read, by reason.",
        "reason",
        stats.sample_errors,
    )
    yield _counter("tags", "Samples with at least one tag.", stats.tags)
    yield _counter("tag_errors", "Tags that could not be read.", stats.tag_errors)
    yield _counter("udp_packets", "UDP datagrams read.", stats.packets["udp"])
    yield _counter(
        "unixgram_packets", "Unix datagrams read.", stats.packets["unixgram"]
    )
    yield _counter(
        "udp_packet_drops",
        "Always 0: this program has no queue of its own; see"
        " statsd_bridge_udp_kernel_drops_total.",
        0,
    )
    yield _counter(
        "tcp_connections",
        "Connections accepted, TCP and Unix streams.",
        stats.tcp["connections"],
    )
    yield _counter(
        "tcp_connection_errors",
        "Those that did not end in good order.",
        stats.tcp["connection_errors"],
    )
    yield _counter(
        "tcp_too_long_lines",
        "Lines over them that were left out for their length.",
        stats.tcp["too_long_lines"],
    )
    yield CounterMetricFamily(
        "statsd_bridge_tcp_connections_refused",
        "TCP or Unix connections closed at once: there are as many as allowed.",
        stats.tcp["connections_refused"],
    )
    yield _by(
        "dogstatsd_dropped",
        "DogStatsD events and service checks, which Prometheus has no place for.",
        "kind",
        stats.dogstatsd_dropped,
        prefix="statsd_bridge",
    )
    yield _by(
        "lines_by_transport",
        "Lines by the way they came.",
        "transport",
        stats.lines_by_transport,
        prefix="statsd_bridge",
    )
    yield _by(
        "lines_by_source",
        "Lines by the first segment of their name, for the configured ones.",
        "source",
        stats.lines_by_source,
        prefix="statsd_bridge",
    )


def _events(stats: Stats) -> Iterator[Metric]:
    """What became of samples."""
    yield _counter(
        "event_queue_flushed", "Always 0: this program has no queue of its own.", 0
    )
    yield _by("events", "Samples remembered, by type.", "type", stats.events)
    yield _counter("events_unmapped", "Samples that no rule took.", stats.unmapped)
    yield _by(
        "events_actions",
        "Samples that a rule took, by action.",
        "action",
        stats.actions,
    )
    yield _by(
        "events_error",
        "Samples not remembered, by reason.",
        "reason",
        stats.event_errors,
    )
    conflicts = CounterMetricFamily(
        "statsd_exporter_events_conflict",
        "Samples refused because another type owns the name.",
        labels=["type", "metric_name"],
    )
    for labels, count in stats.conflicts.items():
        conflicts.add_metric(labels, count)
    yield conflicts
    yield _by(
        "series_refused",
        "Samples refused because there are as many series as --statsd.max-series.",
        "metric_name",
        stats.series_refused,
        prefix="statsd_bridge",
    )


def _relay(stats: Stats) -> Iterator[Metric]:
    """What was sent on to other statsd servers; nothing when there are none."""
    for name, help in (
        ("packets", "Packets sent on, or tried to."),
        ("long_lines", "Lines not sent on because they are longer than a packet."),
        ("lines_relayed", "Lines taken to be sent on."),
    ):
        counts = {
            target: stats.relay[name, target]
            for what, target in stats.relay
            if what == name
        }
        yield _by(f"relay_{name}", help, "target", counts)
    lost = CounterMetricFamily(
        "statsd_bridge_relay_lines_lost",
        "Lines that could not be sent on: the name is unknown, the kernel's buffer is"
        " full, or sending failed.",
        labels=["target", "reason"],
    )
    for (what, target), count in stats.relay.items():
        if what.startswith("lost_"):
            lost.add_metric([target, what.removeprefix("lost_")], count)
    yield lost


def _doings(stats: Stats) -> Iterator[Metric]:
    """What was asked of the bridge."""
    yield _by(
        "config_reloads",
        "Attempts to read the mapping file anew, by outcome.",
        "outcome",
        stats.config_reloads,
    )
    yield CounterMetricFamily(
        "statsd_bridge_bugs",
        "Lines and series left out because of a bug in the bridge; the log has one.",
        stats.bugs,
    )
    yield _by(
        "requests",
        "Scrapes by HTTP status.",
        "code",
        {"200": 0, "500": 0, "503": 0, **stats.scrapes},
        prefix="promhttp_metric_handler",
    )
    yield _gauge(
        "promhttp_metric_handler_requests_in_flight",
        "Scrapes being answered now, this one too.",
        stats.scrapes_in_flight,
    )
    yield CounterMetricFamily(
        "statsd_bridge_http_connections_closed",
        "HTTP connections closed because there are as many as allowed and others came.",
        stats.http_closed,
    )
    yield _gauge(
        "statsd_bridge_scrape_duration_seconds",
        "How long the last scrape took, from its request to its last byte.",
        stats.scrape_seconds,
    )
    yield _gauge(
        "statsd_bridge_scrape_size_bytes",
        "Bytes of the last scrape as they were sent, compressed or not.",
        stats.scrape_bytes,
    )


def _state(vitals: Vitals) -> Iterator[Metric]:
    """How things stand."""
    yield _gauge("statsd_exporter_loaded_mappings", "Rules.", vitals.loaded_mappings)
    metrics = GaugeMetricFamily(
        "statsd_exporter_metrics_total",
        "Pairs of a name and its label names ever seen, by type.",
        labels=["type"],
    )
    for shape, count in (vitals.label_sets or {}).items():
        metrics.add_metric([shape], count)
    yield metrics
    yield _gauge("statsd_bridge_series", "Series remembered now.", vitals.series)
    if vitals.cache_size:
        yield from _cache(vitals)
    if vitals.quiet_seconds is not None:
        yield _gauge(
            "statsd_bridge_seconds_since_last_datagram",
            "Since the last datagram, UDP or Unix.",
            vitals.quiet_seconds,
        )
    if vitals.kernel_drops is not None:
        yield CounterMetricFamily(
            "statsd_bridge_udp_kernel_drops",
            "Datagrams that the kernel dropped because our UDP socket was full.",
            vitals.kernel_drops,
        )
    yield CounterMetricFamily(
        "statsd_bridge_datagrams_cut",
        "Datagrams that lost their last line, being larger than 65,535 bytes.",
        vitals.datagrams_cut,
    )
    build = GaugeMetricFamily(
        "statsd_bridge_build_info", "Always 1; what runs.", labels=["version"]
    )
    build.add_metric([vitals.version], 1)
    yield build


def _cache(vitals: Vitals) -> Iterator[Metric]:
    """How the memory of looked-up names does."""
    yield _gauge(
        "statsd_metric_mapper_cache_length", "Names kept.", vitals.cache_length
    )
    yield CounterMetricFamily(
        "statsd_metric_mapper_cache_gets", "Names asked for.", vitals.cache_gets
    )
    yield CounterMetricFamily(
        "statsd_metric_mapper_cache_hits", "Names known.", vitals.cache_hits
    )


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(f"statsd_exporter_{name}", help, value)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value)


def _by(
    name: str,
    help: str,
    label: str,
    counts: Mapping[str, float],
    *,
    prefix: str = "statsd_exporter",
) -> Metric:
    family = CounterMetricFamily(f"{prefix}_{name}", help, labels=[label])
    for word, count in counts.items():
        family.add_metric([word], count)
    return family
