"""
A page of Prometheus text to the numbers on it, and to a table of the five that matter.

    crocbot_messages_total{type="text"} 12
    name                   labels       value

It reads what a bridge prints, not everything that the format allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

LINE = re.compile(r"(?P<name>[^{\s]+)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

UPTIME = "crocbot_uptime_seconds"
MESSAGES = "crocbot_messages_total"
ERRORS = "crocbot_errors_total"
LATENCY = "crocbot_telegram_latency_seconds"
RECONNECTS = "crocbot_telegram_reconnects_total"
MISSION = (UPTIME, MESSAGES, ERRORS, LATENCY, RECONNECTS)


class Series(NamedTuple):
    """One line of the page."""

    name: str
    labels: Mapping[str, str]
    value: float


def read(text: str) -> list[Series]:
    """Read a page."""
    found = (LINE.match(line) for line in text.split("\n") if line[:1] != "#")
    return [
        Series(
            line["name"],
            dict(LABEL.findall(line["labels"] or "")),
            float(line["value"]),
        )
        for line in found
        if line
    ]


def by_label(series: Iterable[Series], name: str) -> dict[str, float]:
    """The values of one name; the key is all of its label values."""
    return {
        " ".join(one.labels.values()): one.value for one in series if one.name == name
    }


def table(series: Iterable[Series]) -> Iterator[str]:
    """The five metrics, a line each."""
    series = list(series)
    width = max(map(len, MISSION)) + 2
    for name in MISSION:
        shown = _latency(series) if name == LATENCY else _shown(by_label(series, name))
        yield f"{name:{width}}{shown or 'not there yet'}"


def _shown(values: Mapping[str, float]) -> str:
    """
    Label values and numbers; where most are 0, only the others.

        text 12   media 3   command 4          0, or network warning 1
    """
    if len(values) > 3:
        if not any(values.values()):
            return f"0 in all {len(values)} series"
        values = {label: value for label, value in values.items() if value}
    return "   ".join(
        f"{label} {_number(value)}".strip() for label, value in values.items()
    )


def _latency(series: Iterable[Series]) -> str:
    series = list(series)
    counts = by_label(series, f"{LATENCY}_count")
    sums = by_label(series, f"{LATENCY}_sum")
    return "   ".join(
        f"{label} {_number(count)}"
        + (f" (mean {sums.get(label, 0) / count * 1000:.0f} ms)" if count else "")
        for label, count in counts.items()
    )


def _number(value: float) -> str:
    """Counts whole, the rest with one digit behind the point."""
    return f"{value:.0f}" if value.is_integer() else f"{value:.1f}"
