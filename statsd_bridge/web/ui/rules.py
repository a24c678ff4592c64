"""The section with the rules of the mapping file, and how often each matched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from statsd_bridge.web.ui import numbers
from statsd_bridge.web.ui.links import link, url
from statsd_bridge.web.ui.markup import EMPTY, Html, fill, join, short_code
from statsd_bridge.web.ui.tables import Column, table

PATH: Final = "ui/rules"

REFRESH_SECONDS: Final = 5

_COLUMNS: Final = (
    Column("Match", "w"),
    Column("File line", "n"),
    Column("Metric"),
    Column("Type"),
    Column("Hits", "n"),
    Column("State", "w"),
    Column("Try"),
)


class Place(NamedTuple):
    """Which rules a page has: from the token `next` on, `only` those of a state."""

    only: str = ""
    next: str = ""


def render(found: Mapping[str, Any], place: Place, up: str) -> Html:
    """Return the section; `found` is the document of /api/v1/rules."""
    return fill(
        '<section id="rules" aria-labelledby="rules-title" data-part="rules"'
        ' data-every="{seconds}" data-from="{address}"><h2 id="rules-title">Rules</h2>'
        '<div data-live="rules">{summary}{table}{paging}</div></section>',
        seconds=REFRESH_SECONDS,
        address=url(up + PATH, **place._asdict()),
        summary=_summary(found, place, up),
        table=_table(found, place, up),
        paging=_paging(found.get("next"), place, up),
    )


def _summary(found: Mapping[str, Any], place: Place, up: str) -> Html:
    """Return the numbers of rules by state, each with a link to them."""
    if not found["total"]:
        return EMPTY
    choices = {
        "": f"all {found['total']:,} rules",
        "never_matched": f"{found['never_matched']:,} never matched",
        "cannot_match": f"{found['cannot_match']:,} cannot match",
    }
    items = [
        fill("<li><b>{text}</b></li>", text=text)
        if only == place.only
        else fill("<li>{link}</li>", link=link(up + PATH, text, "rules", only=only))
        for only, text in choices.items()
    ]
    return fill('<ul class="inline">{items}</ul>', items=join(items))


def _table(found: Mapping[str, Any], place: Place, up: str) -> Html:
    if not found["total"]:
        return Html('<p class="none">There are no rules: every name is unmapped.</p>')
    rows = [_row(each, up) for each in found["rules"]]
    if not rows:
        text = "No rule." if found.get("complete", True) else "None so far."
        return fill('<p class="none">{text}</p>', text=text)
    return table("Rules in the order of the mapping file", _COLUMNS, rows)


def _paging(further: str | None, place: Place, up: str) -> Html:
    links = []
    if place.next:
        links.append(link(up + PATH, "First page", "rules", only=place.only))
    if further:
        query = place._replace(next=further)._asdict()
        links.append(link(up + PATH, "Next page", "rules", **query))
    if not links:
        return EMPTY
    return fill(
        '<nav class="paging" aria-label="Pages of rules">{links}</nav>',
        links=join(links, " "),
    )


def _row(rule: Mapping[str, Any], up: str) -> list[object]:
    is_drop = rule["action"] == "drop"
    return [
        short_code(rule["match"]),
        rule["file_line"],
        Html('<span class="muted">dropped</span>')
        if is_drop
        else short_code(rule["name"]),
        rule["type"] or Html('<span class="muted">all</span>'),
        numbers.number(rule["hits"]),
        _state(rule),
        _example(rule, up),
    ]


def _state(rule: Mapping[str, Any]) -> Html:
    if rule["cannot_match"]:
        return fill(
            '<span class="badge bad">cannot match</span> {why}',
            why=rule["cannot_match"],
        )
    if rule["never_matched"]:
        return Html('<span class="badge warn">never matched</span>')
    return Html('<span class="badge good">in use</span>')


def _example(rule: Mapping[str, Any], up: str) -> Html:
    """Return a link that explains a line that a rule may match, or to the form."""
    name = rule["example"]
    if name is None:
        return link(f"{up}explain", "explain a line", "explain")
    suffix = {"gauge": "g", "observer": "ms", "set": "s"}.get(rule["type"] or "", "c")
    hidden = fill('explain<span class="hidden"> {name}</span>', name=name)
    return link(f"{up}explain", hidden, "explain", line=f"{name}:1|{suffix}")
