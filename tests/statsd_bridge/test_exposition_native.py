"""Native buckets as spans and deltas, read by the `protobuf` library."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.exposition.protobuf.native import encode_native
from tests.statsd_bridge.client_model import MetricFamily, buckets

Pairs = list[tuple[int, int]]


class Native:
    """Native buckets that never change."""

    def __init__(self, positive: Pairs, negative: Pairs = [], **more: Any) -> None:  # noqa: B006
        self.schema: int = more.get("schema", 3)
        self.zero_threshold: float = more.get("zero_threshold", 2.0**-128)
        self.zero_count: int = more.get("zero_count", 0)
        self._positive = positive
        self._negative = negative

    def positive_buckets(self) -> Pairs:
        """Return the buckets of positive values."""
        return self._positive

    def negative_buckets(self) -> Pairs:
        """Return the buckets of negative values."""
        return self._negative


def decoded(native: Native) -> Any:
    """Return the fields as the message Histogram."""
    histogram = MetricFamily().metric.add().histogram
    histogram.MergeFromString(encode_native(native))
    return histogram


SPANS: list[tuple[Pairs, list[tuple[int, int]], list[int]]] = [
    ([], [], []),
    ([(0, 3)], [(0, 1)], [3]),
    ([(-7, 1), (-6, 4)], [(-7, 2)], [1, 3]),
    # Gaps of one and two are filled, one of three is not.
    ([(1, 5), (3, 2)], [(1, 3)], [5, -5, 2]),
    ([(1, 5), (4, 2)], [(1, 4)], [5, -5, 0, 2]),
    ([(1, 5), (5, 2)], [(1, 1), (3, 1)], [5, -3]),
    ([(-1, 2), (0, 2), (9, 300)], [(-1, 2), (8, 1)], [2, 0, 298]),
]


@pytest.mark.parametrize(("pairs", "spans", "deltas"), SPANS)
def test_spans_are_those_of_client_golang(
    pairs: Pairs, spans: list[tuple[int, int]], deltas: list[int]
) -> None:
    """The same on both sides."""
    found = decoded(Native(pairs, pairs))

    for side in ("positive", "negative"):
        each = getattr(found, f"{side}_span")
        assert [(span.offset, span.length) for span in each] == spans
        assert list(getattr(found, f"{side}_delta")) == deltas


BUCKETS = st.dictionaries(
    st.integers(-20_000, 20_000), st.integers(1, 2**62), max_size=50
).map(lambda counts: sorted(counts.items()))


@given(BUCKETS, BUCKETS, st.integers(-4, 8), st.integers(0, 2**63 - 1))
def test_any_buckets_are_read_back(
    positive: Pairs, negative: Pairs, schema: int, zeros: int
) -> None:
    """Indexes, counts, schema and the zero bucket."""
    found = decoded(Native(positive, negative, schema=schema, zero_count=zeros))

    assert buckets(found.positive_span, found.positive_delta) == dict(positive)
    assert buckets(found.negative_span, found.negative_delta) == dict(negative)
    assert (found.schema, found.zero_count) == (schema, zeros)
    assert found.zero_threshold == 2.0**-128


def test_a_histogram_without_values_is_native() -> None:
    """By its zero threshold, else by a span without buckets."""
    found = decoded(Native([], zero_threshold=0.0))

    assert [(each.offset, each.length) for each in found.positive_span] == [(0, 0)]
    assert not decoded(Native([])).positive_span
