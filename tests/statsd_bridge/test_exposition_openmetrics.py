"""OpenMetrics pages pass prometheus_client's strict parser and equal the text ones."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from statsd_bridge import exposition
from statsd_bridge.exposition import SelfMetrics
from statsd_bridge.exposition.negotiation import Format
from statsd_bridge.model import (
    Labels,
    MetricOptions,
    MetricType,
    Quantile,
    Sample,
    SampleType,
    SeriesSpec,
)
from statsd_bridge.series import SeriesStore
from tests.statsd_bridge.in_memory import FixedState, NoBugs

SELF_METRICS = ("statsd_", "process_", "python_", "promhttp_")
SAMPLE_TYPES = {
    MetricType.COUNTER: SampleType.COUNTER,
    MetricType.GAUGE: SampleType.GAUGE,
    MetricType.HISTOGRAM: SampleType.OBSERVER,
    MetricType.SUMMARY: SampleType.OBSERVER,
    MetricType.SET: SampleType.SET,
}
Record = tuple[MetricType, str, Labels, float]


def store_of(*records: Record, help: str = "How many.", **more: Any) -> SeriesStore:
    """Return a store with these samples, rejected ones left out."""
    buckets = more.get("buckets", (0.5, 1.0, 1e7))
    quantiles = (Quantile(0.0, 0.1), Quantile(0.5, 0.05), Quantile(1.0, 0.01))
    store = SeriesStore(
        clock=lambda: 0.0,
        wall_clock=lambda: 1_790_000_000.5,
        reserved=exposition.reserved_names(),
    )
    for metric_type, name, labels, value in records:
        options = MetricOptions(metric_type, help, buckets=buckets, quantiles=quantiles)
        sample = Sample(SAMPLE_TYPES[metric_type], name, value, member=str(value))
        store.record(SeriesSpec(name, labels, options), sample)
    return store


def page(
    store: SeriesStore,
    page_format: Format = Format.OPENMETRICS,
    *,
    created_lines: bool = False,
) -> str:
    """Return the whole page."""
    slices = exposition.render(
        page_format,
        store.families(),
        0.0,
        bugs=NoBugs(),
        self_metrics=SelfMetrics(FixedState()),
        encoded=store.memory.encoded,
        created_lines=created_lines,
    )
    return b"".join(slices).decode()


def types(text: str) -> dict[str, str]:
    """Return the type of each family, except metrics of the bridge itself."""
    rows = [line.split(" ") for line in text.splitlines() if line.startswith("# TYPE")]
    return {
        name: word for _, _, name, word in rows if not name.startswith(SELF_METRICS)
    }


def samples(families: Any) -> dict[tuple[str, Labels], str]:
    """Return all values but those of the bridge itself, as text to compare NaN."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): repr(float(sample.value))
        for family in families
        for sample in family.samples
        if not sample.name.startswith(SELF_METRICS)
    }


# Samples, and the types of their families in OpenMetrics.
TYPED: list[tuple[list[Record], dict[str, str]]] = [
    ([(MetricType.COUNTER, "hits_total", (), 3)], {"hits": "counter"}),
    # OpenMetrics requires _total, and the bridge keeps the name.
    ([(MetricType.COUNTER, "hits", (), 3)], {"hits": "unknown"}),
    ([(MetricType.COUNTER, "_total", (), 3)], {"_total": "unknown"}),
    ([(MetricType.COUNTER, "hits_total", (), math.inf)], {"hits": "counter"}),
    # Two families would have the same name.
    (
        [(MetricType.COUNTER, "hits_total", (), 3), (MetricType.GAUGE, "hits", (), 1)],
        {"hits_total": "unknown", "hits": "gauge"},
    ),
    # The suffix _created is reserved for the creation time of a counter.
    (
        [
            (MetricType.COUNTER, "hits_total", (), 3),
            (MetricType.GAUGE, "hits_created", (), 1),
        ],
        {"hits_total": "unknown", "hits_created": "gauge"},
    ),
    ([(MetricType.GAUGE, "load", (), -math.inf)], {"load": "gauge"}),
    ([(MetricType.GAUGE, "load_total", (), 1)], {"load_total": "gauge"}),
    ([(MetricType.SET, "users", (), 1)], {"users": "gauge"}),
    ([(MetricType.HISTOGRAM, "t", (), 2)], {"t": "histogram"}),
    (
        [(MetricType.HISTOGRAM, "t", (), -2)],
        dict.fromkeys(("t_bucket", "t_sum", "t_count"), "unknown"),
    ),
    (
        [(MetricType.HISTOGRAM, "t", (), 2), (MetricType.GAUGE, "t_created", (), 2)],
        {"t_created": "gauge"}
        | dict.fromkeys(("t_bucket", "t_sum", "t_count"), "unknown"),
    ),
    ([(MetricType.SUMMARY, "t", (), 2)], {"t": "summary"}),
    (
        [(MetricType.SUMMARY, "t", (), -2)],
        dict.fromkeys(("t", "t_sum", "t_count"), "unknown"),
    ),
    # One series decides for the family.
    (
        [
            (MetricType.SUMMARY, "t", (("k", "v"),), math.nan),
            (MetricType.SUMMARY, "t", (), 1),
        ],
        dict.fromkeys(("t", "t_sum", "t_count"), "unknown"),
    ),
]


@pytest.mark.parametrize(("records", "wanted"), TYPED)
def test_a_forbidden_family_is_unknown(
    records: list[Record], wanted: dict[str, str]
) -> None:
    """The type is kept if OpenMetrics allows it, and the strict parser accepts it."""
    text = page(store_of(*records))

    assert types(text) == wanted
    list(parse_open_metrics(text))


def test_the_exact_page() -> None:
    """HELP and TYPE without `_total`, a quotation mark escaped, `# EOF` at the end."""
    store = store_of(
        (MetricType.COUNTER, "hits_total", (("a", 'x"\\\n'),), 1e6), help='Say "hi"\\\n'
    )
    text = page(store)

    assert text.startswith(
        '# HELP hits Say \\"hi\\"\\\\\\n\n'
        "# TYPE hits counter\n"
        'hits_total{a="x\\"\\\\\\n"} 1e+06\n'
    )
    assert text.endswith("\n# EOF\n")
    assert text.count("# EOF") == 1


def test_a_histogram_with_negative_bounds_is_unknown() -> None:
    """A sum that may fall is forbidden, even before it does."""
    store = store_of((MetricType.HISTOGRAM, "t", (), 2), buckets=(-1.0, 1.0))

    assert set(types(page(store)).values()) == {"unknown"}


def test_self_metrics_keep_their_types() -> None:
    """Metrics of the bridge itself are allowed as they are."""
    families = {each.name: each for each in parse_open_metrics(page(store_of()))}

    assert families["statsd_exporter_lines"].type == "counter"
    assert families["process_resident_memory_bytes"].type == "gauge"


def test_created_lines_follow_each_series_of_a_type_that_has_them() -> None:
    """Not those of gauges, and not those of families of type unknown."""
    a, b = (("k", "a"),), (("k", "b"),)
    store = store_of(
        (MetricType.COUNTER, "hits_total", a, 3),
        (MetricType.COUNTER, "hits_total", b, 3),
        (MetricType.COUNTER, "misses", (), 1),
        (MetricType.GAUGE, "load", (), 1),
        (MetricType.HISTOGRAM, "work_total", (), 2),
        (MetricType.SUMMARY, "lag", a, 2),
        (MetricType.SUMMARY, "lag", b, 2),
        (MetricType.SUMMARY, "below", (), -2),
    )
    text = page(store, created_lines=True)
    list(parse_open_metrics(text))
    created = [line for line in text.splitlines() if "_created" in line]

    assert created == [
        'hits_created{k="a"} 1.7900000005e+09',
        'hits_created{k="b"} 1.7900000005e+09',
        'lag_created{k="a"} 1.7900000005e+09',
        'lag_created{k="b"} 1.7900000005e+09',
        "work_total_created 1.7900000005e+09",
    ]
    assert "_created" not in page(store)
    assert "_created" not in page(store, Format.TEXT, created_lines=True)


NAMES = st.sampled_from(
    "a a_total a_created a_sum a_count a_bucket a_info a_total_total a_total_created"
    " _total b b_total b_sum b_count c_bytes".split()
)
LABELS = st.dictionaries(
    st.sampled_from(["k", "le", "quantile", "job"]),
    st.sampled_from(["", "v", '"\\\n', "é ☃", "1", "# {}"]),
    max_size=2,
).map(lambda labels: tuple(sorted(labels.items())))
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e6, math.nan, math.inf, -math.inf]),
    st.floats(),
)
RECORDS = st.lists(st.tuples(st.sampled_from(MetricType), NAMES, LABELS, VALUES))


@settings(max_examples=300, deadline=None)
@given(RECORDS, st.text(max_size=20), st.sampled_from([(0.5, 1.0), (-1.0, 2.0), ()]))
def test_any_store_is_the_same_in_both_formats(
    records: list[Record], help: str, buckets: tuple[float, ...]
) -> None:
    """Both parsers accept the page and find the same series and values."""
    allowed = [
        each for each in records if each[0] is not MetricType.COUNTER or not each[3] < 0
    ]
    store = store_of(*allowed, help=help.replace("\r", " "), buckets=buckets)
    list(parse_open_metrics(page(store, created_lines=True)))
    open_metrics = samples(parse_open_metrics(page(store)))
    text = page(store, Format.TEXT)
    # The parser adds `_total` to a counter without it.
    plain = samples(parse_text(text.replace(" counter\n", " untyped\n")))

    assert open_metrics == plain
