"""Observers take their options from the rule, the defaults and what is built in."""

from __future__ import annotations

import math

import pytest

from statsd_bridge import mapping
from statsd_bridge.errors import ConfigError
from statsd_bridge.mapping import options
from statsd_bridge.model import MetricOptions, MetricType, Quantile, SampleType

SUMMARY = MetricOptions(MetricType.SUMMARY, options.HELP, quantiles=options.QUANTILES)
HISTOGRAM = MetricOptions(MetricType.HISTOGRAM, options.HELP, buckets=options.BUCKETS)

LOW = "quantiles: [{quantile: 0.4, error: 0.04}]"
LOW_READ = (Quantile(0.4, 0.04),)
HIGH = "quantiles: [{quantile: 0.8, error: 0.08}]"
HIGH_READ = (Quantile(0.8, 0.08),)
ONE_AND_TWO = (1.0, 2.0)


def observed(defaults: str, rule: str) -> MetricOptions:
    """Give the form of a timer that a rule takes."""
    text = f"defaults: {{{defaults}}}\nmappings: [{{match: a, name: a, {rule}}}]"
    return mapping.parse(text, "f").look_up(SampleType.OBSERVER, "a").options


def summary(
    quantiles: tuple[Quantile, ...], max_age: float = 600.0, age_buckets: int = 5
) -> MetricOptions:
    """Make the form of a summary."""
    return MetricOptions(
        MetricType.SUMMARY,
        options.HELP,
        quantiles=quantiles,
        max_age=max_age,
        age_buckets=age_buckets,
    )


def histogram(*buckets: float) -> MetricOptions:
    """Make the form of a histogram."""
    return MetricOptions(MetricType.HISTOGRAM, options.HELP, buckets=buckets)


RESOLVED = [
    # Which type: the rule's, the defaults', summary.
    ("", "", SUMMARY),
    ("observer_type: histogram", "", HISTOGRAM),
    ("observer_type: histogram", "observer_type: summary", SUMMARY),
    ("observer_type: histogram", "observer_type: ~", HISTOGRAM),
    # An empty word is not a missing one.
    ("observer_type: histogram", "observer_type: ''", SUMMARY),
    ("observer_type: summary", "observer_type: histogram", HISTOGRAM),
    # Quantiles: the rule's, the defaults', built in; none is like nothing.
    (f"summary_options: {{{LOW}}}", "", summary(LOW_READ)),
    (f"summary_options: {{{LOW}}}", "summary_options: {}", summary(LOW_READ)),
    (
        f"summary_options: {{{LOW}}}",
        f"summary_options: {{{HIGH}}}",
        summary(HIGH_READ),
    ),
    ("summary_options: {quantiles: []}", "summary_options: {quantiles: []}", SUMMARY),
    # Ages are inherited when the type was said somewhere, or no options are there.
    (
        "observer_type: summary, summary_options: {max_age: 1m, age_buckets: 2}",
        "summary_options: {}",
        summary(options.QUANTILES, 60.0, 2),
    ),
    (
        "summary_options: {max_age: 1m, age_buckets: 2}",
        "observer_type: summary, summary_options: {max_age: 2m}",
        summary(options.QUANTILES, 120.0, 2),
    ),
    ("summary_options: {max_age: 1m}", "", summary(options.QUANTILES, 60.0)),
    # Else only the quantiles are.
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
    # The bucket of everything is always there.
    (
        "",
        "observer_type: histogram, histogram_options: {buckets: [1, .inf]}",
        histogram(1),
    ),
    ("", "observer_type: histogram, buckets: [.inf]", histogram()),
    ("", "observer_type: histogram, buckets: [-.inf, 0]", histogram(-math.inf, 0)),
    # Without a type, histogram options are nothing.
    ("", "histogram_options: {buckets: [3]}", SUMMARY),
    (
        "",
        f"histogram_options: {{buckets: [3]}}, summary_options: {{{LOW}}}",
        summary(LOW_READ),
    ),
    # Old keys.
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
    # In a rule without a type, they are nothing.
    ("", LOW, SUMMARY),
    ("", "buckets: [1, 2]", SUMMARY),
    # Of the other type, they are nothing.
    ("observer_type: histogram", LOW, HISTOGRAM),
    # What has no place in the text format.
    (
        "",
        "observer_type: histogram, histogram_options: "
        "{native_histogram_bucket_factor: 1.05, native_histogram_max_buckets: 9}",
        HISTOGRAM,
    ),
    ("", "summary_options: {buf_cap: 1000}", SUMMARY),
]


@pytest.mark.parametrize(("defaults", "rule", "expected"), RESOLVED)
def test_resolved(defaults: str, rule: str, expected: MetricOptions) -> None:
    """The form of a timer follows statsd_exporter's rules of inheritance."""
    assert observed(defaults, rule) == expected


def test_quantiles_are_sorted_and_single() -> None:
    """Quantiles rise in the form; of two errors for one, the last counts."""
    ranks = "{quantile: 0.9, error: 0.1}, {quantile: 0.5}, {quantile: 0.9, error: 0.2}"
    form = observed("", f"summary_options: {{quantiles: [{ranks}]}}")

    assert form.quantiles == (Quantile(0.5, 0.0), Quantile(0.9, 0.2))


def test_unmapped() -> None:
    """Names without a rule have the forms of the defaults."""
    text = "defaults: {observer_type: histogram, ttl: 1h, buckets: [1, 2]}"
    table = mapping.parse(text, "f")

    assert [table.look_up(kind, "a").options for kind in SampleType] == [
        MetricOptions(MetricType.COUNTER, options.HELP, ttl=3600.0),
        MetricOptions(MetricType.GAUGE, options.HELP, ttl=3600.0),
        MetricOptions(
            MetricType.HISTOGRAM, options.HELP, ttl=3600.0, buckets=ONE_AND_TWO
        ),
        MetricOptions(MetricType.SET, options.HELP, ttl=3600.0),
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
def test_ttl(defaults: str, rule: str, ttl: float) -> None:
    """A ttl of zero does not hide the defaults'."""
    assert observed(defaults, rule).ttl == ttl


@pytest.mark.parametrize(
    ("rule", "scale"),
    [("", None), ("scale: ~", None), ("scale: 0", 0.0), ("scale: -1e-3", -0.001)],
)
def test_scale(rule: str, scale: float | None) -> None:
    """A scale of zero is a scale."""
    assert observed("", rule).scale == scale


@pytest.mark.parametrize(
    ("rule", "text"),
    [("", options.HELP), ("help: ''", options.HELP), ("help: 007", "007")],
)
def test_help(rule: str, text: str) -> None:
    """Without a help text there is the usual one."""
    assert observed("", rule).help == text


WARNED = [
    ("timer_type: summary", "timer_type: is an old key; write observer_type"),
    (
        f"observer_type: summary, {LOW}",
        "quantiles: is an old key; write summary_options.quantiles",
    ),
    (
        "observer_type: histogram, buckets: [1]",
        "buckets: is an old key; write histogram_options.buckets",
    ),
    (
        "histogram_options: {}",
        "histogram_options: is ignored, since no observer_type is set",
    ),
]


@pytest.mark.parametrize(("rule", "warning"), WARNED)
def test_warned(rule: str, warning: str) -> None:
    """Old keys and options without effect are told."""
    table = mapping.parse(f"mappings: [{{match: a, name: a, {rule}}}]", "f")

    assert table.warnings == (f"f: mappings[0].{warning} (line 1)",)


@pytest.mark.parametrize(
    ("max_age", "age_buckets", "accepted"),
    [("5us", 5, True), ("4us", 5, False), ("10ms", 10_000, True), ("1s", 1, True)],
)
def test_shortest_window(max_age: str, age_buckets: int, accepted: bool) -> None:
    """A window must be long enough to be cut into its steps."""
    said = f"summary_options: {{max_age: {max_age}, age_buckets: {age_buckets}}}"
    if accepted:
        assert observed(said, "").age_buckets == age_buckets
        return
    with pytest.raises(ConfigError, match="too short"):
        observed(said, "")
