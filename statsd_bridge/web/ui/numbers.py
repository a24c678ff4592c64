"""Numbers, sizes, durations and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from statsd_bridge.web.ui.markup import Html, fill

Number = int | float | str
"""A number of a JSON document; NaN and the infinities are text there."""

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def number(value: Number) -> str:
    """Return a number with its thousands apart: 1,234,567 or 0.25."""
    if isinstance(value, str):
        return value
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.6g}" if 1e-4 <= abs(value) < 1e15 else f"{value:g}"


def count(number: int, noun: str) -> str:
    """Return a number of things: 1 name, 1,234 names; `series` stays as it is."""
    plural = "" if number == 1 or noun.endswith("s") else "s"
    return f"{number:,} {noun}{plural}"


def rate(value: float) -> str:
    """Return a rate with three digits: 12,345 or 1.23 or 0."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def size(value: float) -> str:
    """Return bytes as 512 B, 1.5 KiB or 20 MiB."""
    if value < 1024:
        return f"{value:.0f} B"
    for unit in _UNITS:
        value /= 1024
        if value < 1023.95 or unit == _UNITS[-1]:
            break
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a duration with its two largest units: 12 s, 3 min 5 s, 2 d 4 h."""
    whole = max(0, int(seconds))
    if whole == 0 and seconds > 0:
        return f"{seconds:.1g} s"
    found: list[tuple[int, str]] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, length)
        if count or found:
            found.append((count, unit))
    shown = [f"{count} {unit}" for count, unit in found[:2] if count]
    return " ".join(shown) or "0 s"


def percent(part: float, whole: float) -> str:
    """Return a part of a whole: 3 %, or less than 1 %."""
    if not whole:
        return "0 %"
    share = 100 * part / whole
    return "less than 1 %" if 0 < share < 1 else f"{share:.0f} %"


def ago(time: float, now: float) -> Html:
    """Return how long ago a Unix time was, with the time itself."""
    return _time(time, f"{duration(now - time)} ago")


def timestamp(time: float) -> Html:
    """Return a Unix time in UTC."""
    return _time(time, "")


def _time(time: float, text: str) -> Html:
    # A clock may be far off; no page fails for it.
    at = datetime.fromtimestamp(min(max(time, 0), 253_402_300_799), UTC)
    machine = at.replace(tzinfo=None).isoformat(timespec="seconds")
    full = f"{machine.replace('T', ' ')} UTC"
    return fill(
        '<time datetime="{machine}Z" title="{full}">{text}</time>',
        machine=machine,
        full=full,
        text=text or full,
    )
