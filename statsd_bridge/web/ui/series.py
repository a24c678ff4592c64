"""The section with live series: a search, a page of what it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from statsd_bridge.web.ui import bars, numbers
from statsd_bridge.web.ui.links import link, select, url
from statsd_bridge.web.ui.markup import EMPTY, Html, fill, join, series_name, short_code
from statsd_bridge.web.ui.tables import Column, table

PATH: Final = "ui/series"

REFRESH_SECONDS: Final = 5
"""After so long the script repeats a search by itself, if it is cheap."""

MAX_CHEAP_LOOKS: Final = 5_000
"""Series that a cheap search looks at; one of n times as many is repeated n times as
seldom, so that an open page costs about a millisecond in a second at most."""

TYPES: Final = ("counter", "gauge", "histogram", "summary", "set")

_COLUMNS: Final = (
    Column("Series", "w"),
    Column("Type"),
    Column("Value", "n"),
    Column("Age", "n"),
    Column("TTL", "n"),
    Column("Rule", "w"),
)


class Search(NamedTuple):
    """What was searched for; `next` is the token of a further page."""

    search: str = ""
    type: str = ""
    next: str = ""


def render(found: Mapping[str, Any], search: Search, now: float, up: str) -> Html:
    """Return the section; `found` is the document of /api/v1/series."""
    looked_at = found.get("looked_at", 0)
    seconds = REFRESH_SECONDS * (1 + looked_at // MAX_CHEAP_LOOKS)
    return fill(
        '<section id="series" aria-labelledby="series-title" data-part="series"'
        ' data-every="{seconds}" data-from="{address}">'
        '<h2 id="series-title">Series</h2>{form}<div data-live="series">{result}</div>'
        "</section>",
        seconds=seconds,
        address=url(up + PATH, **search._asdict()),
        form=_form(search, up),
        result=_result(found, search, now, up),
    )


def _form(search: Search, up: str) -> Html:
    types = {"": "all types", **{each: each for each in TYPES}}
    return fill(
        '<form class="search" role="search" action="{action}" data-swap="series">'
        '<label class="grow">Search in names and labels'
        ' <input type="search" name="search" value="{search}" autocomplete="off"'
        ' spellcheck="false"></label>{types}<button>Search</button></form>',
        action=up + PATH,
        search=search.search,
        types=select("type", "Type", types, search.type),
    )


def _result(found: Mapping[str, Any], search: Search, now: float, up: str) -> Html:
    rows = [_row(each, now) for each in found["series"]]
    if not rows:
        return fill(
            '<p class="none">{text}</p>{paging}',
            text=_nothing(found, search),
            paging=_paging(found, search, up),
        )
    return fill(
        "{table}{paging}",
        table=table("Live series, by name and labels", _COLUMNS, rows),
        paging=_paging(found, search, up),
    )


def _nothing(found: Mapping[str, Any], search: Search) -> str:
    if not found.get("complete", True):
        count = numbers.number(found["looked_at"])
        return f"None among the {count} series that were looked at; search on."
    if search.search or search.type or search.next:
        return "No live series matches."
    return "There are no series yet: no sample has arrived, or all have expired."


def _paging(found: Mapping[str, Any], search: Search, up: str) -> Html:
    query = {"search": search.search, "type": search.type}
    links = []
    if search.next:
        links.append(link(up + PATH, "First page", "series", **query))
    if found.get("next"):
        text = "Next page" if found.get("complete", True) else "Search on"
        further = {**query, "next": found["next"]}
        links.append(link(up + PATH, text, "series", **further))
    if not links:
        return EMPTY
    return fill(
        '<nav class="paging" aria-label="Pages of series">{links}</nav>',
        links=join(links, " "),
    )


def _row(series: Mapping[str, Any], now: float) -> list[object]:
    return [
        series_name(series["name"], series["labels"]),
        series["type"],
        _value(series),
        numbers.duration(now - series["created"]),
        _ttl(series),
        _rule(series.get("rule")),
    ]


def _value(series: Mapping[str, Any]) -> Html:
    if "count" not in series:
        return fill("<b>{value}</b>", value=numbers.number(series["value"]))
    return fill(
        "<b>{count}</b> <small>{values}, sum {sum}</small>{quantiles}{buckets}",
        count=numbers.number(series["count"]),
        values="value" if series["count"] == 1 else "values",
        sum=numbers.number(series["sum"]),
        quantiles=_quantiles(series.get("quantiles") or ()),
        buckets=bars.buckets(series.get("buckets") or ()),
    )


def _quantiles(quantiles: Any) -> Html:
    items = [
        fill(
            "<li><small>q{quantile}</small> {value}</li>",
            quantile=quantile,
            value=numbers.number(value),
        )
        for quantile, value in quantiles
    ]
    return (
        fill('<ul class="inline">{items}</ul>', items=join(items)) if items else EMPTY
    )


def _ttl(series: Mapping[str, Any]) -> Html:
    if not series["ttl"]:
        return Html('<span class="muted">none</span>')
    return fill(
        "{ttl}<br><small>last sample {age} ago</small>"
        "<br><small>expires in {left}</small>",
        ttl=numbers.duration(series["ttl"]),
        age=numbers.duration(series["age_seconds"]),
        left=numbers.duration(series["expires_in"]),
    )


def _rule(rule: Mapping[str, Any] | None) -> Html:
    if rule is None:
        return Html('<span class="muted">no rule</span>')
    return fill(
        '{match} <small class="nowrap">line {line}</small>',
        match=short_code(rule["match"]),
        line=rule["line"],
    )
