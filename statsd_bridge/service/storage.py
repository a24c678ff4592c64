"""
The series over a restart: read when the sockets are open, written when they are closed.

    start    lock, open sockets, take the file, restore, discard it    first packet
             .......................... packets are held .............
    stop     last packet, last page, sockets closed, flush, write      end

A state that is older than the last page would look like a reset of each counter to
Prometheus, and count twice.  So the file is gone before anything is received or shown.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

from statsd_bridge import log
from statsd_bridge.errors import ConfigError, StorageError
from statsd_bridge.model import StorageResult
from statsd_bridge.service.build import Components
from statsd_bridge.service.http import VERSION
from statsd_bridge.service.listeners import Listeners
from statsd_bridge.storage import (
    SeriesFile,
    SeriesReader,
    Taken,
    WrittenAt,
    chunks_of_series,
)
from statsd_bridge.storage.read import EXPIRED


class Storage:
    """The file of one bridge; while it is read, `listeners` hold their datagrams."""

    def __init__(self, components: Components, listeners: Listeners) -> None:
        self._components = components
        self._listeners = listeners
        self._stats = components.storage
        self._store = components.store
        self._file = SeriesFile(components.settings.storage_file)
        self._log = log.logger(__name__)

    def open(self) -> None:
        """Keep the file for this bridge; raise ConfigError if it cannot be used."""
        self._file.check()
        self._file.lock()

    def restore(self) -> None:
        """
        Take up the series of the last run, if it has left any.

        Raise ConfigError if the file can be read but not removed: a later start would
        take an old state up.  Whatever else is wrong is logged, and shown on the page.
        """
        try:
            taken = self._file.take()
            if taken is not None:
                self._read(taken)
            else:
                self._begin_without_series()
        except StorageError as error:
            self._refuse(str(error))
        except ConfigError:
            raise
        except Exception as error:
            self._components.bugs.report(error)
            self._refuse(f"a bug: {type(error).__name__}")
        self._file.note_use()
        self._store.quotas.replace(self._components.quotas)
        self._listeners.release()

    def save(self) -> bool:
        """Write all series; return whether that worked."""
        store, pipeline = self._store, self._components.pipeline
        try:
            with _without_collector():
                pipeline.flush()
                store.expire()
                written = self._file.write(
                    chunks_of_series(store, store.now()), VERSION
                )
        except Exception as error:
            if not isinstance(error, OSError):
                self._components.bugs.report(error)
            reason = getattr(error, "strerror", None) or type(error).__name__
            file = str(self._file.path)
            self._log.error("series not written", file=file, error=reason)
            return False
        report = self._log.error if written.left_out else self._log.info
        report(
            "series written",
            file=str(self._file.path),
            series=written.series,
            left_out=written.left_out,
            bytes=written.bytes,
            seconds=round(written.seconds, 3),
        )
        return True

    def _read(self, taken: Taken) -> None:
        stats, store, now = self._stats, self._store, self._store.now()
        started_at = time.monotonic()
        age = taken.written_at.seconds_until(WrittenAt.now())
        reader = SeriesReader(store, written_at=now - age, now=now)
        stats.result = StorageResult.RESTORED
        stats.age_seconds, stats.write_seconds = age, taken.write_seconds
        stats.left_out = reader.left_out
        try:
            with _without_collector():
                for chunk in taken.chunks():
                    reader.read(chunk)
                    self._listeners.hold()
        finally:
            stats.restored = len(store)
            stats.read_seconds = time.monotonic() - started_at
        self._file.discard()
        # A ttl that ended meanwhile is no loss.
        is_whole = reader.left_out.keys() <= {EXPIRED}
        report = self._log.info if is_whole else self._log.warning
        report(
            "series restored",
            file=str(self._file.path),
            series=stats.restored,
            left_out=reader.left_out.total(),
            **{f"left_out_{reason}": n for reason, n in reader.left_out.items()},
            age_seconds=round(age, 3),
            seconds=round(stats.read_seconds, 3),
        )

    def _begin_without_series(self) -> None:
        file = str(self._file.path)
        self._stats.restored = 0
        self._stats.result = StorageResult.FIRST_START
        if self._file.was_used():
            self._stats.result = StorageResult.UNCLEAN_STOP
            event = "no series to restore: the last run did not stop cleanly"
            self._log.warning(event, file=file)
        else:
            self._log.info("no series to restore: this is the first start", file=file)

    def _refuse(self, problem: str) -> None:
        """Go on with the series that were read until here; keep the file aside."""
        self._file.reject()
        stats, rejected = self._stats, self._file.rejected
        stats.result = StorageResult.UNREADABLE
        stats.restored = len(self._store)
        stats.problem = f"{self._file.path}: {problem}"
        self._log.error(
            "the series of the last run cannot be read",
            file=str(self._file.path),
            error=problem,
            kept_as=str(rejected),
            restored=stats.restored,
        )


@contextmanager
def _without_collector() -> Iterator[None]:
    """Let no garbage be collected: the objects of all series would be visited often."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
