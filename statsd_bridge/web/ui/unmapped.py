"""The section with names that no rule matched, and with lines that were refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from statsd_bridge.web.ui import numbers
from statsd_bridge.web.ui.links import link
from statsd_bridge.web.ui.markup import EMPTY, Html, fill, short_code
from statsd_bridge.web.ui.tables import Column, table

PATH: Final = "debug/unmapped"

REFRESH_SECONDS: Final = 5

SUFFIXES: Final = {"counter": "c", "gauge": "g", "observer": "ms", "set": "s"}
"""The type of a statsd line by the type of its sample."""

_NAMES: Final = (
    Column("Name", "w"),
    Column("Type"),
    Column("Samples", "n"),
    Column("Last seen", "n"),
    Column("Rule to paste", "w"),
    Column("Explain"),
)

_LINES: Final = (
    Column("Line", "w"),
    Column("Reason"),
    Column("Times", "n"),
    Column("Last seen", "n"),
    Column("Explain"),
)


def render(
    found: Mapping[str, Any], now: float, up: str, *, path: str = PATH, most: int = 100
) -> Html:
    """Return the section with the newest `most` names and lines; `path` has it, too."""
    return fill(
        '<section id="unmapped" aria-labelledby="unmapped-title" data-part="unmapped"'
        ' data-every="{seconds}" data-from="{address}">'
        '<h2 id="unmapped-title">Without a rule, or refused</h2>'
        '<div data-live="unmapped">{names}{lines}{all}</div></section>',
        seconds=REFRESH_SECONDS,
        address=up + path,
        names=_names(found["unmapped_names"], now, up, most),
        lines=_lines(found["refused_lines"], now, up, most),
        all=EMPTY if path == PATH else _all(up),
    )


def _names(names: list[Mapping[str, Any]], now: float, up: str, most: int) -> Html:
    if not names:
        return Html('<p class="none">No name without a rule has arrived.</p>')
    rows = [
        [
            short_code(each["name"]),
            each["type"],
            numbers.number(each["count"]),
            _seen(each, now),
            _suggestion(each.get("suggestion")),
            _explain(f"{each['name']}:1|{SUFFIXES.get(each['type'], 'c')}", up),
        ]
        for each in names[:most]
    ]
    return table("Names that no rule matched, newest first", _NAMES, rows)


def _lines(lines: list[Mapping[str, Any]], now: float, up: str, most: int) -> Html:
    if not lines:
        return Html('<p class="none">No line has been refused.</p>')
    rows = [
        [
            short_code(each["line"]),
            each["reason"],
            numbers.number(each["count"]),
            _seen(each, now),
            _explain(each["line"], up),
        ]
        for each in lines[:most]
    ]
    return table("Refused lines and samples, newest first", _LINES, rows)


def _all(up: str) -> Html:
    return fill(
        '<p class="paging">{link}</p>',
        link=link(up + PATH, "All, with a rule to paste for each name"),
    )


def _seen(entry: Mapping[str, Any], now: float) -> Html:
    seen = entry.get("last_seen")
    return EMPTY if seen is None else numbers.ago(seen, now)


def _suggestion(rule: str | None) -> Html:
    if not rule:
        return EMPTY
    return fill(
        '<details><summary>rule</summary><pre tabindex="0">{rule}</pre></details>',
        rule=multiline(rule),
    )


def multiline(text: str) -> Html:
    """Return a text of several lines as HTML; other control characters are escaped."""
    return Html("\n".join(fill("{line}", line=each) for each in text.split("\n")))


def _explain(line: str, up: str) -> Html:
    hidden = fill('explain<span class="hidden"> {line}</span>', line=line)
    return link(f"{up}explain", hidden, "explain", line=line)
