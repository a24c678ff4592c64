"""Which series exist, of which type, and for how long."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.model import (
    Labels,
    MetricOptions,
    MetricType,
    Rejection,
    RejectionReason,
    Sample,
    SampleType,
    SeriesSpec,
)
from statsd_bridge.series import SeriesStore, sorted_keys
from statsd_bridge.series.families import MAX_PART_FAMILIES, NAME_SUFFIXES
from statsd_bridge.series.sorted_keys import SortedKeysDict
from statsd_bridge.syntax import format_labels
from tests.statsd_bridge.in_memory import InMemoryPath, MakePipeline

COUNTER, GAUGE, SET = MetricType.COUNTER, MetricType.GAUGE, MetricType.SET
HISTOGRAM, SUMMARY = MetricType.HISTOGRAM, MetricType.SUMMARY
SAMPLE_TYPES = {
    COUNTER: SampleType.COUNTER,
    GAUGE: SampleType.GAUGE,
    HISTOGRAM: SampleType.OBSERVER,
    SUMMARY: SampleType.OBSERVER,
    SET: SampleType.SET,
}


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of `store`."""
    return Clock()


@pytest.fixture
def store(clock: Clock) -> SeriesStore:
    """An empty store."""
    return SeriesStore(clock=clock, reserved={"go", "y_sum"})


def put(
    store: SeriesStore,
    type: MetricType,
    name: str,
    value: float = 1.0,
    labels: Labels = (),
    *,
    ttl: float = 0.0,
    scale: float | None = None,
    weight: int = 1,
    member: str = "",
) -> RejectionReason | None:
    """Record a sample under a rule of its own; return why it is rejected."""
    options = MetricOptions(type, "help", ttl=ttl, scale=scale, buckets=(0.1, 1.0))
    sample = Sample(
        SAMPLE_TYPES[type], name, value, labels, weight=weight, member=member
    )
    spec = SeriesSpec(name, labels, options)
    expected = store.rejection_reason(spec, sample)
    recorded = store.record(spec, sample)
    reason = recorded.reason if isinstance(recorded, Rejection) else None
    assert reason is expected
    return reason


def values(store: SeriesStore, now: float = 1000.0) -> dict[str, tuple[float, ...]]:
    """Return the values of each family's first series."""
    return {
        family.name: next(iter(family.series.values())).values(now)
        for family in store.families()
    }


def test_a_histogram_counts_by_bucket(store: SeriesStore) -> None:
    """A bound belongs to its bucket; NaN is in +Inf only and makes the sum NaN."""
    for value, weight in ((0.1, 1), (0.5, 3), (-1.0, 1), (7.0, 1)):
        put(store, HISTOGRAM, "h", value, weight=weight)

    assert values(store)["h"] == (2, 5, 6, pytest.approx(7.6), 6)
    put(store, HISTOGRAM, "h", float("nan"))
    *counts, total, count = values(store)["h"]
    assert (counts, count) == ([2, 5, 7], 7)
    assert total != total


def test_a_set_counts_distinct_members_within_its_window(
    store: SeriesStore, clock: Clock
) -> None:
    """A member that was not seen for the window does not count any more."""
    for member in ("anna", "ben", "anna"):
        put(store, SET, "s", member=member)
    clock.now += 30
    put(store, SET, "s", member="ben")

    assert [values(store, now)["s"] for now in (1030.0, 1061.0, 1091.0)] == [
        (2.0,),
        (1.0,),
        (0.0,),
    ]


@pytest.mark.parametrize(
    ("type", "name", "labels", "options", "reason"),
    [
        (COUNTER, "x", (("__x", "1"),), {}, RejectionReason.RESERVED_LABEL),
        (HISTOGRAM, "x", (("le", "1"),), {}, RejectionReason.RESERVED_LABEL),
        (SUMMARY, "x", (("quantile", "1"),), {}, RejectionReason.RESERVED_LABEL),
        (COUNTER, "x", (("le", "1"),), {}, None),
        (HISTOGRAM, "x", (("quantile", "1"),), {}, None),
        (COUNTER, "", (), {}, RejectionReason.EMPTY_METRIC_NAME),
        # The sign is that of the scaled value.
        (COUNTER, "x", (), {"scale": -1}, RejectionReason.ILLEGAL_NEGATIVE_COUNTER),
        (GAUGE, "x", (), {"scale": -1}, None),
        (GAUGE, "go", (), {}, RejectionReason.CONFLICT),
        (HISTOGRAM, "y", (), {}, RejectionReason.CONFLICT),
    ],
)
def test_samples_are_rejected_for_names_labels_and_values(
    store: SeriesStore,
    type: MetricType,
    name: str,
    labels: Labels,
    options: dict[str, float],
    reason: RejectionReason | None,
) -> None:
    """A rejected sample creates no series."""
    assert put(store, type, name, 1.0, labels, **options) is reason
    assert len(store) == (reason is None)


# First series, second series, whether the second one is rejected.
CONFLICTS = [
    ("counter foo", "gauge foo", True),
    ("gauge foo", "set foo", True),
    ("summary foo", "histogram foo", True),
    ("counter foo", "counter foo_count", False),
    ("gauge foo", "counter foo_count", False),
    ("summary foo", "counter foo_count", True),
    ("summary foo", "gauge foo_sum", True),
    ("histogram foo", "counter foo_bucket", True),
    ("counter foo_bucket", "summary foo", False),
    ("counter foo_bucket", "histogram foo", True),
    ("gauge foo_sum", "gauge foo", False),
    ("gauge foo_sum", "summary foo", True),
    ("summary foo_count", "summary foo", True),
    ("summary foo", "summary foo_count", True),
    ("histogram foo", "histogram foo_bucket", True),
    ("summary foo", "counter foo_bucket", True),
    ("summary foo", "gauge foo_bucket", True),
    ("summary foo", "summary foo_bucket", False),
    ("summary foo", "histogram foo_bucket", False),
    ("summary foo_bucket", "summary foo", False),
    ("counter foo", "counter foo_total", False),
]


@pytest.mark.parametrize(("first", "second", "conflict"), CONFLICTS)
def test_the_first_type_owns_a_name(
    store: SeriesStore, first: str, second: str, conflict: bool
) -> None:
    """The second is rejected when both would print the same name, or nearly."""
    reasons = [
        put(store, MetricType(type), name)
        for type, name in (first.split(), second.split())
    ]

    assert reasons == [None, RejectionReason.CONFLICT if conflict else None]


NAMES = st.sampled_from(["a", "a_sum", "a_count", "a_bucket", "a_count_sum"])


@given(st.lists(st.tuples(st.sampled_from(list(MetricType)), NAMES), max_size=12))
def test_no_two_families_print_the_same_name(
    wanted: list[tuple[MetricType, str]],
) -> None:
    """Whatever is sent in whatever order, each printed name has one family."""
    store = SeriesStore(clock=Clock())
    for type, name in wanted:
        put(store, type, name)
    printed = itertools.chain.from_iterable(
        [
            each.name,
            *(each.name + end for end in NAME_SUFFIXES.get(each.type, ())),
        ]
        for each in store.families()
    )
    names = list(printed)

    assert len(names) == len(set(names))


TTL_STEPS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from([0, 1, 2, 5, 9]), st.sampled_from([0, 1])
    ),
    max_size=60,
)


@given(TTL_STEPS)
def test_expiry_is_that_of_the_last_ttl(steps: list[tuple[str, int, int]]) -> None:
    """Whatever ttls the samples of a series had before, in whichever order."""
    clock = Clock()
    store = SeriesStore(clock=clock)
    deadlines: dict[str, float] = {}
    for name, ttl, seconds in steps:
        put(store, COUNTER, name, ttl=ttl)
        deadlines[name] = clock.now + ttl if ttl else float("inf")
        clock.now += seconds
        store.expire()
        deadlines = {
            name: until for name, until in deadlines.items() if until >= clock.now
        }
        assert {family.name for family in store.families()} == set(deadlines)


def traced_memory() -> int:
    """
    Return the bytes that are in use, after a collection.

    Python keeps 2,000 tuples of each length that were freed, until a full one.
    """
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    return used


def test_two_ttls_for_one_series_need_no_memory(make_pipeline: MakePipeline) -> None:
    """Each line changes the ttl of the series; nothing is left of the ones before."""
    rules = (
        "mappings: [{match: a, name: x, ttl: 1h}, {match: b, name: x, ttl: 2h},"
        " {match: c, name: x, ttl: 10m}]"
    )
    memory = InMemoryPath(rules, make_pipeline=make_pipeline)
    memory.plain.relay = None
    memory.feed(b"a:1|c\nb:1|c\nc:1|c")
    tracemalloc.start()
    try:
        for _ in range(1_000):
            memory.now += 1
            memory.feed(b"a:1|c\nb:1|c\na:1|c\nb:1|c")
            memory.feed(b"c:1|c")
            memory.pass_seconds(0)
        used = traced_memory()
    finally:
        tracemalloc.stop()

    assert memory.values() == {"x": 5_003}
    # The heap of expiry times grew by 200 bytes a line.
    assert used < 100_000


def test_reloads_that_change_ttls_need_no_memory(store: SeriesStore) -> None:
    """However often the ttls of many series are changed."""
    tracemalloc.start()
    try:
        for reload in range(40):
            if reload == 4:
                before = traced_memory()
            for number in range(500):
                put(store, COUNTER, f"n{number}", ttl=100_000 - 1_000 * reload)
        after = traced_memory()
    finally:
        tracemalloc.stop()

    assert len(store) == 500
    assert after - before < 200_000


def test_expired_series_need_no_memory_after_a_reload(
    store: SeriesStore, clock: Clock
) -> None:
    """Nor do the expiry times of a longer ttl that they had before."""
    tracemalloc.start()
    try:
        for ttl in (3_600, 60):
            for number in range(1_000):
                put(store, COUNTER, f"n{number}", ttl=ttl)
        clock.now += 61
        store.expire()
        used = traced_memory()
    finally:
        tracemalloc.stop()

    assert not store.families()
    assert used < 100_000


def test_a_series_with_a_bug_expires(
    store: SeriesStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A series whose first sample raises an exception has its ttl."""
    monkeypatch.setattr("statsd_bridge.series.counter_gauge.Counter.record", None)
    with pytest.raises(TypeError):
        put(store, COUNTER, "x", ttl=5)
    clock.now += 6

    store.expire()
    assert not store.families()


def test_label_names_are_forgotten_with_their_series(
    store: SeriesStore, clock: Clock
) -> None:
    """A family with one series left needs the memory of one."""
    put(store, COUNTER, "x")
    tracemalloc.start()
    try:
        for batch in range(20):
            for number in range(200):
                labels = ((f"label_{batch}_{number}", "1"),)
                put(store, COUNTER, "x", 1.0, labels, ttl=1)
            store.families()[0].label_texts()
            clock.now += 2
            store.expire()
            assert len(store) == 1
        used = traced_memory()
    finally:
        tracemalloc.stop()

    assert len(store) == 1
    assert store.label_names_total[COUNTER] == 1 + 20 * 200
    # The options of each set of label names were kept: 300 bytes for each of 4,000.
    assert used < 100_000


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"), st.text('ab= !"\\\n,', min_size=1), max_size=2
        ).map(lambda labels: tuple(sorted(labels.items()))),
        unique=True,
    ),
    st.integers(0, 9),
)
def test_series_are_in_the_order_of_their_values(
    all_labels: list[Labels], before_scrape: int
) -> None:
    """Fewer labels first, then value by value as sent, whatever the labels' names."""
    store = SeriesStore(clock=Clock())
    for index, labels in enumerate(all_labels):
        if index == before_scrape:
            store.families()[0].label_texts() if index else None
        put(store, COUNTER, "x", labels=labels)
    shown = [text for family in store.families() for text in family.label_texts()]
    labels_of = {format_labels(labels): labels for labels in all_labels}
    ranks = [[value for _, value in labels_of[text]] for text in shown]

    assert len(shown) == len(all_labels)
    assert ranks == sorted(ranks, key=lambda each: (len(each), each))


@pytest.mark.parametrize("new", [1, 5, 300])
def test_many_series_are_in_the_order_of_their_values(
    store: SeriesStore, monkeypatch: pytest.MonkeyPatch, new: int
) -> None:
    """Also if few of them are new, and if their sort keys do not fit into memory."""
    monkeypatch.setattr("statsd_bridge.series.sorted_keys.MAX_SORTED_BYTES", 1_000)
    monkeypatch.setattr("statsd_bridge.series.sorted_keys.MIN_NEW_SHARE", 8)
    numbers = [n * 7_919 % 997 for n in range(900)]
    for start in range(0, 900, new):
        for number in numbers[start : start + new]:
            put(store, COUNTER, "x", labels=(("k", f"{number:03} !"),))
        (family,) = store.families()
        shown = family.label_texts()
        assert shown == sorted(shown)
        assert len(shown) == len(family.series)


@given(
    st.lists(
        st.tuples(st.sampled_from("++-?"), st.sampled_from("abcdefgh")), max_size=40
    )
)
def test_keys_are_sorted_at_any_time(steps: list[tuple[str, str]]) -> None:
    """Keys are added, removed and added again; lists that were returned stay."""
    keys: SortedKeysDict[int] = SortedKeysDict()
    returned: list[tuple[list[str], list[str]]] = []
    for step, key in steps:
        if step == "+":
            keys[key] = 1
        elif step == "-" and key in keys:
            keys.remove(key)
        elif step == "?":
            returned.append((keys.sorted_keys(), sorted(keys)))

    assert keys.sorted_keys() == sorted(keys)
    assert [found for found, _ in returned] == [right for _, right in returned]


@given(st.data())
def test_keys_are_sorted_in_steps_while_they_change(data: Any) -> None:
    """Between two steps others sort, and keys come and go; lists that exist stay."""
    keys: SortedKeysDict[int] = SortedKeysDict()
    names = [f"{letter}{number}" for number in range(8) for letter in "abcdefgh"]
    returned: list[tuple[list[str], list[str]]] = []

    def change(count: int) -> None:
        for name in data.draw(st.lists(st.sampled_from(names), max_size=count)):
            if name in keys and data.draw(st.booleans()):
                keys.remove(name)
            keys.setdefault(name, 1)
        if data.draw(st.integers(0, 5)) == 0:
            returned.append((keys.sorted_keys(), sorted(keys)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_keys, "MAX_STEP_KEYS", 5)
        for _ in range(3):
            change(40)
            for _ in keys.sort_in_steps():
                change(3)
            returned.append((keys.sorted_keys(), sorted(keys)))

    assert [found for found, _ in returned] == [right for _, right in returned]


@pytest.mark.parametrize("label", ["", "|#k:{} a", "|#k:{}", "|#k:{},j{}:v"])
def test_very_many_new_keys_are_sorted_in_steps(
    label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Families by name, series by labels, with and without sort keys."""
    limit = 100
    path, other = InMemoryPath(), InMemoryPath()
    for step in range(3):
        order = [number * 7 % 997 for number in range(step, 997, 3)]
        for number in order:
            name = "c" if label else f"c{number}"
            line = f"{name}:1|c{label.format(number, number % 3)}".encode()
            path.feed(line)
            other.feed(line)
        monkeypatch.setattr(sorted_keys, "MAX_STEP_KEYS", limit)
        parts = list(path.store.parts_of_families())
        (family, *_) = [family for part in parts for family in part]
        steps = list(family.sort_in_steps())
        shown = path.page()
        monkeypatch.setattr(sorted_keys, "MAX_STEP_KEYS", 10_000)

        assert max(parts.count([]), len(steps)) > len(order) // limit
        assert shown == other.page()


def test_buckets_are_those_of_the_first_series_with_these_label_names(
    store: SeriesStore,
) -> None:
    """Series with other label names get the buckets of their own rule."""
    old = MetricOptions(HISTOGRAM, "first", buckets=(1.0,))
    new = MetricOptions(HISTOGRAM, "second", buckets=(1.0, 2.0))
    for options, labels in ((old, (("a", "1"),)), (new, (("a", "2"),)), (new, ())):
        sample = Sample(SampleType.OBSERVER, "h", 1.0)
        store.record(SeriesSpec("h", labels, options), sample)
    (family,) = store.families()
    buckets = {text: len(each.options.buckets) for text, each in family.series.items()}

    assert buckets == {"": 2, 'a="1"': 1, 'a="2"': 1}
    assert family.help == "first"


def test_sets_of_label_names_are_counted_by_type(
    store: SeriesStore, clock: Clock
) -> None:
    """The count of statsd_exporter_metrics_total does not fall with expiry."""
    for labels in ((), (("a", "1"),), (("a", "2"),), (("b", "1"),)):
        put(store, COUNTER, "x", labels=labels, ttl=1.0)
    put(store, GAUGE, "x")
    put(store, SUMMARY, "z")
    clock.now += 5.0
    store.expire()

    assert store.label_names_total == {COUNTER: 3, SUMMARY: 1}


def test_families_are_listed_in_parts() -> None:
    """The names stay in order while families come and go between two parts."""
    path, count = InMemoryPath(), 2 * MAX_PART_FAMILIES
    path.feed(*[b"stay%05d:1|c" % number for number in range(count)])
    names = [f"stay{number:05}" for number in range(count)]
    parts = path.store.parts_of_families()
    listed = [family.name for family in next(parts)]
    path.feed(b"new:1|c")
    listed += [family.name for part in parts for family in part]

    assert listed == names
    assert [each.name for each in path.store.families()] == ["new", *names]


@given(st.data())
def test_keys_come_in_parts_while_they_change(data: Any) -> None:
    """Keys that stay are in the parts after the last empty one; sorting goes on."""
    keys = SortedKeysDict[int]()
    stay = [f"stay{number}" for number in range(data.draw(st.integers(0, 80)))]
    brief = [f"brief{number}" for number in range(40)]
    for key in data.draw(st.permutations(stay + brief)):
        keys[key] = 0
    found, inserts_only = list[str](), True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_keys, "MAX_PART_KEYS", 7)
        patch.setattr(sorted_keys, "MAX_PART_KEYS_OF_CHANGED", 9)
        for count, part in enumerate(keys.parts_of_keys()):
            found = found + part if part else []
            if not data.draw(st.booleans()):
                continue
            for key in data.draw(st.lists(st.sampled_from(brief), max_size=5)):
                if key in keys:
                    inserts_only = False
                    keys.remove(key)
            keys[f"new{count}"] = 0
            if data.draw(st.integers(0, 4)) == 0:
                assert keys.sorted_keys() == sorted(keys)

    assert {*stay} <= {*found}
    if inserts_only:
        assert len(found) == len({*found})
