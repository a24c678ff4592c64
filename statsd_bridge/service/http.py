"""Connect the pages to the pipeline and its series."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from statsd_bridge import explain, exposition, stderr, web
from statsd_bridge.exposition import BridgeState, SelfMetrics
from statsd_bridge.inspection import Inspector, ServiceState
from statsd_bridge.inspection.unmapped import unmapped_and_refused
from statsd_bridge.model import HostPort
from statsd_bridge.series import MetricFamily
from statsd_bridge.series.families import MAX_PART_FAMILIES
from statsd_bridge.service.build import (
    Components,
    new_dialect,
    new_store,
    shard_targets,
)
from statsd_bridge.service.listeners import Listeners
from statsd_bridge.service.trials import Trials

VERSION = version("crocbot")


class HttpBackend(web.Backend):
    """Implements web.Backend and StateSource for one bridge."""

    def __init__(self, components: Components, listeners: Listeners) -> None:
        self.stats = components.stats
        self.bugs = components.bugs
        self.reactor = components.reactor
        self._components = components
        self._settings = components.settings
        self._pipeline = components.pipeline
        self.plain = components.plain
        self._store = components.store
        self._listeners = listeners
        self._self_metrics = SelfMetrics(self)
        self._trials = Trials(components)
        self.addresses: dict[str, str] = {}
        """Those that the bridge listens on, by transport."""
        self.inspector = Inspector(self, self._store)

    def listen(self, guard: web.Guard) -> HostPort:
        """Serve the pages; return the address."""
        factory = web.http_factory(
            self,
            guard,
            self._settings,
            version=VERSION,
            max_connections=self._components.limits.http,
        )
        flag, address = "web.listen-address", self._settings.listen_web
        inherited = self._components.inherited
        return inherited.listen_tcp(self.reactor, flag, address, factory)

    def render_metrics(self, accept: str) -> web.RenderedPage:
        """Render all series, including all lines that have arrived until now."""
        self._listeners.drain()
        self._pipeline.flush()
        page_format, now = exposition.choose(accept), time.monotonic()
        if page_format is exposition.Format.PROTOBUF:
            self._store.native.note_scrape(now)
        return web.RenderedPage(page_format.value, self._slices(page_format, now))

    def _slices(self, page_format: exposition.Format, now: float) -> Iterator[bytes]:
        """Yield the page in slices; those before all families are listed are empty."""
        families: list[MetricFamily] = []
        for part in self._store.parts_of_families():
            families += part
            if len(part) in (0, MAX_PART_FAMILIES):
                yield b""
        yield from exposition.render(
            page_format,
            families,
            now,
            bugs=self.bugs,
            self_metrics=self._self_metrics,
            encoded=self._store.memory.encoded,
            created_lines=self._settings.openmetrics_created,
        )

    def has_backlog(self) -> bool:
        """Return whether more packets wait than are read at once."""
        return self._listeners.has_backlog()

    def flush(self) -> None:
        """Receive and process what has arrived until now, but for a flood."""
        if not self._listeners.has_backlog():
            self._listeners.read_some()
        self._pipeline.flush()

    def reload(self) -> Deferred[str]:
        """Reload the files; the result is why one is refused, or empty."""
        return self._components.reloader.reload()

    def quit(self) -> None:
        """Stop the reactor."""
        # Raised if it is stopping already.
        with suppress(ReactorNotRunning):
            self.reactor.stop()

    def explain(self, line: bytes) -> Any:
        """Explain what would become of a line now; nothing changes."""
        scratch = new_store(self._settings, self._store.quotas.quotas)
        stores = explain.TrialStores(scratch, self._store)
        table, dialect = self.plain.table, new_dialect(self._settings)
        targets = shard_targets(self._settings)
        return explain.as_json(explain.explain(line, dialect, table, stores, targets))

    def list_unmapped_and_failed(self) -> Any:
        """List unmapped names and failed lines, newest first."""
        self._pipeline.flush()
        return unmapped_and_refused(self.plain)

    def try_mapping(self, text: bytes, file: str) -> Deferred[web.TrialAnswer]:
        """Return what the text of a mapping file would change; nothing changes."""
        return self._trials.run(text, file)

    def service_state(self) -> ServiceState:
        """Return what the page shows besides the self-metrics."""
        reloader, settings = self._components.reloader, self._settings
        return ServiceState(
            addresses=self.addresses,
            mapping_file=settings.mapping_config,
            mapping_loaded_at=reloader.loaded_at,
            last_reload=reloader.last,
            max_series=settings.max_series,
        )

    def _relay_targets(self) -> dict[tuple[str, str], int]:
        relay, mode = self._components.relay, self._settings.relay_mode
        targets = relay.targets if relay is not None else ()
        return {(mode, each.name): int(each.is_up) for each in targets}

    def state(self) -> BridgeState:
        """Return what the self-metrics show."""
        received_at = self._listeners.received_at
        return BridgeState(
            version=VERSION,
            stats=self.stats,
            rules=len(self.plain.table),
            cache=self.plain.cache if self._settings.cache_size else None,
            series=len(self._store),
            memory=self._store.memory,
            native=self._store.native.stats,
            label_names_total=self._store.label_names_total,
            kernel_drops=self._listeners.kernel_drops(),
            truncated_datagrams=self._listeners.truncated,
            seconds_since_datagram=(
                None if received_at is None else time.monotonic() - received_at
            ),
            relay_targets=self._relay_targets(),
            log_lines_dropped=stderr.WRITER.dropped,
            storage=self._components.storage,
        )
