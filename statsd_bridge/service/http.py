"""Connect the pages to the pipeline and its series."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

from twisted.internet.error import ReactorNotRunning

from statsd_bridge import explain, exposition, web
from statsd_bridge.exposition import SelfMetrics, Vitals
from statsd_bridge.listener import ConnectionLimits
from statsd_bridge.model import EventError, Sample, SeriesSpec
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.series import SeriesStore
from statsd_bridge.service.build import Context, dialect, new_store
from statsd_bridge.service.listeners import Listeners
from statsd_bridge.service.reload import Reloader

VERSION = version("crocbot")


class HttpBackend(web.Backend):
    """What the pages show of one bridge."""

    def __init__(
        self,
        context: Context,
        pipeline: Pipeline,
        *,
        store: SeriesStore,
        listeners: Listeners,
        reloader: Reloader,
    ) -> None:
        self._context = context
        self._settings = context.settings
        self._pipeline = pipeline
        self._store = store
        self._listeners = listeners
        self._reloader = reloader
        self._self_metrics = SelfMetrics(context.stats, self._vitals)

    def factory(self, guard: web.Guard, limits: ConnectionLimits) -> Any:
        """Return the factory that the reactor serves the pages with."""
        return web.http_factory(
            self,
            guard,
            stats=self._context.stats,
            bugs=self._context.bugs,
            reactor=self._context.reactor,
            telemetry_path=self._settings.telemetry_path,
            enable_lifecycle=self._settings.enable_lifecycle,
            version=VERSION,
            max_connections=limits.http,
        )

    def metrics(self, accept: str) -> web.MetricsPage:
        """Render all series, including all lines that have arrived until now."""
        self._listeners.drain()
        self._pipeline.flush()
        form = exposition.choose(accept)
        slices = exposition.render(
            form,
            self._store.families(),
            time.monotonic(),
            self._context.bugs,
            self._self_metrics,
        )
        return web.MetricsPage(form.value, slices)

    def reload(self) -> str:
        """Reload the mapping file; return why it is refused, or an empty text."""
        return self._reloader.reload()

    def quit(self) -> None:
        """Stop the reactor."""
        try:
            self._context.reactor.stop()
        except ReactorNotRunning:
            # It is stopping already.
            return

    def explain(self, line: bytes) -> Any:
        """Explain what would become of a line now; nothing changes."""
        # Samples of one line can also conflict with each other.
        scratch = new_store(self._settings)

        def refuses(target: SeriesSpec, sample: Sample) -> EventError | None:
            rejection = scratch.record(target, sample)
            within = rejection.reason if rejection else None
            return self._store.rejection_reason(target, sample) or within

        table, styles = self._pipeline.table, dialect(self._settings)
        return explain.as_json(explain.explain(line, styles, table, refuses))

    def unmapped(self) -> Any:
        """List unmapped names and rejected lines, newest first."""
        self._pipeline.flush()
        return {
            "unmapped_names": [
                {"name": name, "type": type_, "count": count}
                for (name, type_), count in self._pipeline.unmapped_names.newest_first()
            ],
            "refused_lines": [
                {
                    "line": line.decode("utf-8", "backslashreplace"),
                    "reason": reason,
                    "count": count,
                }
                for (
                    line,
                    reason,
                ), count in self._pipeline.rejected_lines.newest_first()
            ],
        }

    def _vitals(self) -> Vitals:
        pipeline, table = self._pipeline, self._pipeline.table
        received_at = self._listeners.received_at
        return Vitals(
            version=VERSION,
            loaded_mappings=len(table),
            cache_size=self._settings.cache_size,
            cache_length=table.cache_length,
            cache_gets=table.cache_gets + pipeline.fast_samples,
            cache_hits=table.cache_hits + pipeline.fast_samples,
            series=len(self._store),
            label_sets=self._store.label_sets_total,
            kernel_drops=self._listeners.kernel_drops(),
            datagrams_cut=self._listeners.truncated,
            quiet_seconds=(
                None if received_at is None else time.monotonic() - received_at
            ),
        )
