"""Lanes: what gathers in them, and how it reaches the series."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.model import (
    Action,
    MetricOptions,
    MetricType,
    Quantile,
    Sample,
    SampleType,
    SeriesSpec,
)
from statsd_bridge.series import SampleFormat, SeriesStore, lanes
from statsd_bridge.series.base import Series
from statsd_bridge.series.histogram import Histogram

FORMS = {
    SampleType.COUNTER: MetricOptions(MetricType.COUNTER, "h"),
    SampleType.GAUGE: MetricOptions(MetricType.GAUGE, "h"),
    SampleType.OBSERVER: MetricOptions(MetricType.HISTOGRAM, "h", buckets=(0.009, 1.0)),
}


def store_with(kind: SampleType, name: str = "x") -> tuple[SeriesStore, Series]:
    """Make a store with one series, which has seen a 0."""
    store = SeriesStore(clock=lambda: 0.0)
    target = SeriesSpec(name, (), FORMS[kind])
    store.record(target, Sample(kind, name, 0.0))
    series = store.find(target)
    assert series is not None
    return store, series


@pytest.mark.parametrize(
    ("kind", "way", "numbers", "shown"),
    [
        (SampleType.COUNTER, {}, [1, 2, 3], (6,)),
        (SampleType.COUNTER, {"unit": 0.1}, [1, 2], (30,)),
        (SampleType.COUNTER, {"scale": 0.5}, [4, 2], (3,)),
        (SampleType.GAUGE, {}, [1, 2, 3], (3,)),
        (SampleType.GAUGE, {"scale": 10.0}, [1, 2], (20,)),
        (SampleType.OBSERVER, {"unit": 1000.0}, [9, 10, 1000], (2, 4, 4, 1.019, 4)),
        (SampleType.OBSERVER, {"weight": 10}, [2], (1, 1, 11, 20, 11)),
    ],
)
def test_what_has_gathered_reaches_the_series(
    kind: SampleType,
    way: dict[str, float],
    numbers: list[float],
    shown: tuple[float, ...],
) -> None:
    """Divided, scaled and weighed as one by one; folding again changes nothing."""
    store, series = store_with(kind)
    store.lanes.add(b"x", b"t", SampleFormat(kind, Action.MAP, **way), series, "")  # type: ignore[arg-type]
    lane = store.lanes.get(b"x", b"t")
    assert lane is not None
    lane.extend(numbers)
    for _ in range(2):
        store.lanes.fold(store.lanes, 0.0)

    assert store.families()[0].series[""].values(0.0) == pytest.approx(shown)
    assert store.lanes.folded.total() == len(numbers)


def test_a_gauge_has_one_lane() -> None:
    """Two could not be put in order."""
    store, series = store_with(SampleType.GAUGE)
    way = SampleFormat(SampleType.GAUGE, Action.MAP)
    store.lanes.add(b"x", b"g", way, series, "")
    store.lanes.add(b"x", b"g|#", way, series, "")

    assert list(store.lanes.find([b"x", b"x"], [b"g", b"g|#"]))[1] is None
    assert len(store.lanes) == 1


def test_forgetting_a_series_leaves_those_of_others() -> None:
    """All of its lanes go, and no table stays for nothing."""
    store, series = store_with(SampleType.COUNTER)
    other = Series(FORMS[SampleType.COUNTER])
    way = SampleFormat(SampleType.COUNTER, Action.MAP)
    for head, to in ((b"a", series), (b"b", other), (b"c", series)):
        store.lanes.add(head, b"c", way, to, "")
    store.lanes.forget(series)

    assert [lane.head for lane in store.lanes] == [b"b"]
    assert len(store.lanes) == 1
    store.lanes.forget(other)
    assert list(store.lanes) == []
    assert list(store.lanes.find([b"b"], [b"c"])) == [None]


def test_lanes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound there are no new ones until many were turned away."""
    monkeypatch.setattr(lanes, "MOST", 2)
    store, series = store_with(SampleType.COUNTER)
    way = SampleFormat(SampleType.COUNTER, Action.MAP)

    def come(head: bytes) -> None:
        if store.lanes.has_room(head, b"c"):
            store.lanes.add(head, b"c", way, series, "")

    for number in range(2 + 2 * lanes.ROUNDS):
        come(b"%d" % number)
        assert not store.lanes.are_stale
    come(b"one more")

    assert len(store.lanes) == 2
    assert store.lanes.are_stale
    store.lanes.clear()
    assert not store.lanes.are_stale
    come(b"x" * lanes.LONGEST)
    assert len(store.lanes) == 0


@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 9.0]), max_size=40),
    st.integers(1, 5),
)
def test_many_values_count_as_one_by_one(values: list[float], weight: int) -> None:
    """Bounds belong to their bucket, however many values there are."""
    form = MetricOptions(MetricType.HISTOGRAM, "h", buckets=(0.0, 1.0, 2.0))
    together, apart = Histogram(form), Histogram(form)
    together.observe_all(values, 1.0, weight)
    for value in values:
        apart.observe(value, weight)

    assert together.values(0.0) == pytest.approx(apart.values(0.0))


@given(
    st.lists(st.floats(-10, 10), min_size=1, max_size=5, unique=True),
    st.sampled_from([1000.0, 3.0, 0.7]),
)
def test_a_bucket_is_as_sharp_in_milliseconds(bounds: list[float], unit: float) -> None:
    """The numbers next to a border fall where dividing them puts them."""
    form = MetricOptions(MetricType.HISTOGRAM, "h", buckets=tuple(sorted(bounds)))
    together, apart = Histogram(form), Histogram(form)
    near = [bound * unit for bound in bounds]
    for toward in (-math.inf, math.inf):
        near += [math.nextafter(number, toward) for number in near]
    numbers = near * 2
    together.observe_all(numbers, unit, 1)
    for number in numbers:
        apart.observe(number / unit, 1)

    assert together.counts == apart.counts


def test_a_summary_takes_many_at_once() -> None:
    """Into the part of its window that is filling."""
    form = MetricOptions(MetricType.SUMMARY, "h", quantiles=(Quantile(0.5, 0.05),))
    store = SeriesStore(clock=lambda: 0.0)
    target = SeriesSpec("x", (), form)
    store.record(target, Sample(SampleType.OBSERVER, "x", 5.0))
    series = store.find(target)
    way = SampleFormat(SampleType.OBSERVER, Action.MAP, unit=1000.0)
    store.lanes.add(b"x", b"ms", way, series, "")
    lane = store.lanes.get(b"x", b"ms")
    assert lane is not None
    lane.extend([1000.0, 9000.0] * 1000)
    store.lanes.fold([lane], 0.0)
    median, total, count = store.families()[0].series[""].values(0.0)

    assert median in (1.0, 5.0, 9.0)
    assert (total, count) == (10_005.0, 2001)
