"""How the pages of two programs differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.compare import rows
from statsd_bridge.compare.differences import differences
from statsd_bridge.compare.history import Bracket, History
from statsd_bridge.compare.page import Series, read
from statsd_bridge.pipeline import OTHER as OTHER_NAME
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
TOO_LONG = 'statsd_exporter_events_error_total{reason="label_too_long"} 1\n'
OTHER = 'statsd_bridge_series_refused_total{reason="series",metric_name="other"} 1\n'


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
            [("value", "1", "NaN", None)],
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
        (
            (COUNTER.format(1234567), COUNTER.format(0)),
            (COUNTER.format(2469134), COUNTER.format("NaN")),
            [("value", "+1234567", "NaN", None)],
        ),
        # It has expired in both, and begins again.
        (
            (COUNTER.format(100), COUNTER.format(50)),
            (COUNTER.format(5), COUNTER.format(5)),
            [],
        ),
        # A negative observation.
        (
            (SUMMARY.format(1, 4, 3), SUMMARY.format(1, 4, 3)),
            (SUMMARY.format(1, 1, 4), SUMMARY.format(1, 2, 4)),
            [("value", "sum -3", "sum -2", None)],
        ),
        # Longer than a limit of the bridge, which has counted a refusal for it.
        (
            (f'# TYPE c counter\nc{{a="{"x" * 4097}"}} 1\n', TOO_LONG),
            (f'# TYPE c counter\nc{{a="{"x" * 4097}"}} 1\n', TOO_LONG),
            [("missing", "counter", "", 20)],
        ),
        (
            (f'# TYPE c counter\nc{{a="{"x" * 4096}"}} 1\n', TOO_LONG),
            (f'# TYPE c counter\nc{{a="{"x" * 4096}"}} 1\n', TOO_LONG),
            [("missing", "counter", "", None)],
        ),
        # Refused, and one of too many names to be counted by name.
        ((COUNTER.format(1), OTHER),) * 2 + ([("missing", "counter", "", 11)],),
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


def test_a_series_that_was_gone_meanwhile_is_left_out() -> None:
    """Its increase is not known if it has expired between two pages."""
    gone = "# TYPE h counter\nh 1\n"
    found, left_out = differences(
        history(
            (gone + COUNTER.format(3), gone + COUNTER.format(2)),
            (gone, gone),
            (gone + COUNTER.format(5), gone + COUNTER.format(5)),
        )
    )

    assert (found, left_out) == ([], {"expired": 1})


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        # Both began again after the first page, and count the same since then.
        ((3, 4, 5), (1, 4, 5), {"expired": 2}),
        # A pause, after which one may have begun again before the other.
        ((3, 3, 5), (1, 1, 6), {"expired": 2}),
        # Neither.
        ((3, 4, 5), (1, 2, 6), {"expired": 1}),
    ],
)
def test_a_count_that_began_again_unseen(
    theirs: tuple[int, ...], ours: tuple[int, ...], expected: dict[str, int]
) -> None:
    """It is left out if another series of its name has expired."""
    gone = '# TYPE c counter\nc{a="b"} 1\n'
    pages = [
        (gone + f"c {a}\n", gone + f"c {b}\n")
        for a, b in zip(theirs, ours, strict=True)
    ]
    pages[1:] = [(a.replace('c{a="b"} 1\n', ""), b) for a, b in pages[1:]]
    found, left_out = differences(history(*pages))

    assert left_out == expected
    assert len(found) == 2 - expected["expired"]


def test_refused_series_have_the_name_of_the_bridge() -> None:
    """What explains a missing series is what refuses it."""
    assert rows.OTHER == OTHER_NAME


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
