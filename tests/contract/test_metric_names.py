"""
Where the two programs meet: every name that the gateway can emit, through the real
client's text and crocbot/mapping.yml, is exactly the documented series.
"""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from crocbot.model import ErrorType, MessageType, ReconnectReason, Severity
from crocbot.telemetry import catalogue
from crocbot.telemetry.catalogue import CATALOGUE, Metric, Type
from crocbot.telemetry.emitter import Emitter
from crocbot.telemetry.udp import UdpSender
from statsd_bridge import exposition, mapping
from statsd_bridge.model import Stats
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.series import SeriesStore
from tests.statsd_bridge.in_memory import ReportedBugs

MAPPING = Path(__file__).parents[2] / "crocbot/mapping.yml"

# Segments that a process chooses once, for a version.
FREE = ("cpython", "3", "11", "7")

# Nine in ten of them are buckets of pairs of method and outcome that never come.
MOST_SERIES = 2000

MISSION = {
    "crocbot_uptime_seconds": (Type.GAUGE, {}),
    "crocbot_messages_total": (Type.COUNTER, {"type": MessageType}),
    "crocbot_errors_total": (
        Type.COUNTER,
        {"type": ErrorType, "severity": Severity},
    ),
    "crocbot_telegram_latency_seconds": (Type.HISTOGRAM, {"type": MessageType}),
    "crocbot_telegram_reconnects_total": (Type.COUNTER, {"reason": ReconnectReason}),
}


def every_path(metric: Metric) -> Iterator[tuple[str, ...]]:
    """Give each combination of words that a metric's segments can be."""
    choices = [
        segment.words or (FREE[index],) for index, segment in enumerate(metric.segments)
    ]
    return itertools.product(*choices)


def labels_of(metric: Metric, words: tuple[str, ...]) -> dict[str, str]:
    """Fill the documented label templates, in the simplest way there is."""

    def filled(template: str) -> str:
        return re.sub(r"\$(\d)", lambda found: words[int(found[1]) - 1], template)

    return {name: filled(template) for name, template in metric.labels}


Series = tuple[str, frozenset[tuple[str, str]]]


@pytest.fixture(scope="module")
def received() -> tuple[dict[Series, float], Stats]:
    """Emit everything once over a real socket, and read the bridge's page."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        sender.connect(receiver.getsockname())
        emit_everything(sender)
        datagrams = list(iter(lambda: receive(receiver), b""))
    failures = ReportedBugs()
    stats = Stats()
    store = SeriesStore(clock=lambda: 0.0, reserved=exposition.reserved_names())
    table = mapping.load(str(MAPPING), strict=True)
    Pipeline(table=table, store=store, stats=stats, bugs=failures).feed(
        datagrams, "udp"
    )
    page = b"".join(exposition.page.render(store.families(), 0.0, failures)).decode()

    assert failures == []
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }, stats


def receive(receiver: socket.socket) -> bytes:
    """Take one datagram, or nothing."""
    try:
        return receiver.recv(65_535)
    except BlockingIOError:
        return b""


def emit_everything(sender: socket.socket) -> None:
    """Make each handle of the catalogue tell something, and flush."""
    wire = UdpSender("127.0.0.1", 0)
    emitter = Emitter(wire)
    for metric in CATALOGUE:
        for words in every_path(metric):
            if metric.type is Type.COUNTER:
                emitter.counter(metric, *words).inc(2)
            elif metric.type is Type.GAUGE:
                emitter.gauge(metric, *words).set(3)
            else:
                emitter.timer(metric, *words).observe(0.25)
    for datagrams in emitter._portions(everything=True):
        for datagram in datagrams:
            sender.send(datagram)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_everything_emitted_becomes_the_documented_series(
    metric: Metric, received: tuple[dict[Series, float], Stats]
) -> None:
    """Name, labels and value are what the catalogue says, for every word."""
    series, _ = received
    ends = {Type.COUNTER: "", Type.GAUGE: "", Type.HISTOGRAM: "_sum"}
    values = {Type.COUNTER: 2.0, Type.GAUGE: 3.0, Type.HISTOGRAM: 0.25}
    name = metric.name + ends[metric.type]
    wanted = {
        (name, frozenset(labels_of(metric, words).items())): values[metric.type]
        for words in every_path(metric)
    }
    found = {each: value for each, value in series.items() if each[0] == name}

    assert found == wanted


def test_a_histogram_has_the_documented_buckets(
    received: tuple[dict[Series, float], Stats],
) -> None:
    """A quarter of a second lies in every bucket from 0.25 s on."""
    series, _ = received
    metric = catalogue.LATENCY
    counts = {
        float(dict(labels)["le"]): value
        for (name, labels), value in series.items()
        if name == f"{metric.name}_bucket" and ("type", "text") in labels
    }

    assert counts == {
        bound: float(bound >= 0.25) for bound in (*metric.buckets, float("inf"))
    }


def test_nothing_else_comes_out(received: tuple[dict[Series, float], Stats]) -> None:
    """Nothing is unmapped, refused or in conflict, and every name is documented."""
    series, stats = received
    known = {metric.name for metric in CATALOGUE}
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in series}

    assert bases == known
    assert (stats.unmapped, stats.tag_errors) == (0, 0)
    assert not stats.sample_errors
    assert not stats.event_errors
    assert not stats.conflicts


def test_the_number_of_series_is_counted_and_bounded(
    received: tuple[dict[Series, float], Stats],
) -> None:
    """The catalogue's own count is what comes out, and it stays small."""
    series, _ = received
    counted = sum(metric.series for metric in CATALOGUE)

    assert len(series) == counted
    assert counted <= MOST_SERIES


@pytest.mark.parametrize("name", MISSION)
def test_the_five_mission_metrics_are_fixed(name: str) -> None:
    """Name, type, label names and label values are exactly these."""
    kind, labels = MISSION[name]
    (metric,) = [each for each in CATALOGUE if each.name == name]

    assert metric.type is kind
    assert {segment.name: segment.words for segment in metric.segments} == {
        label: tuple(word.value for word in words) for label, words in labels.items()
    }
    assert dict(metric.labels).keys() == labels.keys()


def test_names_and_units_follow_prometheus() -> None:
    """Names begin with `crocbot_`, counters end in `_total`, units are base units."""
    for metric in CATALOGUE:
        assert re.fullmatch(r"crocbot(_[a-z0-9]+)+", metric.name)
        assert metric.name.endswith("_total") == (metric.type is Type.COUNTER)
        if metric.unit in ("seconds", "bytes"):
            assert metric.unit in metric.name
        assert metric.ttl == ("60s" if metric.type is Type.GAUGE else "")


# What statsd_exporter knows, without the keys that its next version refuses.
KEYS = {
    *("match", "match_metric_type", "match_type", "name", "labels", "help", "ttl"),
    *("action", "honor_labels", "observer_type", "scale"),
    *("histogram_options", "summary_options"),
}


def test_the_mapping_file_uses_only_keys_that_statsd_exporter_knows() -> None:
    """It loads there as well, also when unknown keys are refused."""
    document = yaml.safe_load(MAPPING.read_text())

    assert set(document) == {"mappings"}
    for rule in document["mappings"]:
        assert set(rule) <= KEYS
        assert set(rule.get("histogram_options", {})) <= {"buckets"}
        # Its label names have two letters or more.
        assert all(len(label) > 1 for label in rule.get("labels", {}))


def test_no_rule_is_the_beginning_of_an_earlier_one() -> None:
    """statsd_exporter would lose such a rule, and would not say so."""
    matches = [
        rule["match"].split(".")
        for rule in yaml.safe_load(MAPPING.read_text())["mappings"]
    ]

    for earlier, later in itertools.combinations(matches, 2):
        assert not (len(later) < len(earlier) and earlier[: len(later)] == later)


def test_the_mapping_file_loads_without_a_warning() -> None:
    """No rule hides another, no key is unknown or old."""
    assert mapping.load(str(MAPPING), strict=True).warnings == ()
