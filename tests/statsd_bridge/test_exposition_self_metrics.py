"""The bridge's own metrics: the tally, and what the process costs."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families

from statsd_bridge.exposition import Format, SelfMetrics, reserved_names
from statsd_bridge.exposition.self_metrics import Vitals
from statsd_bridge.model import MetricType, Stats


def values(own: SelfMetrics) -> dict[str, float]:
    """Read the page of our own metrics with somebody else's parser."""
    return {
        sample.name
        + "".join(f"|{value}" for value in sorted(sample.labels.values())): (
            sample.value
        )
        for family in text_string_to_metric_families(own.render().decode())
        for sample in family.samples
    }


def busy() -> SelfMetrics:
    """Give a tally in which everything has happened."""
    stats = Stats(lines=7, samples=6, tags=2, tag_errors=1, unmapped=3)
    stats.sample_errors["malformed_line"] = 2
    stats.events["counter"] = 5
    stats.actions["map"] = 4
    stats.event_errors["empty_metric_name"] = 1
    stats.conflicts["gauge", "x"] = 1
    stats.series_refused["y"] = 9
    stats.dogstatsd_dropped["event"] = 1
    stats.packets["udp"] = 3
    stats.packets["unixgram"] = 2
    for what in ("connections", "connection_errors", "too_long_lines"):
        stats.tcp[what] = 4
    stats.tcp["connections_refused"] = 5
    stats.lines_by_transport["tcp"] = 6
    for what in ("packets", "long_lines", "lines_relayed", "lost_full"):
        stats.relay[what, "10.0.0.1:8125"] = 7
    stats.scrape_seconds, stats.scrape_bytes = 0.25, 1234
    stats.lines_by_source["crocbot"] = 2
    stats.config_reloads["success"] = 1
    stats.scrapes["200"] = 8
    vitals = Vitals(
        "1.2.3",
        loaded_mappings=20,
        cache_size=10,
        series=4,
        label_sets={MetricType.GAUGE: 3},
        kernel_drops=6,
        quiet_seconds=1.5,
    )
    return SelfMetrics(stats, lambda: vitals)


def test_what_means_the_same_has_the_name_of_statsd_exporter() -> None:
    """Dashboards made for it find their numbers."""
    found = values(busy())

    wanted = {
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
        "statsd_exporter_tcp_connection_errors_total": 4,
        "statsd_exporter_tcp_too_long_lines_total": 4,
        "statsd_exporter_metrics_total|gauge": 3,
        "statsd_exporter_relay_packets_total|10.0.0.1:8125": 7,
        "statsd_exporter_relay_long_lines_total|10.0.0.1:8125": 7,
        "statsd_exporter_relay_lines_relayed_total|10.0.0.1:8125": 7,
        "promhttp_metric_handler_requests_total|200": 8,
    }
    assert {name: found.get(name) for name in wanted} == wanted


def test_what_is_new_has_a_name_of_ours() -> None:
    """Losses of the kernel, of the limit and of DogStatsD are visible."""
    found = values(busy())

    wanted = {
        "statsd_bridge_series": 4,
        "statsd_bridge_series_refused_total|y": 9,
        "statsd_bridge_dogstatsd_dropped_total|event": 1,
        "statsd_bridge_lines_by_source_total|crocbot": 2,
        "statsd_bridge_udp_kernel_drops_total": 6,
        "statsd_bridge_lines_by_transport_total|tcp": 6,
        "statsd_bridge_tcp_connections_refused_total": 5,
        "statsd_bridge_relay_lines_lost_total|10.0.0.1:8125|full": 7,
        "statsd_bridge_seconds_since_last_datagram": 1.5,
        "statsd_bridge_scrape_duration_seconds": 0.25,
        "statsd_bridge_scrape_size_bytes": 1234,
        "statsd_bridge_build_info|1.2.3": 1,
    }
    assert {name: found.get(name) for name in wanted} == wanted


def test_process_and_interpreter_are_shown() -> None:
    """prometheus_client's collectors tell about them."""
    found = values(busy())

    assert found["process_resident_memory_bytes"] > 0
    assert any(name.startswith("python_info") for name in found)


# Its own metrics as statsd_exporter has them: type, and whether there from the start.
THEIRS = {
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


def types(own: SelfMetrics) -> dict[str, str]:
    """Read the type of each family on the page."""
    lines = own.render().decode().splitlines()
    rows = [line.split(" ") for line in lines if line.startswith("# TYPE ")]
    return {name: kind for _, _, name, kind in rows}


def test_types_and_presence_are_those_of_statsd_exporter() -> None:
    """Rules that look for a metric find it when they would find it there."""
    idle = types(SelfMetrics(Stats(), lambda: Vitals("1", cache_size=10)))
    found = types(busy())

    assert {name: found.get(name) for name in THEIRS} == {
        name: kind for name, (kind, _) in THEIRS.items()
    }
    assert [name for name in THEIRS if name in idle] == [
        name for name, (_, is_early) in THEIRS.items() if is_early
    ]


def test_what_senders_chose_is_escaped() -> None:
    """A name with quotes and newlines is one label's value, in both formats."""
    stats = Stats()
    stats.lines_by_source['a"b\n# EOF\n'] = 1
    own = SelfMetrics(stats, lambda: Vitals("1"))
    metric = "statsd_bridge_lines_by_source_total"
    open_metrics = [
        sample.labels
        for family in parse_open_metrics(own.render(Format.OPENMETRICS).decode())
        for sample in family.samples
        if sample.name == metric
    ]

    assert values(own)[f'{metric}|a"b\n# EOF\n'] == 1
    assert open_metrics == [{"source": 'a"b\n# EOF\n'}]


def test_every_name_that_is_printed_is_reserved() -> None:
    """No sender can put a second series of the same name on the page."""
    text = busy().render().decode()
    samples = {line.split("{")[0].split(" ")[0] for line in text.splitlines()} - {"#"}
    families = {line.split(" ")[2] for line in text.splitlines() if line[0] == "#"}

    assert (samples | families) - reserved_names() == set()
