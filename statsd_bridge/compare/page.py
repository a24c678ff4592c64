"""
A page of metrics in the text format --> its series, each with one or several numbers.

    api_hits_total{page="home"} 3      Series("api_hits_total", (("page", "home"),))
    # of a histogram                   --> numbers {"le=0.5": 2, ..., "count": 3}

Metrics that a program shows about itself are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from statsd_bridge.syntax import parse_labels

START_TIME: Final = "process_start_time_seconds"
REFUSED: Final = "statsd_bridge_series_refused_total"
EVENTS: Final = "statsd_exporter_events_total"
REJECTED: Final = "statsd_exporter_events_error_total"
ERRORS: Final = "statsd_exporter_sample_errors_total"

UNTYPED: Final = "untyped"

VALUE: Final = ""
"""The key of the number of a series that has only one."""

SUM: Final = "sum"
"""The key of the sum of a histogram or summary."""

COUNTING: Final = frozenset({"counter", "histogram", "summary"})
"""Types whose numbers are compared by their increase."""

_OWN: Final = re.compile(
    r"(?:go|process|python|promhttp|statsd_exporter|statsd_bridge|statsd_metric_mapper)_"
)
# A name, labels and a number; a timestamp may follow.  Not by a library: that of
# prometheus_client gives counters other names.
_LINE: Final = re.compile(r"([^\s{]+)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*")
_PARTS: Final = ("_bucket", "_sum", "_count")


class Series(NamedTuple):
    """A series by its name and labels, without those of a bucket or quantile."""

    name: str
    labels: tuple[tuple[str, str], ...]


@dataclass(slots=True, kw_only=True)
class Page:
    """
    The series of a page.

    `types` has the type of each name, `numbers` those of each series: of a counter or a
    gauge one, of a histogram its buckets, of it and a summary sum and count.  Quantiles
    are left out: they depend on the moment.  `refused` has names of which the program
    has refused series, with the reason, `rejected` the reasons of single samples, and
    `errors` counts the lines that it could not parse.
    """

    types: dict[str, str] = field(default_factory=dict)
    numbers: dict[Series, dict[str, float]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    started_at: float | None = None
    has_sets: bool = False
    errors: float = 0.0


def read(text: str) -> Page:
    """Read a page; ValueError if it is not in the text format."""
    page, type, family = Page(), UNTYPED, ""
    for line in filter(None, text.split("\n")):
        if line.startswith("#"):
            words = line.split(None, 3)
            if words[1:2] == ["TYPE"]:
                _, _, family, type = words
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(line)
        name, labels = found[1], parse_labels(found[2] or "")
        if _OWN.match(name):
            _note(page, name, labels, float(found[3]))
            continue
        if name.removesuffix(_part(name)) != family and name != family:
            type, family = UNTYPED, name
        _add(page, type, name, labels, float(found[3]))
    return page


def _part(name: str) -> str:
    """Return the end of a name that a part of a histogram or summary has."""
    return next((end for end in _PARTS if name.endswith(end)), "")


def _note(page: Page, name: str, labels: dict[str, str], value: float) -> None:
    """Take what explains differences from a metric of the program itself."""
    if name == START_TIME:
        page.started_at = value
    elif name == REFUSED and value:
        page.refused[labels.get("metric_name", "")] = labels.get("reason", "")
    elif name == REJECTED and value:
        page.rejected.add(labels.get("reason", ""))
    elif name == EVENTS and labels.get("type") == "set":
        page.has_sets = value > 0
    elif name == ERRORS:
        page.errors += value


def _add(
    page: Page, type: str, name: str, labels: dict[str, str], value: float
) -> None:
    key = VALUE
    if type in ("histogram", "summary"):
        end = _part(name)
        if end == "_bucket":
            key = f"le={float(labels.pop('le', 'nan')):g}"
        elif end:
            key = end[1:]
        else:
            # A quantile.
            return
        name = name.removesuffix(end)
    page.types[name] = type
    series = Series(name, tuple(sorted(labels.items())))
    numbers = page.numbers.setdefault(series, {})
    if key in numbers:
        # Prometheus refuses such a page as well.
        raise ValueError(f"{name} is there twice")
    numbers[key] = value
