"""A series as a row: its labels, values, age and times, as values for JSON."""

from __future__ import annotations

from statsd_bridge.inspection.makers import RuleFinder
from statsd_bridge.inspection.search import FoundSeries
from statsd_bridge.inspection.steps import Json, finite
from statsd_bridge.model import MetricType
from statsd_bridge.series import Series
from statsd_bridge.syntax import parse_labels

MAX_BUCKETS = 200
"""Buckets of a row; a histogram with more has those that are evenly spaced."""


def series_row(
    found: FoundSeries, now: float, finder: RuleFinder | None = None
) -> Json:
    """Return a row; `now` is a time of the store's clock."""
    family, series = found.family, found.series
    ttl = series.ttl
    age = now - series.last_update if ttl else None
    labels = parse_labels(found.label_text)
    return {
        "name": family.name,
        "labels": labels,
        "type": str(family.type),
        **_values(family.type, series, now),
        "age_seconds": age if age is None else max(0.0, age),
        "created": series.created,
        "ttl": ttl or None,
        "expires_in": None if age is None else max(0.0, ttl - age),
        "rule": finder and finder.find(family, labels, series),
    }


def _values(type: MetricType, series: Series, now: float) -> Json:
    values = series.values(now)
    if type is MetricType.HISTOGRAM:
        return _histogram(series, values)
    if type is MetricType.SUMMARY:
        quantiles = [each.quantile for each in series.options.quantiles]
        pairs = zip(quantiles, map(finite, values), strict=False)
        return {
            "count": values[-1],
            "sum": finite(values[-2]),
            "quantiles": [list(pair) for pair in pairs],
        }
    return {"value": finite(values[0])}


def _histogram(series: Series, values: tuple[float, ...]) -> Json:
    bounds = (*series.options.buckets, float("inf"))
    step = -(-len(bounds) // MAX_BUCKETS)
    # From the end, so that +Inf is one of them.
    chosen = range(len(bounds) - 1, -1, -step)[::-1]
    return {
        "count": values[-1],
        "sum": finite(values[-2]),
        "buckets": [[finite(bounds[at]), values[at]] for at in chosen],
        "buckets_left_out": len(bounds) - len(chosen),
        "native": series.options.native is not None,
    }
