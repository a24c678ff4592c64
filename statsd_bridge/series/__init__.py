"""The time series in memory: created by their first sample, removed by expiry."""

from __future__ import annotations

from statsd_bridge.series.base import GrowingSeries, Series
from statsd_bridge.series.counter_gauge import Gauge, SingleValue
from statsd_bridge.series.family import MetricFamily
from statsd_bridge.series.histogram import Histogram
from statsd_bridge.series.limits import TextLimits
from statsd_bridge.series.listener import SeriesListener
from statsd_bridge.series.native import NativeHistogram, NativeState, NativeStats
from statsd_bridge.series.quota import NoQuotas, Quota, Quotas
from statsd_bridge.series.set import UniqueSet
from statsd_bridge.series.sketch import Sketch
from statsd_bridge.series.store import SeriesStore
from statsd_bridge.series.summary import Summary

__all__ = [
    "Gauge",
    "GrowingSeries",
    "Histogram",
    "MetricFamily",
    "NativeHistogram",
    "NativeState",
    "NativeStats",
    "NoQuotas",
    "Quota",
    "Quotas",
    "Series",
    "SeriesListener",
    "SeriesStore",
    "SingleValue",
    "Sketch",
    "Summary",
    "TextLimits",
    "UniqueSet",
]
