"""HTML from templates: each value is escaped unless it is HTML already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from itertools import islice
from typing import Final

from statsd_bridge.errors import escaped


class Html(str):
    """Text that is HTML: `fill` inserts it without escaping."""

    __slots__ = ()


EMPTY: Final = Html()

MAX_LABELS: Final = 16
"""Labels of a series that are shown; a sender may send thousands."""

MAX_TEXT: Final = 256
"""Characters of a name or of a label that are shown in a table."""


def fill(template: str, /, **values: object) -> Html:
    """Return a template with each `{name}` replaced by a value, escaped."""
    return Html(
        template.format_map({name: _escaped(each) for name, each in values.items()})
    )


def html(value: object) -> Html:
    """Return a value as HTML."""
    return value if isinstance(value, Html) else Html(_escaped(value))


def _escaped(value: object) -> str:
    if isinstance(value, Html):
        return value
    text = str(value)
    # A page has a thousand values, and most of them are not worth a search.
    if text.isalnum():
        return text
    return escape(text if text.isprintable() else escaped(text))


def join(parts: Iterable[object], separator: str = "") -> Html:
    """Return values one after another, each as HTML."""
    return Html(separator.join(map(_escaped, parts)))


def code(text: object) -> Html:
    """Return a text that a sender or a file may have chosen, isolated from the page."""
    return fill("<code>{text}</code>", text=text)


def short_code(text: str) -> Html:
    """Return the same, cut: one text must not take the whole page."""
    return code(_cut(text))


def label_value(text: str) -> str:
    """Return a label value in quotes, as the text format writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def series_name(name: str, labels: Mapping[str, str]) -> Html:
    """Return a metric name with its labels: `name{a="b"}`."""
    pairs = [
        fill(
            '<span class="label">{name}=<span class="value">{value}</span></span>',
            name=_cut(name),
            value=label_value(_cut(value)),
        )
        for name, value in islice(labels.items(), MAX_LABELS)
    ]
    if len(labels) > MAX_LABELS:
        pairs.append(fill("<i>and {n} more</i>", n=len(labels) - MAX_LABELS))
    braces = fill("{{{pairs}}}", pairs=join(pairs, ",<wbr>")) if pairs else EMPTY
    return fill(
        '<code class="series"><b>{name}</b>{braces}</code>',
        name=_cut(name),
        braces=braces,
    )
