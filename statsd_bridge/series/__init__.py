"""The time series in memory: created by their first sample, removed by expiry."""

from __future__ import annotations

from statsd_bridge.series.base import GrowingSeries, Series
from statsd_bridge.series.counter_gauge import Gauge, SingleValue
from statsd_bridge.series.family import MetricFamily
from statsd_bridge.series.histogram import Histogram
from statsd_bridge.series.limits import TextLimits
from statsd_bridge.series.listener import SeriesListener
from statsd_bridge.series.native import NativeHistogram, NativeStats
from statsd_bridge.series.quota import Quota, Quotas
from statsd_bridge.series.store import SeriesStore

__all__ = [
    "Gauge",
    "GrowingSeries",
    "Histogram",
    "MetricFamily",
    "NativeHistogram",
    "NativeStats",
    "Quota",
    "Quotas",
    "Series",
    "SeriesListener",
    "SeriesStore",
    "SingleValue",
    "TextLimits",
]
