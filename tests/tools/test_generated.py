"""The generated files: up to date, written, checked, refused when a mark is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from crocbot.settings.fields import NAMES, SECRETS, Settings
from crocbot.telemetry.instruments import (
    ChosenAtStart,
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
)
from tools import generated, metrics_docs, settings_docs
from tools.generated import BEGIN, END

METRICS = (
    CounterMetric(
        name="crocbot_long_total",
        statsd="crocbot.long.name",
        labels={"left": ("a", "b"), "version": ChosenAtStart(segments=3)},
        help='Says "a | b".',
        query="crocbot_long_total",
    ),
    HistogramMetric(
        name="crocbot_short_seconds",
        statsd="crocbot.short",
        buckets=(0.5, 1.0),
        help="Time.",
        query="crocbot_short_seconds_sum",
    ),
    GaugeMetric(
        name="crocbot_state",
        statsd="crocbot.state",
        help="State.",
        query="crocbot_state",
    ),
)


def test_the_generated_files_are_up_to_date() -> None:
    """crocbot/mapping.yml and the tables in docs/ are what `make docs` writes."""
    assert generated.main(["--check"]) == 0


def test_rules_are_written_shortest_first() -> None:
    """Each type of metric has its keys, and no rule follows a longer one."""
    text = metrics_docs.mapping(METRICS)

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
        '- match: "crocbot.long.name.*.*.*.*"\n'
        "  match_metric_type: counter\n"
        "  name: crocbot_long_total\n"
        '  help: "Says \\"a | b\\"."\n'
        "  labels:\n"
        '    left: "$1"\n'
        '    version: "$2.$3.$4"\n'
    )


def test_a_metric_is_one_row_of_the_table() -> None:
    """A bar in a text does not end its cell; the series are counted below."""
    lines = metrics_docs.table(METRICS).split("\n")

    assert lines[2] == (
        "| `crocbot_long_total` | counter | `left`: a, b<br>`version`: one a process "
        '| Says "a \\| b". | `crocbot_long_total` '
        "| `crocbot.long.name.<left>.<version>` |"
    )
    assert lines[-1] == (
        "One gateway makes at most 8 series, each bucket counted as one."
    )


def test_every_setting_is_explained() -> None:
    """Each setting has a row, a meaning and the right values; secrets have a file."""
    table = settings_docs.table()

    for name, field in NAMES.items():
        info = Settings.model_fields[field]
        assert info.title
        assert info.description
        assert f"| `{name}`" in table
    assert [name for name in SECRETS if f"`{name}_FILE`" not in table] == []
    assert "| `CROCBOT_RICH` | `off` |" in table
    assert "| `CROCBOT_KEEP_THINKING` | `false` |" in table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with the pages as they are before the first `make docs`."""
    for folder in ("crocbot", "docs"):
        (tmp_path / folder).mkdir()
    for page in ("metrics", "settings", "bridge-metrics", "alerts"):
        text = f"# Title\n\n{BEGIN}\n{END}\n\nThe end.\n"
        (tmp_path / f"docs/{page}.md").write_text(text)
    return tmp_path


def test_files_are_checked_and_written(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check names stale files and writes nothing; what is written stays framed."""
    page = root / "docs/metrics.md"
    before = page.read_text()

    assert generated.main(["--check"], root) == 1
    assert f"stale: {page}\n" in capsys.readouterr().out
    assert page.read_text() == before
    assert generated.main([], root) == 0
    assert generated.main(["--check"], root) == 0
    assert page.read_text().startswith("# Title\n")
    assert page.read_text().endswith("The end.\n")
    assert metrics_docs.table() in page.read_text()


@pytest.mark.parametrize("text", ["", BEGIN, END, None])
def test_a_page_without_marks_is_not_written(
    root: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing mark or page is one line on stderr, exit code 2, and nothing else."""
    page = root / "docs/metrics.md"
    if text is None:
        page.unlink()
    else:
        page.write_text(text)

    assert generated.main([], root) == 2
    assert str(page) in capsys.readouterr().err
    assert not (root / "crocbot/mapping.yml").exists()
