"""Quantiles over a sliding window, within the configured rank error."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.memory import NO_LIMIT, Account
from statsd_bridge.model import MetricOptions, MetricType, Quantile, Sample, SampleType
from statsd_bridge.series.sketch import SKETCH_BYTES, Sketch, quantiles
from statsd_bridge.series.summary import MAX_PARTS, Summary

QUANTILES = (Quantile(0.5, 0.05), Quantile(0.9, 0.01), Quantile(0.99, 0.001))
MANY = 20_000

DISTRIBUTIONS: dict[str, Callable[[random.Random], list[float]]] = {
    "uniform": lambda rng: [rng.random() for _ in range(MANY)],
    "normal": lambda rng: [rng.gauss(0, 1) for _ in range(MANY)],
    "exponential": lambda rng: [rng.expovariate(1) for _ in range(MANY)],
    "constant": lambda rng: [3.0] * MANY,
    "ascending": lambda rng: [float(each) for each in range(MANY)],
    "descending": lambda rng: [float(-each) for each in range(MANY)],
}


def summary(*, age_buckets: int = 5, account: Account | None = None) -> Summary:
    """Return an empty summary whose window starts at 0 s."""
    options = MetricOptions(
        MetricType.SUMMARY,
        "h",
        quantiles=QUANTILES,
        max_age=600,
        age_buckets=age_buckets,
    )
    return Summary(options, 0.0, account or Account())


def observe(summary: Summary, value: float, weight: int = 1, now: float = 0.0) -> None:
    """Record a sample."""
    sample = Sample(SampleType.OBSERVER, "h", value, weight=weight)
    summary.record(sample, value, now)


def rank_error(values: list[float], answer: float, share: float) -> float:
    """Return how far, as a share of all, an answer is from the rank wanted."""
    ranks = bisect_left(values, answer) + 1, bisect_right(values, answer)
    wanted = max(1, math.ceil(share * len(values)))
    nearest = min(max(wanted, ranks[0]), ranks[1])
    return abs(wanted - nearest) / len(values)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("spread", [0.0, 500.0], ids=["at once", "over the window"])
def test_each_quantile_is_within_its_rank_error(name: str, spread: float) -> None:
    """Also when the values lie in different parts of the window."""
    values = DISTRIBUTIONS[name](random.Random(1))
    found = summary()
    for index, value in enumerate(values):
        observe(found, value, now=spread * index / len(values))
    *answers, _, count = found.values(spread)
    values.sort()

    assert count == MANY
    for each, answer in zip(QUANTILES, answers, strict=True):
        assert answer in values
        assert rank_error(values, answer, each.quantile) <= each.error


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=400),
    st.sampled_from([0.0, 0.25, 0.5, 0.9, 0.99, 1.0]),
)
def test_quantiles_of_few_values_are_exact(values: list[int], share: float) -> None:
    """Like in statsd_exporter, whatever error is allowed: the value of that rank."""
    options = MetricOptions(MetricType.SUMMARY, "h", quantiles=(Quantile(share, 0.2),))
    found = Summary(options, 0.0, Account())
    for value in values:
        observe(found, float(value))
    (answer, *_) = found.values(0.0)

    assert answer == sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def test_the_window_slides_and_sum_and_count_stay() -> None:
    """Old values leave a fifth of the window at a time; an empty window is NaN."""
    found = summary()
    observe(found, 1.0)
    observe(found, 9.0, now=300.0)

    assert found.values(590.0) == (1.0, 9.0, 9.0, 10.0, 2)
    assert found.values(610.0) == (9.0, 9.0, 9.0, 10.0, 2)
    *quantiles, total, count = found.values(5_000.0)
    assert all(math.isnan(each) for each in quantiles)
    assert (total, count) == (10.0, 2)


def test_quantiles_are_computed_once_per_change() -> None:
    """Neither a page, nor NaN, nor a part that begins without values is a change."""
    found = summary()
    observe(found, 1.0)
    found.values(0.0)
    window = found.window_values
    observe(found, math.nan, now=200.0)

    assert found.values(599.0)[:3] == (1.0, 1.0, 1.0)
    assert found.window_values is window
    assert math.isnan(found.values(600.0)[0])


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 100.0, 130.0, 700.0]),
        st.sampled_from([None, math.nan, *map(float, range(-9, 9))]),
        st.sampled_from([1, 1, 5]),
    ),
    max_size=60,
)


@given(STEPS, st.sampled_from([NO_LIMIT, SKETCH_BYTES, 0]))
def test_quantiles_are_those_of_the_window_at_any_time(
    steps: list[tuple[float, float | None, int]], limit: int
) -> None:
    """Kept ones are those that would be computed; so is whether one is negative."""
    found, now = summary(account=Account(limit)), 0.0
    for seconds, value, weight in steps:
        now += seconds
        if value is not None:
            observe(found, value, weight, now)
        shown, is_negative = found.values(now), found.may_be_negative(now)
        found.window_values = None

        assert repr(shown) == repr(found.values(now))
        assert is_negative == found.may_be_negative(now)
        if any(each < 0 for each in shown):
            assert is_negative


def test_nan_has_no_rank() -> None:
    """It makes the sum NaN and is counted; quantiles are those of the others."""
    found = summary()
    observe(found, math.nan)
    observe(found, 2.0)
    median, _, _, total, count = found.values(0.0)

    assert (median, count) == (2.0, 2)
    assert math.isnan(total)


def test_memory_is_bounded() -> None:
    """A million values leave a few thousand entries at most."""
    found = Sketch(0.001)
    rng = random.Random(3)
    for _ in range(200_000):
        found.add(rng.random(), 1)
        if found.is_full():
            found.merge_pending()

    assert len(found.values) < 5_000


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(-9, 9), st.integers(1, 9)), min_size=1, max_size=40
        ),
        min_size=1,
        max_size=4,
    ),
    st.floats(0, 1),
    st.sampled_from([0.01, 0.1, 0.3]),
    st.integers(1, 6),
)
def test_sketches_answer_within_their_error(
    parts: list[list[tuple[int, int]]], share: float, error: float, merge_every: int
) -> None:
    """However the values are weighted, merged and spread over sketches."""
    sketches: list[Sketch] = []
    values: list[float] = []
    for weighted in parts:
        found = Sketch(error)
        sketches.append(found)
        for index, (value, weight) in enumerate(weighted):
            if weight > 1 and found.weights is None:
                found.use_weights()
            found.add(float(value), weight)
            values += [float(value)] * weight
            if index % merge_every == 0:
                found.merge_pending()
                found.compress(2 * error * found.count)
    values.sort()
    (answer,) = quantiles(sketches, [share])

    assert answer in values
    assert rank_error(values, answer, share) <= error + 1 / len(values)


def test_a_page_does_not_cost_more_for_many_age_buckets() -> None:
    """The window has at most MAX_PARTS sketches, and old values still leave it."""
    found = summary(age_buckets=10_000)
    for second in range(1_200):
        observe(found, float(second), now=float(second))
    median, *_, total, count = found.values(1_200.0)

    assert len(found.sketches) <= MAX_PARTS
    assert 870 <= median <= 930
    assert (total, count) == (sum(range(1_200)), 1_200)


@pytest.mark.parametrize("spread", [0.0, 5_000.0], ids=["at once", "many windows"])
def test_without_memory_the_quantiles_become_coarse(spread: float) -> None:
    """What is charged stays below the limit, is right at any time, and is counted."""
    account = Account(2_000)
    account.charge(SKETCH_BYTES)
    found = summary(account=account)
    rng = random.Random(5)
    for index in range(MANY):
        observe(found, rng.random(), now=spread * index / MANY)
        assert account.used <= account.limit
        held = sum(each.size for each in found.sketches)
        assert account.used == held
    median, *_, count = found.values(spread)

    assert count == MANY
    assert abs(median - 0.5) < 0.35
    assert account.denied > 0
    found.release()
    assert account.used == SKETCH_BYTES


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, 130.0, 900.0]),
            st.integers(1, 3),
            st.integers(1, 90),
        ),
        max_size=30,
    ),
    st.sampled_from([500, 2_000, 9_000, 100_000]),
)
def test_the_charge_of_a_summary_is_its_size(
    steps: list[tuple[float, int, int]], limit: int
) -> None:
    """Whatever it is sent and when; nothing remains when it is removed."""
    account = Account(limit)
    account.charge(SKETCH_BYTES)
    found = summary(account=account)
    now = 0.0
    for seconds, weight, count in steps:
        now += seconds
        found.record_all([float(n) for n in range(count)], 1.0, weight, now)
        held = sum(each.size for each in found.sketches)
        assert account.used == (held or SKETCH_BYTES)
        assert all(len(each.pending) <= 1_024 for each in found.sketches)
    found.release()

    assert account.used == SKETCH_BYTES
