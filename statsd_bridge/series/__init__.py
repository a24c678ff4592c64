"""Targets and values to what is remembered, until its time to live is over."""

from __future__ import annotations

from statsd_bridge.series.base import SampleBuffer, SampleFormat
from statsd_bridge.series.store import Store

__all__ = ["SampleBuffer", "Store", "SampleFormat"]
