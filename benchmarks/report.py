"""The results of a run as a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.measures import Row

Results = dict[Row, dict[str, list[float]]]
"""One value a round, by row and by name of the server."""


def table(results: Results, names: Sequence[str]) -> str:
    """
    Return a table of medians, one column for each of `names` that took part.

    More columns give ours as a multiple of each of the others.
    """
    names = [name for name in names if any(name in row for row in results.values())]
    others = [name for name in names if name != "ours"]
    rows = [["", *names, *(f"ours / {name}" for name in others)]]
    rows.append(["---", *["---:"] * (len(names) + len(others))])
    for (what, unit), values in results.items():
        medians = {name: statistics.median(of) for name, of in values.items()}
        numbers = [_number(medians.get(name)) for name in names]
        ratios = [_ratio(medians.get("ours"), medians.get(name)) for name in others]
        rows.append([f"{what} ({unit})", *numbers, *ratios])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(ours: float | None, other: float | None) -> str:
    return f"{ours / other:.2f}" if ours is not None and other else ""
