"""The benchmark of a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.restart import KINDS, measure


@pytest.mark.parametrize("name", KINDS)
def test_all_series_of_a_kind_are_written_and_read(name: str, tmp_path: Path) -> None:
    """A thousandth of the lines of each row, which are a series each."""
    figures = measure(KINDS[name], 0.001, tmp_path / "series")

    assert figures.series == KINDS[name].lines // 1_000
    assert figures.bytes > 10 * figures.series
