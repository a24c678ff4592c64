"""Links and choices, with their values escaped."""

from __future__ import annotations

from urllib.parse import urlencode

from statsd_bridge.web.ui.markup import EMPTY, Html, fill, join


def url(address: str, /, **parameters: object) -> str:
    """Return an address with its parameters, the empty ones left out."""
    kept = {
        name: _bytes(str(each))
        for name, each in parameters.items()
        if each not in ("", None)
    }
    return f"{address}?{urlencode(kept)}" if kept else address


def _bytes(text: str) -> bytes:
    """Return the bytes of a text that `surrogateescape` may have made of them."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def link(address: str, text: object, part: str = "", **parameters: object) -> Html:
    """Return a link; the script swaps the section `part` instead of following it."""
    swap = fill(' data-swap="{part}"', part=part) if part else EMPTY
    href = url(address, **parameters)
    return fill('<a href="{href}"{swap}>{text}</a>', href=href, swap=swap, text=text)


def select(name: str, label: str, options: dict[str, str], chosen: str) -> Html:
    """Return a labelled choice; `options` maps values to texts."""
    items = [
        fill(
            '<option value="{value}"{selected}>{text}</option>',
            value=value,
            selected=Html(" selected") if value == chosen else EMPTY,
            text=text,
        )
        for value, text in options.items()
    ]
    return fill(
        '<label>{label} <select name="{name}">{items}</select></label>',
        label=label,
        name=name,
        items=join(items),
    )
