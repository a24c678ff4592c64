"""Write tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; bars within cells are escaped."""
    # A bar would end the cell, even within backticks.
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(
        [_line(head), "|" + "---|" * len(head), *(_line(row) for row in escaped)]
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
