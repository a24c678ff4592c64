"""The generated files: written, checked, and refused when the marks are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from crocbot.generated import END, begin
from crocbot.telemetry import documents
from crocbot.telemetry.catalogue import Metric, Segment, Type

BEGIN = begin(documents.MODULE)
METRICS = (
    Metric(
        "crocbot.long.name",
        "crocbot_long_total",
        Type.COUNTER,
        "things",
        'Says "a | b".',
        "crocbot_long_total",
        (Segment("left", ("a", "b")),),
        source="Outcome",
    ),
    Metric(
        "crocbot.short",
        "crocbot_short_seconds",
        Type.HISTOGRAM,
        "seconds",
        "Time.",
        "crocbot_short_seconds_sum",
        buckets=(0.5, 1.0),
    ),
    Metric("crocbot.state", "crocbot_state", Type.GAUGE, "", "State.", "crocbot_state"),
)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The two files, elsewhere, before the first writing."""
    mapping, table = tmp_path / "mapping.yml", tmp_path / "metrics.md"
    table.write_text(f"# Title\n\n{BEGIN}\n{END}\n\nThe end.\n")
    monkeypatch.setattr(documents, "MAPPING", mapping)
    monkeypatch.setattr(documents, "TABLE", table)
    return mapping, table


def test_rules_are_written_shortest_first() -> None:
    """Each kind of metric has its keys, and no rule follows a longer one."""
    text = documents.mapping(METRICS)

    assert text.partition("mappings:\n")[2] == (
        '- match: "crocbot.short"\n'
        "  match_metric_type: observer\n"
        "  name: crocbot_short_seconds\n"
        '  help: "Time."\n'
        "  observer_type: histogram\n"
        "  histogram_options:\n"
        "    buckets: [0.5, 1]\n"
        '- match: "crocbot.state"\n'
        "  match_metric_type: gauge\n"
        "  name: crocbot_state\n"
        '  help: "State."\n'
        "  ttl: 60s\n"
        '- match: "crocbot.long.name.*"\n'
        "  match_metric_type: counter\n"
        "  name: crocbot_long_total\n"
        '  help: "Says \\"a | b\\"."\n'
        "  labels:\n"
        '    left: "$1"\n'
    )


def test_a_row_of_the_table_is_one_row() -> None:
    """A bar in a text does not end its cell; the series are counted below."""
    lines = documents.table(METRICS).split("\n")

    assert lines[2] == (
        "| `crocbot_long_total` | counter, things | `left`: a, b "
        '| Says "a \\| b". | `crocbot_long_total` | `crocbot.long.name.<left>` '
        "| Outcome |"
    )
    assert lines[-1] == (
        "One gateway makes at most 8 series, each bucket counted as one."
    )


def test_writing_makes_them_fresh(files: tuple[Path, Path]) -> None:
    """Stale before, written once, fresh after; the frame stays as it was."""
    _, table = files
    codes = [documents.main(args) for args in (["--check"], [], ["--check"])]
    page = table.read_text()

    assert codes == [1, 0, 0]
    assert page.startswith("# Title\n")
    assert page.endswith("The end.\n")
    assert documents.table() in page


def test_checking_writes_nothing(files: tuple[Path, Path]) -> None:
    """With --check a stale file stays as it is, and is named."""
    mapping, table = files
    before = table.read_text()
    documents.main(["--check"])

    assert not mapping.exists()
    assert table.read_text() == before


def test_a_stale_file_is_named(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has to act is told which file it is."""
    mapping, _ = files
    documents.main([])
    mapping.write_text("mappings: []\n")
    capsys.readouterr()
    code = documents.main(["--check"])

    assert (code, capsys.readouterr().out) == (1, f"stale: {mapping}\n")


@pytest.mark.parametrize("page", ["", BEGIN, END, None])
def test_a_page_without_marks_is_not_touched(
    files: tuple[Path, Path], page: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """No marks or no page: one line says so, nothing is written, exit code 2."""
    mapping, table = files
    if page is None:
        table.unlink()
    else:
        table.write_text(page)
    code = documents.main([])

    assert code == 2
    assert str(table) in capsys.readouterr().err
    assert not mapping.exists()
