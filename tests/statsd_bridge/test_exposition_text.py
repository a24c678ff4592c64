"""The text format, checked by prometheus_client's parser."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from statsd_bridge.exposition import text
from statsd_bridge.log import BugReporter
from statsd_bridge.model import (
    Labels,
    MetricOptions,
    MetricType,
    Quantile,
    Sample,
    SampleType,
    SeriesSpec,
)
from statsd_bridge.series import MetricFamily, SeriesStore
from statsd_bridge.series.counter_gauge import Counter
from tests.statsd_bridge.in_memory import NoBugs, ReportedBugs

COUNTER = MetricOptions(MetricType.COUNTER, "How many.")
HISTOGRAM = MetricOptions(MetricType.HISTOGRAM, "How long.", buckets=(0.1, 2.5))
SUMMARY = MetricOptions(
    MetricType.SUMMARY, "How long.", quantiles=(Quantile(0.5, 0.05),)
)


def store_of(
    *records: tuple[MetricOptions, SampleType, str, Labels, float],
) -> SeriesStore:
    """Return a store with these samples."""
    store = SeriesStore(clock=lambda: 0.0)
    for options, sample_type, name, labels, value in records:
        store.record(
            SeriesSpec(name, labels, options), Sample(sample_type, name, value)
        )
    return store


def text_of(store: SeriesStore) -> str:
    """Return the page of a store."""
    return b"".join(slices_of(store.families(), NoBugs())).decode()


def slices_of(families: Iterable[MetricFamily], bugs: BugReporter) -> Iterator[bytes]:
    """Return the slices of a page."""
    return text.join_slices(text.format_families(families, 0.0, bugs))


def test_the_exact_page() -> None:
    """HELP and TYPE precede the series; `le` and `quantile` are the last labels."""
    store = store_of(
        (COUNTER, SampleType.COUNTER, "c", (("a", 'x"\\\n%s'),), 3.0),
        (HISTOGRAM, SampleType.OBSERVER, "h", (("a", "1"),), 0.25),
        (SUMMARY, SampleType.OBSERVER, "s", (), 7.0),
    )

    assert text_of(store) == (
        "# HELP c How many.\n"
        "# TYPE c counter\n"
        'c{a="x\\"\\\\\\n%s"} 3\n'
        "# HELP h How long.\n"
        "# TYPE h histogram\n"
        'h_bucket{a="1",le="0.1"} 0\n'
        'h_bucket{a="1",le="2.5"} 1\n'
        'h_bucket{a="1",le="+Inf"} 1\n'
        'h_sum{a="1"} 0.25\n'
        'h_count{a="1"} 1\n'
        "# HELP s How long.\n"
        "# TYPE s summary\n"
        's{quantile="0.5"} 7\n'
        "s_sum 7\n"
        "s_count 1\n"
    )


def test_a_large_page_has_slices() -> None:
    """No slice exceeds MAX_SLICE_LINES, and no series is lost."""
    records = [
        (COUNTER, SampleType.COUNTER, "c", (("n", str(number)),), 1.0)
        for number in range(3 * text.MAX_SLICE_LINES)
    ]
    slices = list(slices_of(store_of(*records).families(), NoBugs()))

    assert all(part.count(b"\nc{") <= text.MAX_SLICE_LINES for part in slices)
    assert b"".join(slices).count(b"\nc{") == 3 * text.MAX_SLICE_LINES


def test_series_may_expire_between_two_slices() -> None:
    """A page is finished although its series expire meanwhile."""
    now = [0.0]
    store = SeriesStore(clock=lambda: now[0])
    for number in range(2 * text.MAX_SLICE_LINES):
        options = MetricOptions(MetricType.COUNTER, "h", ttl=1)
        spec = SeriesSpec("c", (("n", str(number)),), options)
        store.record(spec, Sample(SampleType.COUNTER, "c", 1.0))
    slices = slices_of(store.families(), NoBugs())
    first = next(slices)
    now[0] = 100.0
    store.expire()

    assert first.count(b"\nc{") == text.MAX_SLICE_LINES
    assert b"c{" not in b"".join(slices)


class Broken(Counter):
    """A series with a bug."""

    def values(self, _now: float) -> tuple[float, ...]:
        """Fail."""
        raise RuntimeError("a bug")


def test_a_series_that_raises_is_skipped_and_reported() -> None:
    """The page continues with the next series."""
    errors = ReportedBugs()
    family = MetricFamily("c", COUNTER)
    family.series.update({'a="1"': Broken(COUNTER), 'a="2"': Counter(COUNTER)})
    page = b"".join(slices_of([family], errors)).decode()

    assert page.splitlines()[2:] == ['c{a="2"} 0']
    assert [str(error) for error in errors] == ["a bug"]


VALUES = st.text().filter(lambda value: "\0" not in value)
LABELS = st.dictionaries(
    st.sampled_from(["a", "b", "le_", "zone"]), VALUES, max_size=3
).map(lambda labels: tuple(sorted(labels.items())))


@given(st.dictionaries(LABELS, st.floats(min_value=0), max_size=8))
def test_a_page_parses_to_the_same_values(wanted: dict[Labels, float]) -> None:
    """The parser of prometheus_client finds the labels and values recorded."""
    records = [
        (COUNTER, SampleType.COUNTER, "c_total", labels, value)
        for labels, value in wanted.items()
    ]
    families = list(text_string_to_metric_families(text_of(store_of(*records))))
    found = {
        tuple(sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }

    assert found.keys() == wanted.keys()
    for labels, value in wanted.items():
        assert found[labels] == value or math.isnan(value)
