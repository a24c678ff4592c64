"""Native buckets of histograms: recorded answers, arithmetic, memory and lifetime."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import mapping
from statsd_bridge.mapping.native import pick_schema
from statsd_bridge.memory import Account
from statsd_bridge.model import (
    MetricOptions,
    MetricType,
    NativeMode,
    NativeOptions,
    Sample,
    SampleType,
)
from statsd_bridge.series import Histogram
from statsd_bridge.series.native import (
    ZERO_THRESHOLD,
    NativeGeneration,
    NativeStats,
)
from statsd_bridge.series.native_bounds import bucket_position, first_index, fractions
from statsd_bridge.series.native_policy import MAX_IDLE_SECONDS
from tests.statsd_bridge.in_memory import InMemoryPath, MakePipeline, native_buckets

FILE = Path(__file__).parent / "data" / "statsd_exporter-0.30.0-native.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text())

HISTOGRAMS = "defaults: {observer_type: histogram}"
DEFAULT = NativeOptions(schema=3, max_buckets=256)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_recorded_answers(case: dict[str, Any], make_pipeline: MakePipeline) -> None:
    """Buckets are those of statsd_exporter 0.30.0, packet by packet and all at once."""
    wanted = {
        (name, labels): metric.get("native")
        for name, family in case["want"]["families"].items()
        if family["type"] == "histogram"
        for labels, metric in family["metrics"].items()
    }
    packets = [packet.encode("latin-1") for packet in case["packets"]]
    for batches in ([[each] for each in packets], [packets]):
        memory = InMemoryPath(case["mapping"] or "", make_pipeline=make_pipeline)
        for batch in batches:
            memory.feed(*batch)
        found = native_buckets(memory)
        assert {(a, b.replace('"', "")): found[a, b] for a, b in found} == wanted


@pytest.mark.parametrize(
    ("factor", "schema"),
    [
        *((1.0000000000000002, 8), (1.00001, 8), (1.005, 8), (1.0027, 8), (1.1, 3)),
        *((1.0905077326652577, 3), (1.0905077326652574, 4), (1.0905077326652579, 3)),
        *((1.189207115002721, 3), (1.1892071150027212, 2), (1.5, 1), (2, 0), (4, -1)),
        *((1.9999999999999998, 1), (16, -2), (255.99999999999997, -3), (256, -3)),
        *((65535.99999999999, -4), (65536, -4), (1e300, -4), (math.inf, -4)),
    ],
)
def test_a_factor_chooses_the_schema(factor: float, schema: int) -> None:
    """Next to a power of two, it is the one that statsd_exporter 0.30.0 chose."""
    assert pick_schema(factor) == schema


@pytest.mark.parametrize(
    ("schema", "bounds"),
    [
        (0, []),
        (2, [0.5, 0.5946035575013605, 0.7071067811865475, 0.8408964152537144]),
        (3, [0.5452538663326288, 0.6484197773255048, 0.7711054127039704]),
        (3, [0.9170040432046711]),
        (8, [0.9892280131939752, 0.9919100824251095, 0.9945994234836328]),
        (8, [0.9972960560854698]),
    ],
)
def test_bounds_are_the_literals_of_client_golang(
    schema: int, bounds: list[float]
) -> None:
    """Some of them are a few last digits off the powers of two."""
    assert fractions(schema) == sorted(fractions(schema))
    assert len(fractions(schema)) == (2**schema if schema > 0 else 0)
    assert set(bounds) <= set(fractions(schema))


@pytest.mark.parametrize("schema", range(-4, 9))
def test_upper_bounds_are_inclusive(schema: int) -> None:
    """Bucket 0 ends at 1; an infinity is one beyond the bucket of the largest float."""
    ends = {2.0 ** (n * 2 ** max(-schema, 0)) for n in (-3, -1, 0, 1, 5)}
    for end in ends | {each * 8 for each in fractions(schema)}:
        index = bucket_position(end, schema)
        assert bucket_position(math.nextafter(end, 0), schema) == index
        assert bucket_position(math.nextafter(end, math.inf), schema) == index + 1
    assert bucket_position(1.0, schema) + first_index(schema) == 0
    largest = bucket_position(math.nextafter(math.inf, 0), schema)
    assert bucket_position(math.inf, schema) == largest + 1


class Reference:
    """The rules of client_golang, an observation at a time."""

    def __init__(self, options: NativeOptions) -> None:
        self.schema, self.max_buckets = options.schema, options.max_buckets
        self.buckets: Counter[tuple[int, int]] = Counter()
        self.zeros = 0

    def observe(self, value: float) -> None:
        """Count a value; then halve the resolution if there are too many buckets."""
        if math.isnan(value):
            return
        if abs(value) <= ZERO_THRESHOLD:
            self.zeros += 1
        else:
            index = bucket_position(abs(value), self.schema)
            index += first_index(self.schema)
            self.buckets[1 if value > 0 else -1, index] += 1
        if len(self.buckets) > self.max_buckets and self.schema > -4:
            self.schema -= 1
            halved: Counter[tuple[int, int]] = Counter()
            for (sign, index), count in self.buckets.items():
                halved[sign, math.ceil(index / 2)] += count
            self.buckets = halved


def new_histogram(
    options: NativeOptions, account: Account | None = None
) -> tuple[Histogram, NativeGeneration]:
    """Return a histogram with native buckets."""
    generation = NativeGeneration(account or Account(), NativeStats())
    metric = MetricOptions(
        MetricType.HISTOGRAM, "", buckets=(0.1, 1.0, 10.0), native=options
    )
    return Histogram(metric, generation), generation


def record(histogram: Histogram, value: float, weight: int = 1) -> None:
    """Record one sample."""
    histogram.record(Sample(SampleType.OBSERVER, "a", value, weight=weight), value, 0.0)


NUMBERS = st.one_of(
    st.floats(allow_nan=False),
    st.floats(0.001, 1000),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**-128, 2.0**-127, 9.0, math.inf]),
)
RUNS = st.lists(
    st.tuples(
        st.lists(NUMBERS, min_size=1, max_size=40),
        st.sampled_from([1.0, 1000.0]),
        st.sampled_from([1, 1, 2, 10]),
    ),
    max_size=6,
)


@given(RUNS, st.integers(-4, 8), st.sampled_from([1, 2, 5, 20, 256]), st.booleans())
def test_runs_count_like_single_observations(
    runs: Sequence[tuple[list[float], float, int]],
    schema: int,
    max_buckets: int,
    has_nan: bool,
) -> None:
    """Whatever the number of values, their order, weight and divisor."""
    options = NativeOptions(schema, max_buckets)
    histogram, generation = new_histogram(options)
    reference = Reference(options)
    if has_nan:
        record(histogram, math.nan)
    for numbers, divisor, weight in runs:
        histogram.record_all(numbers, divisor, weight, 0.0)
        for number in numbers:
            for _ in range(weight):
                reference.observe(number / divisor)

    native = histogram.native
    assert native is not None
    assert native.schema == reference.schema
    assert native.zero_count == reference.zeros
    assert native.positive_buckets() == sorted(
        (index, count) for (sign, index), count in reference.buckets.items() if sign > 0
    )
    assert native.negative_buckets() == sorted(
        (index, count) for (sign, index), count in reference.buckets.items() if sign < 0
    )
    histogram.drop_native()
    assert generation.account.used == 0


def test_a_series_with_one_observation_takes_no_memory_for_native_buckets() -> None:
    """They are made at the second one, or for a page."""
    histogram, generation = new_histogram(DEFAULT)
    record(histogram, 3.0)
    assert generation.account.used == 0

    assert histogram.native is not None
    assert histogram.native.positive_buckets() == [(13, 1)]
    assert generation.account.used > 0


@pytest.mark.parametrize("limit", [0, 400, 600, 1_200, 3_000])
@pytest.mark.parametrize("at_once", [False, True])
def test_without_memory_the_resolution_falls_or_the_buckets_go(
    limit: int, at_once: bool
) -> None:
    """Both are counted, and no bucket lacks a value."""
    histogram, generation = new_histogram(NativeOptions(8, 1000), Account(limit))
    values = [1.001**n for n in range(1_000)]
    if at_once:
        histogram.record_all(values, 1.0, 1, 0.0)
    for value in [] if at_once else values:
        record(histogram, value)
    account, stats = generation.account, generation.stats

    assert account.used <= limit
    native = histogram.native
    if native is None:
        assert stats.dropped == {"memory": 1}
        assert account.used == 0
    else:
        assert sum(count for _, count in native.positive_buckets()) == 1_000
        assert 8 - native.schema == stats.halved > 0
    assert (native is None) == (limit <= 400)


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0])
@pytest.mark.parametrize("at_once", [False, True])
def test_counts_that_no_message_can_carry_end_native_buckets(
    value: float, at_once: bool
) -> None:
    """Counts of a bucket are signed and have 64 bits; classic buckets go on."""
    histogram, generation = new_histogram(DEFAULT)
    weight = 1 << 62
    for _ in range(2):
        if at_once:
            histogram.record_all([value] * 20, 1.0, weight // 10, 0.0)
        else:
            record(histogram, value, weight)

    assert histogram.native is None
    assert generation.stats.dropped == {"range": 1}
    assert generation.account.used == 0
    assert sum(histogram.counts) > (1 << 62)


def test_more_values_than_a_message_can_count_end_native_buckets() -> None:
    """The count of a histogram has 64 bits, and its buckets must add up to it."""
    histogram, generation = new_histogram(DEFAULT)
    for value in (1.0, 2.0, 4.0, 8.0):
        assert histogram.native is not None
        record(histogram, value, 1 << 62)

    assert histogram.native is None
    assert generation.stats.dropped == {"range": 1}


def lives(memory: InMemoryPath) -> set[str]:
    """Return the names of histograms that have native buckets."""
    return {name for (name, _), native in native_buckets(memory).items() if native}


@pytest.mark.parametrize(
    ("mode", "at_first", "unscraped", "scraped_again"),
    [
        (NativeMode.OFF, set(), set(), set()),
        (NativeMode.ON, {"a"}, {"a", "b"}, {"a", "b", "c"}),
        # For good: only new ones have buckets again.
        (NativeMode.AUTO, {"a"}, set(), {"c"}),
    ],
)
def test_native_buckets_live_while_they_are_scraped(
    mode: NativeMode,
    at_first: set[str],
    unscraped: set[str],
    scraped_again: set[str],
    make_pipeline: MakePipeline,
) -> None:
    """From the first observation on; those that no scrape shows go after an hour."""
    memory = InMemoryPath(HISTOGRAMS, make_pipeline=make_pipeline, native_mode=mode)
    memory.feed(b"a:1:2:3|h")
    memory.pass_seconds(MAX_IDLE_SECONDS - 1)
    memory.store.native.note_scrape(memory.now)
    memory.pass_seconds(MAX_IDLE_SECONDS - 1)
    assert lives(memory) == at_first

    memory.pass_seconds(2)
    memory.feed(b"a:1:2|h", b"b:1:2|h")
    assert lives(memory) == unscraped

    memory.store.native.note_scrape(memory.now)
    memory.feed(b"a:1|h", b"b:1|h", b"c:1|h", b"c:1|h")
    assert lives(memory) == scraped_again
    assert memory.values()["a_count"] == 6


def test_native_buckets_are_dropped_in_slices() -> None:
    """At once for pages, and all memory is given back, whatever happens meanwhile."""
    memory = InMemoryPath(HISTOGRAMS)
    for name in (b"a", b"b"):
        memory.feed(*[b"%s:1:2|h|#k:%d" % (name, n) for n in range(4_000)])
    memory.feed(b"once:1|h", b"other:1|c")
    memory.pipeline.flush()
    used = memory.memory.series.used
    memory.now += MAX_IDLE_SECONDS + 1

    memory.store.start_expiry()
    assert not memory.store.expire_some()
    assert lives(memory) == set()
    partly = memory.memory.series.used
    assert partly < used
    memory.store.native.note_scrape(memory.now)
    memory.feed(*[b"b:1:2|h|#k:%d" % n for n in range(3_000, 5_000)])
    steps = 1
    while not memory.store.expire_some():
        steps += 1
        assert steps < 10

    assert len([1 for each in native_buckets(memory).values() if each]) == 1_000
    assert memory.store.native.stats.dropped == {"idle": 8_001}
    assert memory.store.native.generation is not None


def test_a_reload_applies_to_new_label_names(make_pipeline: MakePipeline) -> None:
    """Series keep their options, and later ones with the same label names get them."""
    rules = "histogram_options: {native_histogram_bucket_factor: %s}"
    rules = f"defaults: {{observer_type: histogram, {rules}}}"
    memory = InMemoryPath(rules % 2, make_pipeline=make_pipeline)
    memory.feed(b"t:1:2|h|#k:old")
    for factor in (4, 1):
        memory.pipeline.replace_table(mapping.parse(rules % factor, "f"))
        memory.feed(b"t:1:2|h|#k:old", b"t:1:2|h|#k:%d,j:1" % factor)
        memory.feed(b"t:1:2|h|#k:same%d" % factor, b"u%d:1:2|h" % factor)
    schemas = {
        (name, labels): native and native["schema"]
        for (name, labels), native in native_buckets(memory).items()
    }

    assert schemas == {
        ("t", 'k="old"'): 0,
        ("t", 'k="same4"'): 0,
        ("t", 'k="same1"'): 0,
        ("t", 'j="1",k="4"'): -1,
        ("t", 'j="1",k="1"'): -1,
        ("u4", ""): -1,
        ("u1", ""): None,
    }


def test_without_native_buckets_there_are_none(make_pipeline: MakePipeline) -> None:
    """With a factor of 1, and for a name whose first options had them off."""
    off = "histogram_options: {native_histogram_bucket_factor: 1}"
    rules = f"{HISTOGRAMS}\nmappings: [{{match: off.*, name: off, {off}}}]"
    memory = InMemoryPath(rules, make_pipeline=make_pipeline)
    memory.feed(b"off.a:1:2|h", b"off.a:1:2|h", b"on:1|h")

    assert lives(memory) == {"on"}
