"""The bridge's self-metrics: values, types, presence and reserved names."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families

from statsd_bridge.exposition import SelfMetrics, reserved_names
from statsd_bridge.exposition.self_metrics import SELF_METRICS
from statsd_bridge.memory import MemoryBudget
from statsd_bridge.model import CacheStats, MetricType, Stats
from tests.statsd_bridge.in_memory import FixedState


def values(metrics: SelfMetrics) -> dict[str, float]:
    """Parse the page and return its values by name and label values."""
    return {
        "|".join([sample.name, *sorted(sample.labels.values())]): sample.value
        for family in text_string_to_metric_families(metrics.render_text().decode())
        for sample in family.samples
    }


def idle() -> SelfMetrics:
    """Return the metrics of a bridge that has just started."""
    return SelfMetrics(FixedState(cache=CacheStats(length=0, gets=0, hits=0)))


def busy() -> SelfMetrics:
    """Return the metrics of a bridge in which everything has happened."""
    stats = Stats(lines=7, samples=6, tags=2, tag_errors=1, unmapped=3, bugs=1)
    stats.sample_errors["malformed_line"] = 2
    stats.events["counter"] = 5
    stats.actions["map"] = 4
    stats.event_errors["empty_metric_name"] = 1
    stats.conflicts["gauge", "x"] = 1
    stats.series_refused["memory", "y"] = 9
    stats.dogstatsd_dropped["event"] = 1
    stats.packets.update(udp=3, unixgram=2)
    stats.tcp.update(connections=4, connection_errors=5, too_long_lines=6)
    stats.tcp["connections_closed"] = 5
    stats.lines_by_transport["tcp"] = 6
    for event in ("packets", "long_lines", "lines_relayed", "lost_full"):
        stats.relay[event, "10.0.0.1:8125"] = 7
    stats.scrape_seconds, stats.scrape_bytes = 0.25, 1234
    stats.lines_by_source["crocbot"] = 2
    stats.config_reloads["success"] = 1
    stats.scrapes["200"] = 8
    stats.http_closed = 3
    memory = MemoryBudget(1_000_000)
    memory.series.charge(600)
    memory.buffers.charge(50)
    memory.series.denied = 2
    return SelfMetrics(
        FixedState(
            stats=stats,
            rules=20,
            cache=CacheStats(length=10, gets=12, hits=11),
            series=4,
            memory=memory,
            label_names_total={MetricType.GAUGE: 3},
            kernel_drops=6,
            truncated_datagrams=8,
            seconds_since_datagram=1.5,
        )
    )


VALUES = {
    "statsd_exporter_lines_total": 7,
    "statsd_exporter_samples_total": 6,
    "statsd_exporter_tags_total": 2,
    "statsd_exporter_tag_errors_total": 1,
    "statsd_exporter_events_unmapped_total": 3,
    "statsd_exporter_sample_errors_total|malformed_line": 2,
    "statsd_exporter_events_total|counter": 5,
    "statsd_exporter_events_actions_total|map": 4,
    "statsd_exporter_events_error_total|empty_metric_name": 1,
    "statsd_exporter_events_conflict_total|gauge|x": 1,
    "statsd_exporter_udp_packets_total": 3,
    "statsd_exporter_loaded_mappings": 20,
    "statsd_exporter_config_reloads_total|success": 1,
    "statsd_exporter_unixgram_packets_total": 2,
    "statsd_exporter_tcp_connections_total": 4,
    "statsd_exporter_tcp_connection_errors_total": 5,
    "statsd_exporter_tcp_too_long_lines_total": 6,
    "statsd_exporter_metrics_total|gauge": 3,
    "statsd_exporter_relay_packets_total|10.0.0.1:8125": 7,
    "statsd_exporter_relay_long_lines_total|10.0.0.1:8125": 7,
    "statsd_exporter_relay_lines_relayed_total|10.0.0.1:8125": 7,
    "statsd_metric_mapper_cache_length": 10,
    "statsd_metric_mapper_cache_gets_total": 12,
    "statsd_metric_mapper_cache_hits_total": 11,
    "promhttp_metric_handler_requests_total|200": 8,
    "promhttp_metric_handler_requests_total|503": 0,
    "statsd_bridge_series": 4,
    "statsd_bridge_memory_bytes": 650,
    "statsd_bridge_memory_limit_bytes": 1_000_000,
    "statsd_bridge_summaries_coarsened_total": 2,
    "statsd_bridge_series_refused_total|memory|y": 9,
    "statsd_bridge_dogstatsd_dropped_total|event": 1,
    "statsd_bridge_lines_by_source_total|crocbot": 2,
    "statsd_bridge_udp_kernel_drops_total": 6,
    "statsd_bridge_datagrams_cut_total": 8,
    "statsd_bridge_lines_by_transport_total|tcp": 6,
    "statsd_bridge_tcp_connections_closed_total": 5,
    "statsd_bridge_relay_lines_lost_total|10.0.0.1:8125|full": 7,
    "statsd_bridge_seconds_since_last_datagram": 1.5,
    "statsd_bridge_scrape_duration_seconds": 0.25,
    "statsd_bridge_scrape_size_bytes": 1234,
    "statsd_bridge_http_connections_closed_total": 3,
    "statsd_bridge_bugs_total": 1,
    "statsd_bridge_build_info|1.2.3": 1,
}


def test_values() -> None:
    """Each metric shows what happened; those of statsd_exporter have its names."""
    found = values(busy())

    assert {name: found.get(name) for name in VALUES} == VALUES


def test_process_and_interpreter() -> None:
    """The collectors of prometheus_client are on the page."""
    found = values(idle())

    assert found["process_resident_memory_bytes"] > 0
    assert any(name.startswith("python_info") for name in found)


# Metrics of statsd_exporter: type, and whether present from the start.
STATSD_EXPORTER = {
    "statsd_exporter_events_total": ("counter", False),
    "statsd_exporter_events_unmapped_total": ("counter", True),
    "statsd_exporter_events_actions_total": ("counter", False),
    "statsd_exporter_events_error_total": ("counter", False),
    "statsd_exporter_events_conflict_total": ("counter", False),
    "statsd_exporter_event_queue_flushed_total": ("counter", True),
    "statsd_exporter_lines_total": ("counter", True),
    "statsd_exporter_samples_total": ("counter", True),
    "statsd_exporter_sample_errors_total": ("counter", False),
    "statsd_exporter_tags_total": ("counter", True),
    "statsd_exporter_tag_errors_total": ("counter", True),
    "statsd_exporter_udp_packets_total": ("counter", True),
    "statsd_exporter_udp_packet_drops_total": ("counter", True),
    "statsd_exporter_unixgram_packets_total": ("counter", True),
    "statsd_exporter_tcp_connections_total": ("counter", True),
    "statsd_exporter_tcp_connection_errors_total": ("counter", True),
    "statsd_exporter_tcp_too_long_lines_total": ("counter", True),
    "statsd_exporter_config_reloads_total": ("counter", False),
    "statsd_exporter_loaded_mappings": ("gauge", True),
    "statsd_exporter_metrics_total": ("gauge", False),
    "statsd_exporter_relay_packets_total": ("counter", False),
    "statsd_exporter_relay_long_lines_total": ("counter", False),
    "statsd_exporter_relay_lines_relayed_total": ("counter", False),
    "statsd_metric_mapper_cache_length": ("gauge", True),
    "statsd_metric_mapper_cache_gets_total": ("counter", True),
    "statsd_metric_mapper_cache_hits_total": ("counter", True),
    "promhttp_metric_handler_requests_total": ("counter", True),
    "promhttp_metric_handler_requests_in_flight": ("gauge", True),
}


def types(metrics: SelfMetrics) -> dict[str, str]:
    """Return the type of each family on the page."""
    lines = metrics.render_text().decode().splitlines()
    rows = [line.split(" ") for line in lines if line.startswith("# TYPE ")]
    return {name: word for _, _, name, word in rows}


def test_types_and_presence_are_those_of_statsd_exporter() -> None:
    """A metric has the type and is present when it is in statsd_exporter."""
    early, found = types(idle()), types(busy())

    assert {
        name: (found.get(name), name in early) for name in STATSD_EXPORTER
    } == STATSD_EXPORTER


def test_label_values_from_senders_are_escaped() -> None:
    """A value with quotes and newlines stays one label value, in both formats."""
    source = 'a"b\n# EOF\n'
    stats = Stats()
    stats.lines_by_source[source] = 1
    metrics = SelfMetrics(FixedState(stats=stats))
    open_metrics = [
        sample.labels
        for family in parse_open_metrics(metrics.render_openmetrics().decode())
        for sample in family.samples
        if sample.name == "statsd_bridge_lines_by_source_total"
    ]

    assert values(metrics)[f"statsd_bridge_lines_by_source_total|{source}"] == 1
    assert open_metrics == [{"source": source}]


def test_every_name_on_the_page_is_reserved() -> None:
    """No sender can add a series of the same name, whatever the page shows now."""
    text = busy().render_text().decode()
    samples = {line.split("{")[0].split(" ")[0] for line in text.splitlines()} - {"#"}
    families = {line.split(" ")[2] for line in text.splitlines() if line[0] == "#"}

    assert (samples | families) - reserved_names() == set()
    assert {each.name for each in SELF_METRICS} - reserved_names() == set()
