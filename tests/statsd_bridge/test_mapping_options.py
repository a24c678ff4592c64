"""Observers have the options of the rule, the defaults or the built-in ones."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from statsd_bridge import mapping
from statsd_bridge.errors import ConfigError
from statsd_bridge.mapping import options
from statsd_bridge.model import (
    MetricOptions,
    MetricType,
    NativeOptions,
    Quantile,
    SampleType,
)

SUMMARY = MetricOptions(
    MetricType.SUMMARY, options.DEFAULT_HELP, quantiles=options.DEFAULT_QUANTILES
)
NATIVE = NativeOptions(schema=3, max_buckets=256)
HISTOGRAM = MetricOptions(
    MetricType.HISTOGRAM,
    options.DEFAULT_HELP,
    buckets=options.DEFAULT_BUCKETS,
    native=NATIVE,
)

LOW = "quantiles: [{quantile: 0.4, error: 0.04}]"
LOW_READ = (Quantile(0.4, 0.04),)
HIGH = "quantiles: [{quantile: 0.8, error: 0.08}]"
HIGH_READ = (Quantile(0.8, 0.08),)
ONE_AND_TWO = (1.0, 2.0)


def observed(defaults: str, rule: str) -> MetricOptions:
    """Return the options of a timer that the rule matches."""
    text = f"defaults: {{{defaults}}}\nmappings: [{{match: a, name: a, {rule}}}]"
    return mapping.parse(text, "f").look_up(SampleType.OBSERVER, "a").untagged.options


def summary(
    quantiles: tuple[Quantile, ...], max_age: float = 600.0, age_buckets: int = 5
) -> MetricOptions:
    """Return the options of a summary."""
    return MetricOptions(
        MetricType.SUMMARY,
        options.DEFAULT_HELP,
        quantiles=quantiles,
        max_age=max_age,
        age_buckets=age_buckets,
    )


def histogram(*buckets: float, native: NativeOptions | None = NATIVE) -> MetricOptions:
    """Return the options of a histogram."""
    return MetricOptions(
        MetricType.HISTOGRAM, options.DEFAULT_HELP, buckets=buckets, native=native
    )


RESOLVED = [
    # Which type: the rule's, the defaults', summary.
    ("", "", SUMMARY),
    ("observer_type: histogram", "", HISTOGRAM),
    ("observer_type: histogram", "observer_type: summary", SUMMARY),
    ("observer_type: histogram", "observer_type: ~", HISTOGRAM),
    # An empty word sets a type; a missing one is inherited.
    ("observer_type: histogram", "observer_type: ''", SUMMARY),
    ("observer_type: summary", "observer_type: histogram", HISTOGRAM),
    # Quantiles: the rule's, the defaults', built in; an empty list is not set.
    (f"summary_options: {{{LOW}}}", "", summary(LOW_READ)),
    (f"summary_options: {{{LOW}}}", "summary_options: {}", summary(LOW_READ)),
    (
        f"summary_options: {{{LOW}}}",
        f"summary_options: {{{HIGH}}}",
        summary(HIGH_READ),
    ),
    ("summary_options: {quantiles: []}", "summary_options: {quantiles: []}", SUMMARY),
    # Ages are inherited if a type is set or the rule has no options.
    (
        "observer_type: summary, summary_options: {max_age: 1m, age_buckets: 2}",
        "summary_options: {}",
        summary(options.DEFAULT_QUANTILES, 60.0, 2),
    ),
    (
        "summary_options: {max_age: 1m, age_buckets: 2}",
        "observer_type: summary, summary_options: {max_age: 2m}",
        summary(options.DEFAULT_QUANTILES, 120.0, 2),
    ),
    ("summary_options: {max_age: 1m}", "", summary(options.DEFAULT_QUANTILES, 60.0)),
    # Otherwise only quantiles are inherited.
    (
        f"summary_options: {{max_age: 1m, age_buckets: 2, {LOW}}}",
        f"summary_options: {{{HIGH}}}",
        summary(HIGH_READ),
    ),
    (
        f"summary_options: {{max_age: 1m, age_buckets: 2, {LOW}}}",
        "summary_options: {max_age: 3m}",
        summary(LOW_READ, 180.0),
    ),
    # Buckets.
    (
        "observer_type: histogram, histogram_options: {buckets: [1, 2]}",
        "",
        histogram(1, 2),
    ),
    (
        "observer_type: histogram, histogram_options: {buckets: [1, 2]}",
        "histogram_options: {buckets: [3]}",
        histogram(3),
    ),
    ("observer_type: histogram, histogram_options: {buckets: []}", "", HISTOGRAM),
    ("observer_type: histogram", "histogram_options: {}", HISTOGRAM),
    # The bucket +Inf always exists.
    (
        "",
        "observer_type: histogram, histogram_options: {buckets: [1, .inf]}",
        histogram(1),
    ),
    ("", "observer_type: histogram, buckets: [.inf]", histogram()),
    ("", "observer_type: histogram, buckets: [-.inf, 0]", histogram(-math.inf, 0)),
    # Without a type, histogram options have no effect.
    ("", "histogram_options: {buckets: [3]}", SUMMARY),
    (
        "",
        f"histogram_options: {{buckets: [3]}}, summary_options: {{{LOW}}}",
        summary(LOW_READ),
    ),
    # Legacy keys.
    ("timer_type: histogram", "", HISTOGRAM),
    ("timer_type: histogram, observer_type: summary", "", SUMMARY),
    ("", "timer_type: histogram", HISTOGRAM),
    ("", "timer_type: histogram, observer_type: summary", SUMMARY),
    ("observer_type: histogram", "timer_type: summary", SUMMARY),
    (LOW, "", summary(LOW_READ)),
    (f"{LOW}, summary_options: {{{HIGH}}}", "", summary(HIGH_READ)),
    # In the defaults, they replace the whole group.
    (f"{LOW}, summary_options: {{max_age: 1m}}", "", summary(LOW_READ)),
    ("timer_type: histogram, buckets: [1, 2]", "", histogram(1, 2)),
    (
        "timer_type: histogram, buckets: [1], histogram_options: {buckets: [2]}",
        "",
        histogram(2),
    ),
    ("", f"observer_type: summary, {LOW}", summary(LOW_READ)),
    ("", "observer_type: histogram, buckets: [1, 2]", histogram(1, 2)),
    (
        "observer_type: summary, summary_options: {max_age: 1m}",
        f"{LOW}, summary_options: {{age_buckets: 3}}",
        summary(LOW_READ, 60.0, 3),
    ),
    # In a rule without a type, they have no effect.
    ("", LOW, SUMMARY),
    ("", "buckets: [1, 2]", SUMMARY),
    # For the other type, they have no effect.
    ("observer_type: histogram", LOW, HISTOGRAM),
    # Without effect.
    ("", "summary_options: {buf_cap: 1000}", SUMMARY),
]


@pytest.mark.parametrize(("defaults", "rule", "expected"), RESOLVED)
def test_options_are_inherited_like_in_statsd_exporter(
    defaults: str, rule: str, expected: MetricOptions
) -> None:
    """Options are inherited like in statsd_exporter."""
    assert observed(defaults, rule) == expected


FACTOR, MAXIMUM = "native_histogram_bucket_factor", "native_histogram_max_buckets"
NATIVE_OPTIONS = [
    # The rule's, else those of the defaults, else 1.1 and 256; each for itself.
    ("", f"{FACTOR}: 2, {MAXIMUM}: 9", NativeOptions(0, 9)),
    ("", f"{FACTOR}: 2", NativeOptions(0, 256)),
    (f"{FACTOR}: 4", f"{MAXIMUM}: 9", NativeOptions(-1, 9)),
    (f"{FACTOR}: 4, {MAXIMUM}: 7", "", NativeOptions(-1, 7)),
    (f"{FACTOR}: 4, {MAXIMUM}: 7", f"{FACTOR}: 0, {MAXIMUM}: 0", NativeOptions(-1, 7)),
    (f"{FACTOR}: 0, {MAXIMUM}: 0", "", NATIVE),
    (f"{FACTOR}: -0.0", f"{FACTOR}: ~", NATIVE),
    # The work for a series is bounded.
    ("", f"{MAXIMUM}: 10000", NativeOptions(3, 10_000)),
    (f"{MAXIMUM}: 4294967295", "", NativeOptions(3, 10_000)),
    # 1 or less, but above 0, turns them off.
    (f"{FACTOR}: 1", "", None),
    (f"{FACTOR}: 1e-300", "", None),
    ("", f"{FACTOR}: 1.0", None),
    (f"{FACTOR}: 1", f"{FACTOR}: 1.1", NATIVE),
    (f"{FACTOR}: .inf", "", NativeOptions(-4, 256)),
    # The legacy key of the defaults replaces nothing if there are buckets.
    (f"{FACTOR}: 2, buckets: [1, 2]", "", NativeOptions(0, 256)),
]


@pytest.mark.parametrize(("defaults", "rule", "expected"), NATIVE_OPTIONS)
def test_native_options_are_inherited_like_in_statsd_exporter(
    defaults: str, rule: str, expected: NativeOptions | None
) -> None:
    """A key that is 0 or absent is inherited."""
    resolved = observed(
        f"observer_type: histogram, histogram_options: {{{defaults}}}",
        f"histogram_options: {{{rule}}}",
    )
    assert resolved.native == expected


def test_legacy_buckets_of_the_defaults_replace_native_options() -> None:
    """Like in statsd_exporter, all of histogram_options."""
    defaults = f"buckets: [1, 2], histogram_options: {{{FACTOR}: 2, {MAXIMUM}: 9}}"

    assert observed(f"observer_type: histogram, {defaults}", "") == histogram(1.0, 2.0)


def test_quantiles_are_sorted_and_unique() -> None:
    """Quantiles are sorted; of two errors for one, the last counts."""
    ranks = "{quantile: 0.9, error: 0.1}, {quantile: 0.5}, {quantile: 0.9, error: 0.2}"
    form = observed("", f"summary_options: {{quantiles: [{ranks}]}}")

    assert form.quantiles == (Quantile(0.5, 0.0), Quantile(0.9, 0.2))


def test_unmapped_names_have_the_default_options() -> None:
    """Unmapped names have the options of the defaults."""
    text = "defaults: {observer_type: histogram, ttl: 1h, buckets: [1, 2]}"
    table = mapping.parse(text, "f")

    assert [table.look_up(kind, "a").untagged.options for kind in SampleType] == [
        MetricOptions(MetricType.COUNTER, options.DEFAULT_HELP, ttl=3600.0),
        MetricOptions(MetricType.GAUGE, options.DEFAULT_HELP, ttl=3600.0),
        replace(histogram(*ONE_AND_TWO), ttl=3600.0),
        MetricOptions(MetricType.SET, options.DEFAULT_HELP, ttl=3600.0),
    ]


@pytest.mark.parametrize(
    ("defaults", "rule", "ttl"),
    [
        ("", "", 0.0),
        ("", "ttl: 90s", 90.0),
        ("ttl: 1m", "", 60.0),
        ("ttl: 1m", "ttl: 90s", 90.0),
        ("ttl: 1m", "ttl: 0s", 60.0),
        ("", "ttl: 10", 1e-8),
    ],
)
def test_a_ttl_of_zero_does_not_override_the_default(
    defaults: str, rule: str, ttl: float
) -> None:
    """A ttl of zero does not override that of the defaults."""
    assert observed(defaults, rule).ttl == ttl


@pytest.mark.parametrize(
    ("rule", "scale"),
    [("", None), ("scale: ~", None), ("scale: 0", 0.0), ("scale: -1e-3", -0.001)],
)
def test_a_scale_of_zero_is_not_a_missing_scale(rule: str, scale: float | None) -> None:
    """A scale of zero is not a missing scale."""
    assert observed("", rule).scale == scale


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("", options.DEFAULT_HELP),
        ("help: ''", options.DEFAULT_HELP),
        ("help: 007", "007"),
    ],
)
def test_a_missing_help_text_is_that_of_statsd_exporter(rule: str, text: str) -> None:
    """A missing or empty help text is that of statsd_exporter."""
    assert observed("", rule).help == text


WARNED = [
    ("timer_type: summary", "timer_type: is a legacy key; write observer_type"),
    (
        f"observer_type: summary, {LOW}",
        "quantiles: is a legacy key; write summary_options.quantiles",
    ),
    (
        "observer_type: histogram, buckets: [1]",
        "buckets: is a legacy key; write histogram_options.buckets",
    ),
    (
        "histogram_options: {}",
        "histogram_options: is ignored, since no observer_type is set",
    ),
]


@pytest.mark.parametrize(("rule", "warning"), WARNED)
def test_legacy_keys_and_options_without_effect_are_warnings(
    rule: str, warning: str
) -> None:
    """Legacy keys and options without effect are warnings."""
    table = mapping.parse(f"mappings: [{{match: a, name: a, {rule}}}]", "f")

    assert table.warnings == (f"f: mappings[0].{warning} (line 1)",)


@pytest.mark.parametrize(
    ("max_age", "age_buckets", "accepted"),
    [("5us", 5, True), ("4us", 5, False), ("10ms", 10_000, True), ("1s", 1, True)],
)
def test_a_window_too_short_for_its_age_buckets_is_refused(
    max_age: str, age_buckets: int, accepted: bool
) -> None:
    """A window that is too short for its age buckets is refused."""
    defaults = f"summary_options: {{max_age: {max_age}, age_buckets: {age_buckets}}}"
    if accepted:
        assert observed(defaults, "").age_buckets == age_buckets
        return
    with pytest.raises(ConfigError, match="too short"):
        observed(defaults, "")
