"""
Replace rules and quotas of a running bridge by those that are in their files now.

    request --> thread: read and check the files --> reactor: swap the tables in

If one file is refused, the old content of both stays.  The reactor receives lines
meanwhile.  Requests that arrive while the files are read wait together for one further
reading, since the files may have changed after the first one.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from statsd_bridge import log, mapping, quotas
from statsd_bridge.document.pace import NO_PACE, Pace
from statsd_bridge.errors import ConfigError
from statsd_bridge.fastpath import AnyPipeline
from statsd_bridge.inspection import Reload
from statsd_bridge.log import BugReporter
from statsd_bridge.mapping import MappingTable
from statsd_bridge.model import Stats
from statsd_bridge.quotas import QuotaTable
from statsd_bridge.series import SeriesStore
from statsd_bridge.settings import Settings
from statsd_bridge.threads import Threads

PACE_SECONDS = 0.001
"""How long a file is read at once, and how long the reactor can run after that."""


class Tables(NamedTuple):
    """What the mapping file and the quota file hold."""

    rules: MappingTable
    quotas: QuotaTable


class Reloader:
    """
    Loads the mapping file and the quota file again, one reading at a time.

    `tables` are in force when the bridge starts.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tables: Tables,
        pipeline: AnyPipeline,
        store: SeriesStore,
        stats: Stats,
        bugs: BugReporter,
        threads: Threads,
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._pipeline = pipeline
        self._store = store
        self._reloads = stats.config_reloads
        self._bugs = bugs
        self._threads = threads
        self._is_reading = False
        self._waiting: list[Deferred[str]] = []
        self._log = log.logger(__name__)
        self.loaded_at = time.time()
        """When the rules in force were read; a Unix time."""
        self.last: Reload | None = None
        """The last reload and its result."""

    def reload(self) -> Deferred[str]:
        """Reload; the result is why a file is refused, or an empty text."""
        if not (self._settings.mapping_config or self._settings.quota_config):
            self._log.warning(
                "nothing to reload: there is no --statsd.mapping-config and no"
                " --statsd.quota-config"
            )
            return succeed("")
        answer: Deferred[str] = Deferred()
        self._waiting.append(answer)
        if not self._is_reading:
            self._read()
        return answer

    def _read(self) -> None:
        self._is_reading = True
        answers, self._waiting = self._waiting, []
        # This may raise: the system refuses a thread.
        read = maybeDeferred(
            self._threads.run, _read_again, self._settings, self._tables
        )
        outcome = read.addCallback(self._swap).addErrback(self._fail)
        outcome.addCallback(self._answer, answers)

    def _swap(self, tables: Tables | ConfigError) -> str:
        if isinstance(tables, ConfigError):
            return self._refuse(str(tables))
        replaced, self._tables = self._tables, tables
        if tables.rules is not replaced.rules:
            self._pipeline.replace_table(tables.rules)
            # The last reference is the thread's, which takes its time to free it.
            freed = maybeDeferred(
                self._threads.run, replaced.rules.dismantle, Pace(PACE_SECONDS)
            )
            freed.addErrback(self._report)
        if tables.quotas is not replaced.quotas:
            self._store.quotas.replace(tables.quotas)
        self._reloads["success"] += 1
        self.loaded_at = time.time()
        self.last = Reload(self.loaded_at, "")
        log_warnings(tables.rules)
        self._log.info("reloaded", rules=len(tables.rules), quotas=len(tables.quotas))
        return ""

    def _fail(self, failure: Failure) -> str:
        self._report(failure)
        problem = f"cannot be read because of a bug: {type(failure.value).__name__}"
        settings = self._settings
        files = filter(None, (settings.mapping_config, settings.quota_config))
        return self._refuse(f"{' or '.join(files)}: {problem}")

    def _report(self, failure: Failure) -> None:
        if isinstance(failure.value, Exception):
            self._bugs.report(failure.value)

    def _refuse(self, reason: str) -> str:
        self._reloads["failure"] += 1
        self.last = Reload(time.time(), reason)
        self._log.error("reload refused, the old rules and quotas stay", error=reason)
        return reason

    def _answer(self, reason: str, answers: list[Deferred[str]]) -> None:
        self._is_reading = False
        if self._waiting:
            self._read()
        for each in answers:
            each.callback(reason)


def read_table(
    settings: Settings, current: MappingTable | None = None, pace: Pace = NO_PACE
) -> MappingTable:
    """
    Load the mapping file, if there is one; raise ConfigError if it is refused.

    Return `current` if it has the rules of the file.
    """
    return mapping.load(
        settings.mapping_config,
        strict=settings.mapping_strict,
        cache_size=settings.cache_size,
        current=current,
        pace=pace,
    )


def read_quotas(
    settings: Settings, current: QuotaTable | None = None, pace: Pace = NO_PACE
) -> QuotaTable:
    """
    Load the quota file, if there is one; raise ConfigError if it is refused.

    Return `current` if it has the quotas of the file.
    """
    return quotas.load(
        settings.quota_config,
        default=settings.max_series_per_name,
        current=current,
        pace=pace,
    )


def _read_again(settings: Settings, current: Tables) -> Tables | ConfigError:
    """Return the new tables, or the error without the data that its frames hold."""
    pace = Pace(PACE_SECONDS)
    try:
        rules = read_table(settings, current.rules, pace)
        return Tables(rules, read_quotas(settings, current.quotas, pace))
    except ConfigError as error:
        return ConfigError(str(error))


def log_warnings(table: MappingTable) -> None:
    """Log the warnings of the file that a table was read from."""
    for warning in table.warnings:
        log.logger(__name__).warning("mapping", warning=warning)
