"""The bridge's own metrics: the tally, and what the process costs."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from statsd_bridge.exposition import Own, own_names
from statsd_bridge.exposition.own import Vitals
from statsd_bridge.model import Tally


def values(own: Own) -> dict[str, float]:
    """Read the page of our own metrics with somebody else's parser."""
    return {
        sample.name
        + "".join(f"|{value}" for value in sorted(sample.labels.values())): (
            sample.value
        )
        for family in text_string_to_metric_families(own.render().decode())
        for sample in family.samples
    }


def busy() -> Own:
    """Give a tally in which everything has happened."""
    tally = Tally(lines=7, samples=6, tags=2, tag_errors=1, unmapped=3)
    tally.sample_errors["malformed_line"] = 2
    tally.events["counter"] = 5
    tally.actions["map"] = 4
    tally.event_errors["empty_metric_name"] = 1
    tally.conflicts["gauge", "x"] = 1
    tally.series_refused["y"] = 9
    tally.dogstatsd_dropped["event"] = 1
    tally.packets["udp"] = 3
    tally.lines_by_source["crocbot"] = 2
    tally.config_reloads["success"] = 1
    tally.scrapes["200"] = 8
    vitals = Vitals("1.2.3", loaded_mappings=20, series=4, kernel_drops=6)
    return Own(tally, lambda: vitals)


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
        "statsd_bridge_build_info|1.2.3": 1,
    }
    assert {name: found.get(name) for name in wanted} == wanted


def test_process_and_interpreter_are_shown() -> None:
    """prometheus_client's collectors tell about them."""
    found = values(busy())

    assert found["process_resident_memory_bytes"] > 0
    assert any(name.startswith("python_info") for name in found)


def test_every_name_that_is_printed_is_reserved() -> None:
    """No sender can put a second series of the same name on the page."""
    text = busy().render().decode()
    samples = {line.split("{")[0].split(" ")[0] for line in text.splitlines()} - {"#"}
    families = {line.split(" ")[2] for line in text.splitlines() if line[0] == "#"}

    assert (samples | families) - own_names() == set()
