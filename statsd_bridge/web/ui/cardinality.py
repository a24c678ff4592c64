"""The section with the largest families, and what a quota would refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from statsd_bridge.web.ui import bars, numbers
from statsd_bridge.web.ui.links import link, select, url
from statsd_bridge.web.ui.markup import EMPTY, Html, fill, html, join, short_code
from statsd_bridge.web.ui.tables import Column, table

PATH: Final = "ui/cardinality"

REFRESH_SECONDS: Final = 30

SORTS: Final = {"series": "series", "bytes": "bytes", "growth": "growth"}

MAX_LABELS: Final = 4
"""Labels of a family that are shown: those with the most values."""

_COLUMNS: Final = (
    Column("Metric", "w"),
    Column("Type"),
    Column("Series", "n"),
    Column("Memory", "n"),
    Column("Growth in 10 min", "n"),
    Column("Values of labels", "w"),
    Column("Quota", "n"),
)


class Ranking(NamedTuple):
    """How families are sorted, and the quota that is tried, if any."""

    sort: str = "series"
    max_series: str = ""


def render(found: Mapping[str, Any], ranking: Ranking, up: str) -> Html:
    """Return the section; `found` is the document of /api/v1/cardinality."""
    return fill(
        '<section id="cardinality" aria-labelledby="cardinality-title"'
        ' data-part="cardinality" data-every="{seconds}" data-from="{address}">'
        '<h2 id="cardinality-title">Cardinality</h2>{form}'
        '<div data-live="cardinality">{summary}{table}{all}</div></section>',
        seconds=REFRESH_SECONDS,
        address=url(up + PATH, **ranking._asdict()),
        form=_form(ranking, up),
        summary=_summary(found, ranking),
        table=_table(found, ranking, up),
        all=EMPTY if found["complete"] else _all(up),
    )


def _all(up: str) -> Html:
    return fill(
        '<p class="paging">{link}</p>',
        link=link(up + PATH, "All names, with the values of their labels"),
    )


def _form(ranking: Ranking, up: str) -> Html:
    return fill(
        '<form action="{action}" data-swap="cardinality">{sorts}<label>Try a quota of'
        ' <input type="number" name="max_series" min="1" value="{max_series}"'
        ' placeholder="1000"> series a name</label><button>Show</button></form>',
        action=up + PATH,
        sorts=select("sort", "Most", SORTS, ranking.sort),
        max_series=ranking.max_series,
    )


def _summary(found: Mapping[str, Any], ranking: Ranking) -> Html:
    total, over = found["total"], found["total"]["over"]
    text = (
        f"{total['series']:,} series of {numbers.count(total['families'], 'name')},"
        f" {numbers.size(total['bytes'])}; {_growth(total['growth'])} series in"
        f" {numbers.duration(found['growth_seconds'])}."
    )
    if over is not None:
        text += (
            f" A quota of {ranking.max_series} would cut {over['series']:,} series of"
            f" {numbers.count(over['families'], 'name')}."
        )
    return fill("<p>{text}</p>", text=text)


def _table(found: Mapping[str, Any], ranking: Ranking, up: str) -> Html:
    families = found["families"]
    if not families:
        return Html('<p class="none">There are no series yet.</p>')
    key = ranking.sort if ranking.sort in ("series", "bytes") else "series"
    most = max(each[key] for each in families)
    return table(
        f"Metric names with the most {SORTS.get(ranking.sort, 'series')}",
        _COLUMNS,
        [_row(each, key, most, up) for each in families],
    )


def _row(family: Mapping[str, Any], key: str, most: float, up: str) -> list[object]:
    over = family.get("over") or 0
    drawn = bars.bar(family[key], most, over if key == "series" else 0)
    series, size = numbers.number(family["series"]), numbers.size(family["bytes"])
    cut = fill(' <span class="bad">{over} over</span>', over=numbers.number(over))
    return [
        link(
            f"{up}ui/series",
            short_code(family["name"]),
            "series",
            search=family["name"],
        ),
        family["type"],
        join([series, cut if over else EMPTY, drawn if key == "series" else EMPTY]),
        join([size, drawn if key == "bytes" else EMPTY]),
        _growth(family["growth"]),
        _labels(family["labels"]),
        _quota(family["quota"]),
    ]


def _growth(growth: float) -> str:
    return f"+{growth:,}" if growth > 0 else f"{growth:,}"


def _labels(labels: list[Mapping[str, Any]]) -> Html:
    largest = sorted(labels, key=lambda each: -each["values"])
    items = [
        fill(
            "<li>{name} <b>{values}</b></li>",
            name=short_code(each["name"]),
            values=_values(each),
        )
        for each in largest[:MAX_LABELS]
    ]
    if len(labels) > MAX_LABELS:
        items.append(fill("<li>{n} more</li>", n=len(labels) - MAX_LABELS))
    return (
        fill('<ul class="inline">{items}</ul>', items=join(items)) if items else EMPTY
    )


def _values(label: Mapping[str, Any]) -> str:
    about = "" if label["exact"] else "about "
    return f"{about}{label['values']:,}"


def _quota(quota: Mapping[str, Any] | None) -> Html:
    if quota is None:
        return html("none")
    refused = quota.get("refused")
    text = fill(' <span class="bad">{count} refused</span>', count=f"{refused or 0:,}")
    return join([numbers.number(quota["max_series"]), text if refused else EMPTY])
