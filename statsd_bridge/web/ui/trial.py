"""The section that tries a mapping file on the names that were seen last."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from statsd_bridge.web.ui import numbers
from statsd_bridge.web.ui.markup import (
    EMPTY,
    Html,
    code,
    fill,
    join,
    series_name,
    short_code,
)
from statsd_bridge.web.ui.tables import Column, table

PATH: Final = "ui/try"

FIELD: Final = "mapping"

MAX_SHOWN: Final = 50
"""Changes, and series, that are shown."""

MAX_OPEN: Final = 10
"""Series of a list that is shown at once; a longer one is opened by a click."""

MAX_DOCUMENT_BYTES: Final = 1024 * 1024
"""Size of a document that is shown; reading it takes about 6 ms."""

_COLUMNS: Final = (
    Column("Statsd name", "w"),
    Column("Type"),
    Column("Change"),
    Column("Now", "w"),
    Column("With this file", "w"),
)


def read_form(body: bytes) -> bytes:
    """Return the mapping file of a form that was sent as text/plain."""
    prefix = f"{FIELD}=".encode()
    if not body.startswith(prefix):
        return body
    # A browser ends each line with CRLF, and adds one.
    text = body.removeprefix(prefix).replace(b"\r\n", b"\n")
    return text.removesuffix(b"\n")


def render(tried: Mapping[str, Any] | None, file: str, up: str) -> Html:
    """Return the section; `tried` is the document of /api/v1/try, if there is one."""
    return fill(
        '<section id="try" aria-labelledby="try-title" data-part="try">'
        '<h2 id="try-title">Try a mapping</h2>'
        "<p>Paste a mapping file to see what it would do to the names that were seen"
        " last. Nothing changes.</p>"
        '<form action="{action}" method="post" enctype="text/plain" data-swap="try">'
        '<label class="block">Mapping file <textarea name="{field}" rows="8"'
        ' spellcheck="false" autocapitalize="off" required>\n{file}</textarea></label>'
        '<button>Try</button></form><div class="result">{result}</div></section>',
        action=up + PATH,
        field=FIELD,
        # Not made visible: it is sent again.
        file=Html(escape(file)),
        result=EMPTY if tried is None else _result(tried),
    )


def _result(tried: Mapping[str, Any]) -> Html:
    if tried["error"]:
        return fill(
            '<p><span class="badge bad">refused</span> {error}</p>',
            error=code(tried["error"]),
        )
    warnings = [fill("<li>{text}</li>", text=code(each)) for each in tried["warnings"]]
    return fill(
        '{summary}<ul class="warnings">{warnings}</ul>{appear}{vanish}{changes}',
        summary=_summary(tried),
        warnings=join(warnings[:MAX_SHOWN]),
        appear=_list("appear", tried["appear"], tried["appearing"]),
        vanish=_list("vanish", tried["vanish"], tried["vanishing"]),
        changes=_changes(tried),
    )


def _summary(tried: Mapping[str, Any]) -> Html:
    names = numbers.number(tried["names"])
    if tried["clean"]:
        return fill(
            '<p><span class="badge good">the same</span> None of the {names} samples'
            " that were seen last would change.</p>",
            names=names,
        )
    counts = [f"{count:,} {kind}" for kind, count in tried["counts"].items()]
    return fill(
        '<p><span class="badge warn">different</span> {changed} of the {names} samples'
        " that were seen last would change: {counts}.</p>",
        changed=numbers.number(tried["changed"]),
        names=names,
        counts=", ".join(counts),
    )


def _list(verb: str, shown: list[Mapping[str, Any]], count: int) -> Html:
    """Return the series that appear or vanish, the first of them."""
    if not count:
        return EMPTY
    items = [fill("<li>{series}</li>", series=_named(each)) for each in shown]
    return fill(
        '<details class="block"{open}><summary>{count} series {verb}</summary>'
        '<ul class="plain">{items}{more}</ul></details>',
        count=numbers.number(count),
        verb=verb if count != 1 else f"{verb}s",
        open=Html(" open") if count <= MAX_OPEN else EMPTY,
        items=join(items[:MAX_SHOWN]),
        more=_more(count),
    )


def _more(count: int) -> Html:
    if count <= MAX_SHOWN:
        return EMPTY
    text = f"and {count - MAX_SHOWN:,} more: `statsd-bridge try` lists them"
    return fill('<li class="muted">{text}</li>', text=text)


def _changes(tried: Mapping[str, Any]) -> Html:
    if not tried["changes"]:
        return EMPTY
    rows = [_row(each) for each in tried["changes"][:MAX_SHOWN]]
    return fill(
        '{table}<ul class="plain">{more}</ul>',
        table=table("What would change", _COLUMNS, rows),
        more=_more(tried["changed"]),
    )


def _row(change: Mapping[str, Any]) -> list[object]:
    tags = change["tags"]
    note = change["note"] or change["reason"] or ""
    return [
        series_name(change["statsd_name"], tags)
        if tags
        else short_code(change["statsd_name"]),
        change["type"],
        fill(
            "{kinds} <small>{note}</small>", kinds=", ".join(change["kinds"]), note=note
        ),
        _series(change["before"]),
        _series(change["after"]),
    ]


def _series(series: Mapping[str, Any] | None) -> Html:
    if series is None:
        return Html('<span class="muted">dropped by a rule</span>')
    refused = series["refused"]
    return fill(
        "{series}{refused}",
        series=_named(series),
        refused=fill(' <span class="bad">refused: {why}</span>', why=refused)
        if refused
        else EMPTY,
    )


def _named(series: Mapping[str, Any]) -> Html:
    return fill(
        "{name} <small>{type}</small>",
        name=series_name(series["name"], series["labels"]),
        type=series["type"],
    )
