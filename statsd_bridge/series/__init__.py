"""The time series in memory: created by their first sample, removed by expiry."""

from __future__ import annotations

from statsd_bridge.series.base import SampleBuffer, SampleFormat, Series
from statsd_bridge.series.store import MetricFamily, SeriesStore

__all__ = ["MetricFamily", "SampleBuffer", "SampleFormat", "Series", "SeriesStore"]
