"""From settings to stages: build the pipeline, reload its files, explain lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from statsd_bridge import expect, explain, exposition
from statsd_bridge.debug import DebugLog, DebugPipeline, LoggedRefusals
from statsd_bridge.fastpath import AnyPipeline, FastPipeline
from statsd_bridge.line import Dialect
from statsd_bridge.listener import ConnectionLimits, InheritedSockets
from statsd_bridge.log import BugReporter
from statsd_bridge.mapping import MappingTable
from statsd_bridge.memory import MemoryBudget
from statsd_bridge.model import Stats, StorageStats
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.relay import Relay, Rendezvous, ShardRelay
from statsd_bridge.series import NoQuotas, Quotas, SeriesStore, TextLimits
from statsd_bridge.series.set import hash_of_any_process, hash_of_process
from statsd_bridge.service.memory_limit import default_memory_limit
from statsd_bridge.service.reload import (
    Reloader,
    Tables,
    log_warnings,
    read_quotas,
    read_table,
)
from statsd_bridge.settings import Settings
from statsd_bridge.sharding import ShardingPipeline
from statsd_bridge.threads import Threads


class Components:
    """
    The stages of one bridge and the objects that they share; `reload` replaces rules.

    Raise ConfigError if the mapping file or the quota file is refused.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        *,
        inherited: InheritedSockets,
        limits: ConnectionLimits,
        threads: Threads,
    ) -> None:
        self.settings = settings
        self.reactor = reactor
        self.inherited = inherited
        self.limits = limits
        self.stats = Stats()
        self.bugs = BugReporter(self.stats)
        limit = settings.max_memory
        self.memory = MemoryBudget(default_memory_limit() if limit is None else limit)
        tables = load_tables(settings)
        self.storage = StorageStats()
        self.quotas = tables.quotas
        # Like at a reload, quotas refuse no series that is there: service/storage.py
        # puts them in force after the series of the last run are restored.
        quotas: Quotas = NoQuotas() if settings.storage_file else tables.quotas
        self.store = new_store(settings, quotas, self.memory)
        copies: Relay | None = None
        if settings.relay_addresses and not settings.shards:
            copies = Relay(
                settings.relay_addresses,
                packet_length=settings.relay_packet_length,
                stats=self.stats,
                bugs=self.bugs,
                reactor=reactor,
            )
        self.relay: Relay | ShardRelay | None = copies
        debug_log = DebugLog(time.time) if settings.log_level == "debug" else None
        lines = self.memory.diagnostics
        self.plain = Pipeline(
            table=tables.rules,
            store=self.store,
            stats=self.stats,
            bugs=self.bugs,
            dialect=new_dialect(settings),
            sources=settings.count_lines_from,
            relay=copies,
            failed_lines=LoggedRefusals(debug_log, lines) if debug_log else None,
        )
        self.pipeline: AnyPipeline = (
            FastPipeline(self.plain) if settings.batch else self.plain
        )
        if debug_log:
            self.pipeline = DebugPipeline(self.pipeline, self.plain, debug_log)
        if settings.shards:
            shards = self.relay = self._new_shards(tables.rules)
            self.pipeline = ShardingPipeline(
                self.pipeline, plain=self.plain, relay=shards, debug_log=debug_log
            )
        self.reloader = Reloader(
            settings,
            tables=tables,
            pipeline=self.pipeline,
            store=self.store,
            stats=self.stats,
            bugs=self.bugs,
            threads=threads,
        )

    def _new_shards(self, table: MappingTable) -> ShardRelay:
        settings = self.settings
        return ShardRelay(
            settings.relay_addresses,
            table=table,
            dialect=new_dialect(settings),
            failover=settings.relay_failover,
            packet_length=settings.relay_packet_length,
            stats=self.stats,
            bugs=self.bugs,
            account=self.memory.buffers,
            reactor=self.reactor,
        )


def load_tables(settings: Settings) -> Tables:
    """Load mapping file and quota file; raise ConfigError if one is refused."""
    tables = Tables(read_table(settings), read_quotas(settings))
    log_warnings(tables.rules)
    return tables


def new_store(
    settings: Settings, quotas: Quotas, memory: MemoryBudget | None = None
) -> SeriesStore:
    """Return an empty store."""
    return SeriesStore(
        max_series=settings.max_series,
        set_window=settings.set_window,
        set_hash=hash_of_any_process if settings.storage_file else hash_of_process,
        native_mode=settings.native_histograms,
        text_limits=text_limits(settings),
        reserved=exposition.reserved_names(),
        quotas=quotas,
        memory=memory,
        clock=time.monotonic,
    )


def text_limits(settings: Settings) -> TextLimits:
    """Return how long names and labels may be."""
    return TextLimits(
        name=settings.max_name_length,
        label_name=settings.max_label_name_length,
        label_value=settings.max_label_value_length,
    )


def new_dialect(settings: Settings) -> Dialect:
    """Return the styles of tags that are read."""
    return Dialect(
        dogstatsd=settings.dogstatsd_tags,
        influxdb=settings.influxdb_tags,
        librato=settings.librato_tags,
        signalfx=settings.signalfx_tags,
    )


def explain_lines(
    settings: Settings, lines: Sequence[bytes]
) -> list[explain.Explanation]:
    """Explain lines in order, against an empty store."""
    tables, dialect = load_tables(settings), new_dialect(settings)
    stores = explain.TrialStores(new_store(settings, tables.quotas))
    targets = shard_targets(settings)
    return [
        explain.explain(each, dialect, tables.rules, stores, targets) for each in lines
    ]


def shard_targets(settings: Settings) -> Rendezvous | None:
    """Return the targets of a sharding bridge; None for any other one."""
    if not settings.shards:
        return None
    return Rendezvous([str(each) for each in settings.relay_addresses])


def check_expectations(settings: Settings, file: str) -> expect.Report:
    """Test the mapping file with a file of expectations, against an empty store."""
    expectations = expect.read(file)
    tables, dialect = load_tables(settings), new_dialect(settings)
    store = new_store(settings, tables.quotas)
    failures = expect.check(expectations, dialect, tables.rules, store)
    return expect.Report(file=file, total=len(expectations), failures=failures)
