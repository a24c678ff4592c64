"""How the pages of two programs differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.compare.differences import differences
from statsd_bridge.compare.history import Bracket, History
from statsd_bridge.compare.page import Series, read
from statsd_bridge.syntax import format_labels


def history(*brackets: tuple[str, str]) -> History:
    """Return a history of pairs of pages: statsd_exporter's and the bridge's."""
    read_all = [
        Bracket(before=read(ours), theirs=read(theirs), after=read(ours))
        for theirs, ours in brackets
    ]
    made = History(first=read_all[0], last=read_all[0])
    for bracket in read_all:
        made.note(bracket)
    return made


COUNTER = "# TYPE c counter\nc {}\n"
GAUGE = "# TYPE g gauge\ng {}\n"
SUMMARY = '# TYPE s summary\ns{{quantile="0.5"}} {}\ns_sum {}\ns_count {}\n'
STARTED = "process_start_time_seconds {}\n"


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        # theirs, ours, theirs later, ours later
        (
            (COUNTER.format(5), COUNTER.format(0)),
            (COUNTER.format(7), COUNTER.format(2)),
            [],
        ),
        (
            (COUNTER.format(5), COUNTER.format(0)),
            (COUNTER.format(7), COUNTER.format(1)),
            [("value", "+2", "+1", None)],
        ),
        (
            (COUNTER.format(5), COUNTER.format(0)),
            (COUNTER.format("NaN"), COUNTER.format(1)),
            [("value", "NaN", "+1", 21)],
        ),
        ((GAUGE.format("NaN"), GAUGE.format("NaN")),) * 2 + ([],),
        ((GAUGE.format("+Inf"), GAUGE.format("+Inf")),) * 2 + ([],),
        (
            (GAUGE.format(1), GAUGE.format("NaN")),
            (GAUGE.format(1), GAUGE.format("NaN")),
            [("value", "1", "nan", None)],
        ),
        # Not at rest.
        ((GAUGE.format(1), GAUGE.format(1)), (GAUGE.format(2), GAUGE.format(1)), []),
        # Quantiles are not compared.
        (
            (SUMMARY.format(1, 0, 0), SUMMARY.format(2, 0, 0)),
            (SUMMARY.format(9, 0.3, 3), SUMMARY.format(8, 0.30000000000000004, 3)),
            [],
        ),
        (
            (SUMMARY.format(1, 0, 0), SUMMARY.format(1, 0, 0)),
            (SUMMARY.format(1, 4, 3), SUMMARY.format(1, 5, 3)),
            [("value", "sum +4", "sum +5", None)],
        ),
        # Ours was started an hour later: it has not seen what rests.
        (
            (STARTED.format(0) + GAUGE.format(1), STARTED.format(3600)),
            (STARTED.format(0) + GAUGE.format(1), STARTED.format(3600)),
            [],
        ),
        (
            (STARTED.format(0) + COUNTER.format(1), STARTED.format(3600)),
            (STARTED.format(0) + COUNTER.format(2), STARTED.format(3600)),
            [("missing", "counter", "", None)],
        ),
        # Both have had the same lines.
        (
            (STARTED.format(0) + GAUGE.format(1), STARTED.format(2)),
            (STARTED.format(0) + GAUGE.format(1), STARTED.format(2)),
            [("missing", "gauge", "", None)],
        ),
        # A gauge there blocks the name.
        (
            (GAUGE.format(1), GAUGE.format(1) + "# TYPE g_count counter\ng_count 1\n"),
            (GAUGE.format(1), GAUGE.format(1) + "# TYPE g_count counter\ng_count 1\n"),
            [("extra", "", "counter", 5)],
        ),
    ],
)
def test_differences(
    first: tuple[str, str],
    last: tuple[str, str],
    expected: list[tuple[str, str, str, int | None]],
) -> None:
    """Each is found with what both show and the row that explains it."""
    found, _ = differences(history(first, last))

    assert [(each.kind, each.theirs, each.ours, each.row) for each in found] == expected


def test_what_is_left_out() -> None:
    """Expired and momentary series are counted, metrics of the programs are not."""
    own = "# TYPE go_goroutines gauge\ngo_goroutines 9\n"
    other = "# TYPE h counter\nh 1\n"
    found, left_out = differences(
        history(
            (own + COUNTER.format(1), COUNTER.format(1)),
            (own + COUNTER.format(1), other),
        )
    )

    assert found == []
    assert left_out == {"expired": 1, "new": 1}


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), st.text()))
def test_labels_are_read(labels: dict[str, str]) -> None:
    """Any value that a page escapes is read back."""
    labels = {name: value for name, value in labels.items() if name != "le"}
    text = f"# TYPE c counter\nc{{{format_labels(labels.items())}}} 1\n"

    assert list(read(text).numbers) == [Series("c", tuple(sorted(labels.items())))]


@pytest.mark.parametrize(
    "text", ["<html>", "a", "a{b} c d e", "# TYPE a\n", "a 1\na 1", 'a{b="1" 3x']
)
def test_what_is_no_page(text: str) -> None:
    """It is a ValueError."""
    with pytest.raises(ValueError):
        read(text)
