"""The rows themselves: names, labels, and how many series they can make."""

from __future__ import annotations

import pytest

from crocbot.telemetry import catalogue
from crocbot.telemetry.catalogue import CATALOGUE, Metric, Segment, Type

TWO = Metric(
    "crocbot.two",
    "crocbot_two_seconds",
    Type.HISTOGRAM,
    "seconds",
    "Help.",
    "crocbot_two_seconds_sum",
    (Segment("left", ("a", "b")), Segment("right", ("x", "y", "z"))),
    buckets=(1.0, 2.0),
)


def test_a_row_writes_its_names() -> None:
    """Glob, pattern, labels and path come from the same segments."""
    assert TWO.match == "crocbot.two.*.*"
    assert TWO.pattern == "crocbot.two.<left>.<right>"
    assert TWO.labels == (("left", "$1"), ("right", "$2"))
    assert TWO.path("a", "z") == "crocbot.two.a.z"


def test_a_row_counts_its_series() -> None:
    """Two times three words; two buckets, +Inf, sum and count each."""
    assert TWO.series == 2 * 3 * (2 + 3)
    assert len(list(TWO.words())) == 6


@pytest.mark.parametrize(
    "words",
    [(), ("a",), ("a", "x", "x"), ("c", "x"), ("a", "X"), ("a", "")],
)
def test_a_row_takes_only_its_own_words(words: tuple[str, ...]) -> None:
    """A foreign word, or one too many, is a bug that shows at the start."""
    with pytest.raises(ValueError, match=r"crocbot\.two"):
        TWO.path(*words)


@pytest.mark.parametrize(
    "word", ["1.2", "a b", "a:b", "a|b", "a\nb", "é", "x" * 65, ""]
)
def test_a_free_segment_takes_no_text_that_could_break_the_line(word: str) -> None:
    """A segment chosen at the start is still one segment of the statsd grammar."""
    with pytest.raises(ValueError, match="no name segment"):
        catalogue.BUILD_INFO.path("0", "1", word)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda m: m.name)
def test_a_row_is_in_the_style_of_prometheus(metric: Metric) -> None:
    """Counters end in _total and nothing else does; units are base units, spelled."""
    assert metric.name.startswith("crocbot_")
    assert metric.name.endswith("_total") == (metric.type is Type.COUNTER)
    for unit in ("seconds", "bytes"):
        assert (metric.unit == unit) == (f"_{unit}" in metric.name)
    assert bool(metric.buckets) == (metric.type is Type.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.help.endswith(".")
    assert metric.name in metric.query
    assert metric.source
    assert metric.ttl == ("60s" if metric.type is Type.GAUGE else "")


def test_names_are_there_once() -> None:
    """No two rows share a name on either side."""
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    assert len({metric.statsd for metric in CATALOGUE}) == len(CATALOGUE)


def test_every_row_is_in_the_catalogue() -> None:
    """A row that somebody forgot to list would be in no document."""
    rows = {value for value in vars(catalogue).values() if isinstance(value, Metric)}

    assert rows == set(CATALOGUE)
