"""Sample type and name give a match; an invalid file gives an error of one line."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statsd_bridge import mapping
from statsd_bridge.errors import ConfigError
from statsd_bridge.mapping import Match
from statsd_bridge.model import (
    Action,
    Labels,
    MetricOptions,
    MetricType,
    SampleType,
    SeriesSpec,
)
from tests.statsd_bridge.in_memory import InMemoryPath


@pytest.mark.parametrize(
    "text",
    ["", "{}", "~", "# nothing", "mappings:", "mappings: []", "defaults:\nmappings: ~"],
)
def test_an_empty_file_is_a_table_without_rules(text: str) -> None:
    """An empty file is a table without rules."""
    table = mapping.parse(text, "f", strict=True)

    assert (len(table), table.search.rules, table.warnings) == (0, (), ())


def test_without_a_file_every_name_is_unmapped() -> None:
    """Without a file, every name is unmapped."""
    match = mapping.parse("", "").look_up(SampleType.COUNTER, "foo.bar-baz")

    assert match.action is Action.UNMAPPED
    assert match.spec(()) == SeriesSpec("foo_bar_baz", (), match.untagged.options)
    assert match.untagged.options.type is MetricType.COUNTER


RULES = """
defaults: {ttl: 1h}
mappings:
- {match: '.*', match_type: regex, match_metric_type: gauge, name: any, labels: {l: $0}}
- {match: a.*.*, name: 'x_${1}_y', labels: {one: $1, all: $1-$2-$1, suf: $1_x, no: $3}}
- {match: drop.*, name: dropped, action: drop}
- {match: t.*, name: t_c, match_metric_type: counter, labels: {who: $1}}
- {match: t.*, name: t_o, match_metric_type: observer, labels: {who: $1}, scale: 2}
- {match: '*.empty', name: $1}
- {match: '^r\\.(?P<n>\\d+)', match_type: regex, name: r, labels: {n: $n, whole: $0}}
"""

LOOK_UPS: list[tuple[SampleType, str, Action, str, Labels, tuple[str, ...]]] = [
    (
        SampleType.COUNTER,
        "a.foo.bar",
        Action.MAP,
        "x_foo_y",
        (("all", "foo-bar-foo"), ("no", ""), ("one", "foo"), ("suf", "")),
        ("foo", "bar"),
    ),
    (
        SampleType.COUNTER,
        "a..b-r",
        Action.MAP,
        "x__y",
        (("all", "-b-r-"), ("no", ""), ("one", ""), ("suf", "")),
        ("", "b-r"),
    ),
    (SampleType.COUNTER, "a.b", Action.UNMAPPED, "a_b", (), ()),
    (SampleType.COUNTER, "A.b.c", Action.UNMAPPED, "A_b_c", (), ()),
    (SampleType.COUNTER, "drop.x", Action.DROP, "dropped", (), ("x",)),
    (SampleType.COUNTER, "t.x", Action.MAP, "t_c", (("who", "x"),), ("x",)),
    (SampleType.OBSERVER, "t.x", Action.MAP, "t_o", (("who", "x"),), ("x",)),
    # Sets match rules for gauges; the regex, though first, comes after the globs.
    (SampleType.GAUGE, "t.x", Action.MAP, "any", (("l", "t.x"),), ()),
    (SampleType.SET, "t.x", Action.MAP, "any", (("l", "t.x"),), ()),
    (SampleType.GAUGE, "drop.x", Action.DROP, "dropped", (), ("x",)),
    # The expanded name may be empty, or need escaping.
    (SampleType.COUNTER, ".empty", Action.MAP, "", (), ("",)),
    (SampleType.COUNTER, "4ü.empty", Action.MAP, "_4_", (), ("4ü",)),
    (
        SampleType.COUNTER,
        "r.12.x",
        Action.MAP,
        "r",
        (("n", "12"), ("whole", "r.12")),
        ("12",),
    ),
    (SampleType.COUNTER, "pre.r.12", Action.UNMAPPED, "pre_r_12", (), ()),
    (SampleType.COUNTER, "", Action.UNMAPPED, "", (), ()),
    (SampleType.GAUGE, "", Action.MAP, "any", (("l", ""),), ()),
]


@pytest.mark.parametrize(
    ("sample_type", "name", "action", "metric", "labels", "captures"), LOOK_UPS
)
@pytest.mark.parametrize("cache_size", [0, 1, 1000])
def test_a_name_has_the_match_of_its_rule(
    *,
    sample_type: SampleType,
    name: str,
    action: Action,
    metric: str,
    labels: Labels,
    captures: tuple[str, ...],
    cache_size: int,
) -> None:
    """A name is matched and expanded alike, cached or not."""
    table = mapping.parse(RULES, "f", cache_size=cache_size)

    for _ in range(2):
        match = table.look_up(sample_type, name)
        assert match.action is action
        assert (match.untagged.name, match.untagged.labels, match.captures) == (
            metric,
            labels,
            captures,
        )
        assert (match.rule is None) is (action is Action.UNMAPPED)
        assert match.untagged.options.ttl == 3600


@pytest.mark.parametrize(
    ("sample_type", "metric_type"),
    [
        (SampleType.COUNTER, MetricType.COUNTER),
        (SampleType.GAUGE, MetricType.GAUGE),
        (SampleType.OBSERVER, MetricType.SUMMARY),
        (SampleType.SET, MetricType.SET),
    ],
)
def test_each_sample_type_has_its_metric_type(
    sample_type: SampleType, metric_type: MetricType
) -> None:
    """Each sample type has its metric type, mapped or not."""
    table = mapping.parse("mappings: [{match: a, name: a}]", "f")

    assert table.look_up(sample_type, "a").untagged.options.type is metric_type
    assert table.look_up(sample_type, "b").untagged.options.type is metric_type


OPTIONS = MetricOptions(MetricType.COUNTER, "help")
SPECS: list[tuple[Labels, bool, Labels, Labels]] = [
    ((), False, (), ()),
    ((("a", "rule"),), False, (), (("a", "rule"),)),
    ((), False, (("a", "tag"),), (("a", "tag"),)),
    ((("a", "rule"),), False, (("a", "tag"),), (("a", "rule"),)),
    ((("a", "rule"),), True, (("a", "tag"),), (("a", "tag"),)),
    (
        (("b", "rule"), ("c", "rule")),
        False,
        (("a", "tag"), ("c", "tag"), ("d", "tag")),
        (("a", "tag"), ("b", "rule"), ("c", "rule"), ("d", "tag")),
    ),
    (
        (("b", "rule"), ("c", "rule")),
        True,
        (("a", "tag"), ("c", "tag")),
        (("a", "tag"), ("b", "rule"), ("c", "tag")),
    ),
]


@pytest.mark.parametrize(("labels", "honor", "tags", "expected"), SPECS)
def test_rule_labels_override_tags_unless_honored(
    labels: Labels, honor: bool, tags: Labels, expected: Labels
) -> None:
    """Rule labels override tags unless honored; all labels are kept, sorted."""
    match = Match(Action.MAP, SeriesSpec("name", labels, OPTIONS), honor)

    assert match.spec(tags) == SeriesSpec("name", expected, OPTIONS)


def test_the_cache_counts_misses_and_hits_by_type() -> None:
    """Misses are cached too; sample types have separate entries."""
    table = mapping.parse(RULES, "f")
    for sample_type, name in [
        (SampleType.COUNTER, "a.b.c"),
        (SampleType.COUNTER, "a.b.c"),
        (SampleType.GAUGE, "a.b.c"),
        (SampleType.COUNTER, "unmapped"),
        (SampleType.COUNTER, "unmapped"),
    ]:
        table.look_up(sample_type, name)

    assert table.cache == (3, 5, 2)


@pytest.mark.parametrize("size", [0, 1, 7])
def test_the_cache_does_not_exceed_its_size(size: int) -> None:
    """The cache does not exceed its size."""
    table = mapping.parse(RULES, "f", cache_size=size)
    for i in range(100):
        table.look_up(SampleType.COUNTER, f"a.{i}.c")

    assert table.cache.length == size


def test_recently_used_names_stay_cached() -> None:
    """The least recently used name is evicted."""
    table = mapping.parse(RULES, "f", cache_size=2)
    for name in ("a", "b", "a", "c", "a"):
        table.look_up(SampleType.COUNTER, name)

    assert table.cache.hits == 2


def test_long_names_are_not_cached() -> None:
    """A long name is matched but not cached, which bounds the cache in bytes."""
    table = mapping.parse(RULES, "f")
    match = table.look_up(SampleType.COUNTER, f"a.{'x' * 60_000}.b")

    assert match.action is Action.MAP
    assert table.cache.length == 0


def test_an_uncached_look_up_is_not_counted() -> None:
    """A look-up past the cache leaves its counters alone."""
    table = mapping.parse(RULES, "f")
    table.search.look_up(SampleType.COUNTER, "a.b.c")

    assert table.cache.gets == 0


NAMES = st.text(alphabet="arbt.12-*ü\0\ud800 \n", max_size=12) | st.text(max_size=5)


SMALL_CACHE = mapping.parse(RULES, "f", cache_size=3)


@given(st.sampled_from(SampleType), NAMES)
def test_any_name_has_the_same_match_cached_or_not(
    sample_type: SampleType, name: str
) -> None:
    """Any name has the same match from the cache, new or used, and from the rules."""
    expected = SMALL_CACHE.search.look_up(sample_type, name)
    for _ in range(2):
        assert SMALL_CACHE.look_up(sample_type, name) == expected


def flow(value: object) -> str:
    """Return a value as YAML in one line."""
    if isinstance(value, dict):
        pairs = (f"{key}: {flow(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    return str(value)


SCALARS = """
    ~ yes 0 1 -1 0.5 1e-6 .nan .inf 99999999999999999999 007 a a.* '*.b' '' $1 ${1}x
    a..b le __x histogram summary glob regex counter gauge drop 10 1s -1s 1h '[' '('
    &a *a *b !!int !!str
"""
KEYS = """
    defaults mappings match match_type match_metric_type name labels honor_labels action
    observer_type timer_type summary_options histogram_options ttl scale help quantiles
    quantile error max_age age_buckets buf_cap buckets native_histogram_bucket_factor
    native_histogram_max_buckets glob_disable_ordering a le zzz << '<<'
"""
KEY = st.sampled_from(KEYS.split())
VALUES: st.SearchStrategy[object] = st.recursive(
    st.sampled_from(SCALARS.split()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=4),
    max_leaves=12,
)
PLAUSIBLE: dict[str, st.SearchStrategy[object]] = {
    "observer_type": st.sampled_from(["summary", "histogram", "~", "''"]),
    "match_type": st.sampled_from(["glob", "regex"]),
    "ttl": st.sampled_from(["1s", "10", "0"]),
    "labels": st.just({"a": "$1", "b": "$1_x"}),
    "quantiles": st.just([{"quantile": "0.5", "error": "0.1"}]),
    "buckets": st.lists(st.sampled_from(["1", "2", ".inf"]), max_size=3),
    "summary_options": st.just({"max_age": "1m"}) | st.just({"age_buckets": "9"}),
    "histogram_options": st.just({"buckets": ["1"]}),
    "glob_disable_ordering": st.sampled_from(["yes", "no"]),
}
SECTIONS = st.dictionaries(KEY, VALUES, max_size=5) | st.fixed_dictionaries(
    {}, optional=PLAUSIBLE
)
ENTRIES = SECTIONS.map(lambda section: {"match": "a.*", "name": "a", **section})
DOCUMENTS = st.one_of(
    VALUES,
    st.fixed_dictionaries({"defaults": SECTIONS, "mappings": st.lists(ENTRIES)}),
    st.fixed_dictionaries({"mappings": st.lists(ENTRIES, min_size=1, max_size=3)}),
).map(flow)


def outcome(text: str | bytes, *, strict: bool) -> mapping.MappingTable | str:
    """Return the table, or the text of the error."""
    try:
        return mapping.parse(text, "f", strict=strict)
    except ConfigError as error:
        return str(error)


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS | st.text(max_size=60) | st.binary(max_size=60), st.booleans())
def test_any_document_is_a_table_or_an_error_of_one_line(
    text: str | bytes, strict: bool
) -> None:
    """Any document gives a table or an error of one line."""
    table = outcome(text, strict=strict)
    if isinstance(table, str):
        assert table.startswith("f: ")
        assert table.isprintable()
        return
    for sample_type in SampleType:
        match = table.look_up(sample_type, "a.b")
        assert match.rule in (None, *table.search.rules)
        list(mapping.near_misses(table.search.rules, match.rule, sample_type, "a.b"))
    assert all(warning.isprintable() for warning in table.warnings)
    mapping.to_dot(table)


def test_a_replaced_table_is_freed_at_once() -> None:
    """No reference cycle keeps a table, its rules and its cache after a reload."""
    memory = InMemoryPath("mappings: [{match: a.*, name: a}]")
    memory.feed(b"a.b:1|c")
    old = weakref.ref(memory.plain.table)
    gc.disable()
    try:
        memory.pipeline.replace_table(mapping.parse("", ""))
        assert old() is None
    finally:
        gc.enable()
