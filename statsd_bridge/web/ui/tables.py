"""Tables that become lists on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from statsd_bridge.web.ui.markup import Html, fill, html, join


class Column(NamedTuple):
    """A column; the class `n` is for numbers, `w` for texts that may be long."""

    title: str
    css: str = ""


def table(
    caption: str, columns: tuple[Column, ...], rows: Iterable[Sequence[object]]
) -> Html:
    """
    Return a table whose first column has the name of each row.

    A column without any value is left out: the main page has a part of what its
    sections can show.
    """
    columns, rows = _filled(columns, list(rows))
    # With roles it stays a table for screen readers when the style makes it a list.
    heads = [
        fill(
            '<th scope="col" role="columnheader" class="{css}">{title}</th>',
            css=each.css,
            title=each.title,
        )
        for each in columns
    ]
    return fill(
        '<table role="table"><caption>{caption}</caption><thead role="rowgroup">'
        '<tr role="row">{heads}</tr></thead><tbody role="rowgroup">{rows}</tbody>'
        "</table>",
        caption=caption,
        heads=join(heads),
        rows=Html("".join(_cells(columns, rows))),
    )


def _filled(
    columns: tuple[Column, ...], rows: list[Sequence[object]]
) -> tuple[tuple[Column, ...], list[Sequence[object]]]:
    """Return the columns that have a value in any row, and their cells."""
    kept = [
        n for n in range(len(columns)) if not n or any(row[n] != "" for row in rows)
    ]
    if len(kept) == len(columns):
        return columns, rows
    return tuple(columns[n] for n in kept), [[row[n] for n in kept] for row in rows]


def _cells(
    columns: tuple[Column, ...], rows: Iterable[Sequence[object]]
) -> Iterator[str]:
    """Yield the parts of all rows; a page has hundreds of cells."""
    (head, _), *starts = _starts(columns)
    for first, *cells in rows:
        yield f'<tr role="row">{head}{html(first)}</th>'
        for (start, empty), cell in zip(starts, cells, strict=True):
            # On a phone an empty cell would be a line without a value.
            yield f"{start}{html(cell)}</td>" if cell != "" else empty
        yield "</tr>"


@cache
def _starts(columns: tuple[Column, ...]) -> list[tuple[str, str]]:
    """Return how a cell of each column begins, and what an empty one is."""
    first, *others = columns
    head = fill('<th scope="row" role="rowheader" class="{css}">', css=first.css)
    found: list[tuple[str, str]] = [(head, "")]
    for each in others:
        start = fill(
            '<td role="cell" class="{css}" data-label="{title}">',
            css=each.css,
            title=each.title,
        )
        found.append((start, fill('<td role="cell" class="empty"></td>')))
    return found
