"""The text format, checked by prometheus_client's parser."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from statsd_bridge.exposition import openmetrics, text
from statsd_bridge.exposition.slices import MAX_SLICE_LINES
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
from statsd_bridge.series.family import SeriesKind
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


def test_large_counts_have_an_exponent() -> None:
    """Like all numbers of the page, from a million on."""
    store = SeriesStore(clock=lambda: 0.0)
    for weight in (999_999, 1):
        sample = Sample(SampleType.OBSERVER, "h", 0.25, weight=weight)
        store.record(SeriesSpec("h", (), HISTOGRAM), sample)
        assert f"h_count {'999999' if weight > 1 else '1e+06'}\n" in text_of(store)

    assert 'h_bucket{le="0.1"} 0\nh_bucket{le="2.5"} 1e+06\n' in text_of(store)


def test_rules_of_one_family_may_have_other_buckets() -> None:
    """The bounds are those of each series, whatever the series before it has."""
    other = replace(HISTOGRAM, buckets=(7.0,))
    store = store_of(
        (HISTOGRAM, SampleType.OBSERVER, "h", (("a", "1"),), 9.0),
        (other, SampleType.OBSERVER, "h", (("b", "2"),), 9.0),
        (other, SampleType.OBSERVER, "i", (), 9.0),
        (HISTOGRAM, SampleType.OBSERVER, "j", (), 9.0),
    )
    bounds = [line for line in text_of(store).splitlines() if "_bucket" in line]

    assert bounds == [
        'h_bucket{a="1",le="0.1"} 0',
        'h_bucket{a="1",le="2.5"} 0',
        'h_bucket{a="1",le="+Inf"} 1',
        'h_bucket{b="2",le="7"} 0',
        'h_bucket{b="2",le="+Inf"} 1',
        'i_bucket{le="7"} 0',
        'i_bucket{le="+Inf"} 1',
        'j_bucket{le="0.1"} 0',
        'j_bucket{le="2.5"} 0',
        'j_bucket{le="+Inf"} 1',
    ]


def test_a_large_page_has_slices() -> None:
    """No slice exceeds MAX_SLICE_LINES, and no series is lost."""
    records = [
        (COUNTER, SampleType.COUNTER, "c", (("n", str(number)),), 1.0)
        for number in range(3 * MAX_SLICE_LINES)
    ]
    slices = list(slices_of(store_of(*records).families(), NoBugs()))

    assert all(part.count(b"\nc{") <= MAX_SLICE_LINES for part in slices)
    assert b"".join(slices).count(b"\nc{") == 3 * MAX_SLICE_LINES


def test_series_may_expire_between_two_slices() -> None:
    """A page is finished although its series expire meanwhile."""
    now = [0.0]
    store = SeriesStore(clock=lambda: now[0])
    for number in range(2 * MAX_SLICE_LINES):
        options = MetricOptions(MetricType.COUNTER, "h", ttl=1)
        spec = SeriesSpec("c", (("n", str(number)),), options)
        store.record(spec, Sample(SampleType.COUNTER, "c", 1.0))
    slices = slices_of(store.families(), NoBugs())
    first = next(slices)
    now[0] = 100.0
    store.expire()

    assert first.count(b"\nc{") == MAX_SLICE_LINES
    assert b"c{" not in b"".join(slices)


@pytest.mark.parametrize("module", [text, openmetrics])
def test_families_may_expire_between_two_slices(module: Any) -> None:
    """A family that is gone when its turn comes is left out with its head."""
    now = [0.0]
    store = SeriesStore(clock=lambda: now[0])
    for number in range(MAX_SLICE_LINES):
        options = replace(COUNTER, ttl=1 + number)
        spec = SeriesSpec(f"c{number:04}", (), options)
        store.record(spec, Sample(SampleType.COUNTER, "c", 1.0))
    more = {"reserved": ()} if module is openmetrics else {}
    chunks = module.format_families(store.families(), 0.0, NoBugs(), **more)
    slices = text.join_slices(chunks)
    first = next(slices)
    now[0] = MAX_SLICE_LINES - 10.5
    store.expire()
    last = b"".join(slices)

    assert first.startswith(b"# HELP c0000 ")
    assert last.count(b"# HELP ") == last.count(b"\nc") == 11


class Broken(Counter):
    """A series with a bug."""

    def values(self, _now: float) -> tuple[float, ...]:
        """Fail."""
        raise RuntimeError("a bug")


def test_a_series_that_raises_is_skipped_and_reported() -> None:
    """The page continues with the next series."""
    errors = ReportedBugs()
    kind = SeriesKind(("a",), COUNTER)
    family = MetricFamily("c", kind, ('a="1"', Broken(COUNTER)))
    family.add('a="2"', family, Counter(COUNTER))
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
