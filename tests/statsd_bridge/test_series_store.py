"""Which series exist, of what shape, and for how long."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.model import (
    EventError,
    Labels,
    MetricOptions,
    MetricType,
    Rejection,
    Sample,
    SampleType,
    SeriesSpec,
)
from statsd_bridge.series import SeriesStore
from statsd_bridge.series.ordered import Ordered
from statsd_bridge.series.store import SUFFIXES
from statsd_bridge.text import format_labels

KINDS = {
    MetricType.COUNTER: SampleType.COUNTER,
    MetricType.GAUGE: SampleType.GAUGE,
    MetricType.HISTOGRAM: SampleType.OBSERVER,
    MetricType.SUMMARY: SampleType.OBSERVER,
    MetricType.SET: SampleType.SET,
}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def put(
    store: SeriesStore,
    shape: MetricType,
    name: str,
    value: float = 1.0,
    labels: Labels = (),
    *,
    relative: bool = False,
    weight: int = 1,
    member: str = "",
    ttl: float = 0.0,
    scale: float | None = None,
) -> Rejection | None:
    """Record one sample under a form of its own."""
    form = MetricOptions(shape, "help", ttl=ttl, scale=scale, buckets=(0.1, 1.0))
    kind = KINDS[shape]
    sample = Sample(kind, name, value, labels, relative, weight, member)
    return store.record(SeriesSpec(name, labels, form), sample)


def numbers(
    store: SeriesStore, now: float = 1000.0
) -> dict[str, list[tuple[float, ...]]]:
    """Give the numbers of everything remembered, by family."""
    return {
        family.name: [series.values(now) for series in family.series.values()]
        for family in store.families()
    }


def test_counters_add_and_gauges_take_the_last_value() -> None:
    """A difference to a gauge that does not exist yet starts from 0."""
    store = SeriesStore(clock=Clock())
    put(store, MetricType.COUNTER, "c", 2)
    put(store, MetricType.COUNTER, "c", 3)
    put(store, MetricType.GAUGE, "g", -5, relative=True)
    put(store, MetricType.GAUGE, "h", 333)
    put(store, MetricType.GAUGE, "h", -10, relative=True)

    assert numbers(store) == {"c": [(5,)], "g": [(-5,)], "h": [(323,)]}


def test_a_histogram_counts_by_bucket() -> None:
    """A bound belongs to its bucket; NaN is in +Inf only and spoils the sum."""
    store = SeriesStore(clock=Clock())
    for value, weight in ((0.1, 1), (0.5, 3), (-1.0, 1), (7.0, 1)):
        put(store, MetricType.HISTOGRAM, "h", value, weight=weight)

    assert numbers(store)["h"] == [(2, 5, 6, pytest.approx(7.6), 6)]
    put(store, MetricType.HISTOGRAM, "h", float("nan"))
    *counts, total, count = numbers(store)["h"][0]
    assert (counts, count) == ([2, 5, 7], 7)
    assert total != total


def test_a_set_counts_distinct_members_within_its_window() -> None:
    """A member that was not seen for the window is forgotten."""
    clock = Clock()
    store = SeriesStore(clock=clock, set_window=60)
    for member in ("anna", "ben", "anna"):
        put(store, MetricType.SET, "s", member=member)
    clock.now += 30
    put(store, MetricType.SET, "s", member="ben")

    assert numbers(store, 1030.0)["s"] == [(2.0,)]
    assert numbers(store, 1061.0)["s"] == [(1.0,)]
    assert numbers(store, 1091.0)["s"] == [(0.0,)]


def test_scale_comes_before_the_sign_is_judged() -> None:
    """-5 scaled by -1 is a legal increment; -1 is not, and makes no series."""
    store = SeriesStore(clock=Clock())

    assert put(store, MetricType.COUNTER, "a", -5, scale=-1) is None
    assert put(store, MetricType.COUNTER, "b", -1) == Rejection(
        EventError.ILLEGAL_NEGATIVE_COUNTER, SampleType.COUNTER, "b"
    )
    assert numbers(store) == {"a": [(5,)]}


@pytest.mark.parametrize(
    ("shape", "labels", "reason"),
    [
        (MetricType.COUNTER, (("__x", "1"),), EventError.RESERVED_LABEL),
        (MetricType.HISTOGRAM, (("le", "1"),), EventError.RESERVED_LABEL),
        (MetricType.SUMMARY, (("quantile", "1"),), EventError.RESERVED_LABEL),
        (MetricType.COUNTER, (("le", "1"),), None),
        (MetricType.HISTOGRAM, (("quantile", "1"),), None),
    ],
)
def test_labels_that_the_shape_prints_itself_are_refused(
    shape: MetricType, labels: Labels, reason: EventError | None
) -> None:
    """`le` is a histogram's, `quantile` a summary's, `__*` Prometheus' own."""
    rejection = put(SeriesStore(clock=Clock()), shape, "x", labels=labels)

    assert (rejection and rejection.reason) == reason


def test_an_empty_name_is_refused() -> None:
    """A name that mapping or tags left empty has no series."""
    rejection = put(SeriesStore(clock=Clock()), MetricType.COUNTER, "")

    assert rejection
    assert rejection.reason is EventError.EMPTY_METRIC_NAME


# First series, second series, whether the second one is refused.
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


@pytest.mark.parametrize(("first", "second", "refused"), CONFLICTS)
def test_the_first_type_owns_a_name(first: str, second: str, refused: bool) -> None:
    """The second is refused when both would print the same name, or nearly."""
    store = SeriesStore(clock=Clock())
    shape, name = first.split()
    put(store, MetricType(shape), name)
    shape, name = second.split()
    rejection = put(store, MetricType(shape), name)

    assert (rejection is not None) == refused
    assert not refused or (rejection and rejection.reason is EventError.CONFLICT)


NAMES = st.sampled_from(["a", "a_sum", "a_count", "a_bucket", "a_count_sum"])


@given(st.lists(st.tuples(st.sampled_from(list(MetricType)), NAMES), max_size=12))
def test_no_two_families_print_the_same_name(
    wanted: list[tuple[MetricType, str]],
) -> None:
    """Whatever comes in whatever order, each printed name has one family."""
    store = SeriesStore(clock=Clock())
    for shape, name in wanted:
        put(store, shape, name)
    printed = itertools.chain.from_iterable(
        [family.name, *(family.name + end for end in SUFFIXES.get(family.type, ()))]
        for family in store.families()
    )
    names = list(printed)

    assert len(names) == len(set(names))


def test_names_of_our_own_are_refused() -> None:
    """Neither the name itself nor one that a histogram would add to it."""
    store = SeriesStore(clock=Clock(), reserved={"go", "x_sum"})
    first = put(store, MetricType.GAUGE, "go")
    second = put(store, MetricType.HISTOGRAM, "x")

    assert first
    assert second
    assert {first.reason, second.reason} == {EventError.CONFLICT}


def test_the_limit_refuses_new_series_and_keeps_old_ones() -> None:
    """Beyond the limit an old series still counts."""
    store = SeriesStore(clock=Clock(), max_series=2)
    put(store, MetricType.COUNTER, "a")
    put(store, MetricType.COUNTER, "b")
    rejection = put(store, MetricType.COUNTER, "c")
    put(store, MetricType.COUNTER, "a")

    assert rejection
    assert rejection.reason is EventError.SERIES_LIMIT
    assert numbers(store) == {"a": [(2,)], "b": [(1,)]}


def test_a_series_expires_when_it_was_not_updated_for_its_ttl() -> None:
    """An update refreshes it; what expired starts anew, and its type is released."""
    clock = Clock()
    store = SeriesStore(clock=clock)
    put(store, MetricType.COUNTER, "a", ttl=10)
    put(store, MetricType.COUNTER, "b")
    clock.now += 8
    put(store, MetricType.COUNTER, "a", ttl=10)

    clock.now += 8
    assert store.expire(clock.now) == 0
    clock.now += 3
    assert store.expire(clock.now) == 1
    assert set(numbers(store)) == {"b"}
    assert len(store) == 1
    assert put(store, MetricType.GAUGE, "a") is None


def test_a_changed_ttl_holds_from_the_next_sample() -> None:
    """A reload may shorten, set or lift the time to live."""
    clock = Clock()
    store = SeriesStore(clock=clock)
    put(store, MetricType.COUNTER, "a", ttl=1000)
    put(store, MetricType.COUNTER, "b")
    put(store, MetricType.COUNTER, "c", ttl=5)
    clock.now += 1
    put(store, MetricType.COUNTER, "a", ttl=5)
    put(store, MetricType.COUNTER, "b", ttl=5)
    put(store, MetricType.COUNTER, "c")
    clock.now += 6

    assert store.expire(clock.now) == 2
    assert set(numbers(store)) == {"c"}


def test_families_and_series_are_in_the_order_of_the_page() -> None:
    """Names ascend; fewer labels come first, then the values."""
    store = SeriesStore(clock=Clock())
    for labels in ((("a", "2"),), (("a", "1"), ("b", "0")), (), (("a", "1"),)):
        put(store, MetricType.COUNTER, "x", labels=labels)
    put(store, MetricType.COUNTER, "w")
    second, first = store.families()[1], store.families()[0]

    assert first.name == "w"
    assert list(second.label_texts()) == ["", 'a="1"', 'a="2"', 'a="1",b="0"']


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
    all_labels: list[Labels], looked: int
) -> None:
    """Fewer labels first, then value by value as sent, whatever the labels' names."""
    store = SeriesStore(clock=Clock())
    for labels in all_labels[:looked]:
        put(store, MetricType.COUNTER, "x", labels=labels)
    for family in store.families():
        family.label_texts()
    for labels in all_labels[looked:]:
        put(store, MetricType.COUNTER, "x", labels=labels)
    seen = [text for family in store.families() for text in family.label_texts()]
    labels_of = {format_labels(labels): labels for labels in all_labels}
    values = [[value for _, value in labels_of[text]] for text in seen]

    assert len(seen) == len(all_labels)
    assert values == sorted(values, key=lambda each: (len(each), each))


@given(
    st.lists(
        st.tuples(st.sampled_from("+-?"), st.sampled_from("abcdefgh")), max_size=40
    )
)
def test_keys_are_in_order_whenever_somebody_looks(
    steps: list[tuple[str, str]],
) -> None:
    """Keys come, go and come back; what was seen before stays as it was."""
    keys: Ordered[int] = Ordered()
    looks: list[tuple[list[str], list[str]]] = []
    for step, key in steps:
        if step == "+":
            keys[key] = 1
        elif step == "-" and key in keys:
            keys.remove(key)
        elif step == "?":
            looks.append((keys.in_order(), sorted(keys)))

    assert keys.in_order() == sorted(keys)
    assert [seen for seen, _ in looks] == [right for _, right in looks]


def test_buckets_are_fixed_by_the_first_series_of_a_label_set() -> None:
    """The same label names keep the first form; others take the new one."""
    store = SeriesStore(clock=Clock())
    old = MetricOptions(MetricType.HISTOGRAM, "h", buckets=(1.0,))
    new = MetricOptions(MetricType.HISTOGRAM, "h", buckets=(1.0, 2.0))
    for form, labels in ((old, (("a", "1"),)), (new, (("a", "2"),)), (new, ())):
        sample = Sample(SampleType.OBSERVER, "h", 1.0)
        store.record(SeriesSpec("h", labels, form), sample)
    (family,) = store.families()

    assert {
        labels: len(each.options.buckets) for labels, each in family.series.items()
    } == {"": 2, 'a="1"': 1, 'a="2"': 1}


def test_sets_of_label_names_are_counted_once_and_for_ever() -> None:
    """As statsd_exporter_metrics_total has them: by type, refused ones left out."""
    clock = Clock()
    store = SeriesStore(clock=clock)
    for labels in ((), (("a", "1"),), (("a", "2"),), (("b", "1"),)):
        put(store, MetricType.COUNTER, "x", labels=labels, ttl=1.0)
    put(store, MetricType.GAUGE, "x")
    put(store, MetricType.SUMMARY, "y")
    clock.now += 5.0
    store.expire(clock.now)

    assert dict(store.label_sets_total) == {
        MetricType.COUNTER: 3,
        MetricType.SUMMARY: 1,
    }
