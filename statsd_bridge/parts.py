"""
Settings to the path and its parts: the rules, what remembers series, the dialect.

Also what reads a line without a bridge needs them.
"""

from __future__ import annotations

import time

from statsd_bridge import exposition, log, mapping
from statsd_bridge.batch import FastPipeline
from statsd_bridge.bugs import BugReporter
from statsd_bridge.line import Dialect
from statsd_bridge.mapping import MappingTable
from statsd_bridge.model import Stats
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.relay import Relay
from statsd_bridge.series import SeriesStore
from statsd_bridge.settings import Settings


def table(settings: Settings) -> MappingTable:
    """Read the mapping file, if there is one; a ConfigError says what is wrong."""
    if not settings.mapping_config:
        return mapping.empty(cache_size=settings.cache_size)
    loaded = mapping.load(
        settings.mapping_config,
        strict=settings.mapping_strict,
        cache_size=settings.cache_size,
    )
    for warning in loaded.warnings:
        log.logger(__name__).warning("mapping", what=warning)
    return loaded


def store(settings: Settings) -> SeriesStore:
    """Make what remembers series, empty."""
    return SeriesStore(
        max_series=settings.max_series,
        set_window=settings.set_window,
        reserved=exposition.reserved_names(),
        clock=time.monotonic,
    )


def dialect(settings: Settings) -> Dialect:
    """Name the styles of tags that are read."""
    return Dialect(
        dogstatsd=settings.dogstatsd_tags,
        influxdb=settings.influxdb_tags,
        librato=settings.librato_tags,
        signalfx=settings.signalfx_tags,
    )


def path(
    settings: Settings,
    store: SeriesStore,
    stats: Stats,
    *,
    bugs: BugReporter,
    relay: Relay | None,
) -> Pipeline:
    """Compose the path, the quick one or the plain one."""
    made = FastPipeline if settings.batch else Pipeline
    return made(
        table=table(settings),
        store=store,
        stats=stats,
        bugs=bugs,
        dialect=dialect(settings),
        sources=settings.count_lines_from,
        relay=relay,
    )
