"""Compose one bridge: listeners, pipeline, pages, expiry, relay."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import LoopingCall

from statsd_bridge import log, web
from statsd_bridge.inspection import Steps
from statsd_bridge.inspection.growth import SAMPLE_SECONDS
from statsd_bridge.inspection.traffic import STEP_SECONDS
from statsd_bridge.relay import ShardRelay
from statsd_bridge.service.build import Components
from statsd_bridge.service.http import VERSION, HttpBackend
from statsd_bridge.service.listeners import Listeners
from statsd_bridge.service.storage import Storage
from statsd_bridge.threads import DaemonThreads

EXPIRY_SECONDS = 1.0

BACKLOG_SECONDS = 0.02
"""Between two steps of a sample while more packets wait than are read at once."""


class Bridge:
    """One bridge on a reactor.  BridgeError: a file of the settings cannot be used."""

    def __init__(self, components: Components) -> None:
        self.components = components
        self._reactor = components.reactor
        # One password is checked at a time, with a thread of its own.
        threads = DaemonThreads(self._reactor, "passwords", 1)
        self._guard = web.Guard(components.settings.web_config, threads)
        self.listeners = Listeners(components)
        self.http = HttpBackend(components, self.listeners)
        self._storage: Storage | None = None
        if components.settings.storage_file:
            self._storage = Storage(components, self.listeners)
        self._is_expiring = False
        self._growth: Steps[None] | None = None
        """The sample of the sizes of families that is taken now."""

    def start(self) -> None:
        """
        Listen, and start what runs periodically.

        Raise BindError if that fails, ConfigError if --storage.file cannot be used.
        """
        if self._storage:
            self._storage.open()
        opened = self._listen()
        relay, own_address = self.components.relay, self.listeners.udp_address
        if isinstance(relay, ShardRelay) and own_address is not None:
            relay.exclude(own_address)
        if self._storage:
            # Nothing is received and no page is made before the reactor runs.
            self._storage.restore()
        if self._storage or self.components.relay:
            self._drain_at_stop()
        self._start_relay()
        self._repeat(self._start_expiry, EXPIRY_SECONDS)
        if self.components.settings.web_ui:
            self._repeat(self._look, STEP_SECONDS)
            self._repeat(self._sample_growth, SAMPLE_SECONDS)
        # When the reactor runs, because a reader of the line may send a signal at once.
        self._reactor.callWhenRunning(
            lambda: log.logger(__name__).info("ready", version=VERSION, **opened)
        )

    def save(self) -> bool:
        """Write the series after the reactor has stopped; return whether it worked."""
        return self._storage is None or self._storage.save()

    def close(self) -> None:
        """Close the datagram sockets, and remove their files, after `start` failed."""
        self.listeners.close()

    def _repeat(self, function: Callable[[], None], seconds: float) -> None:
        loop = LoopingCall(function)
        loop.clock = self._reactor
        loop.start(seconds, now=False)

    def _look(self) -> None:
        # Raised, an exception would end the loop.
        with self.components.bugs.catch():
            self.http.inspector.look()

    def _sample_growth(self) -> None:
        if self._growth is None:
            self._growth = self.http.inspector.sample_growth()
            self._go_on_sampling()

    def _go_on_sampling(self) -> None:
        """Do a step; the sockets are read before the next one."""
        is_done = True
        with self.components.bugs.catch():
            is_done = self._growth is None or next(self._growth, True) is True
        if is_done:
            self._growth = None
        else:
            delay = BACKLOG_SECONDS if self.listeners.has_backlog() else 0
            self._reactor.callLater(delay, self._go_on_sampling)

    def _listen(self) -> dict[str, str]:
        """Open all sockets; return their addresses by transport."""
        opened = self.listeners.open_ip()
        web_address = self.http.listen(self._guard)
        self.components.inherited.reject_unused()
        # Last, because a start that fails must not leave the file of a socket behind.
        opened |= self.listeners.open_unix()
        for transport in opened:
            # A counter that exists at 0 has a rate at its first increment.
            self.components.stats.lines_by_transport[transport] += 0
        self.http.addresses = opened | {"http": str(web_address)}
        return self.http.addresses

    def _start_relay(self) -> None:
        if relay := self.components.relay:
            relay.start()
            self._reactor.addSystemEventTrigger("before", "shutdown", relay.flush)

    def _drain_at_stop(self) -> None:
        """Receive what has arrived before the sockets are closed."""
        self._reactor.addSystemEventTrigger("before", "shutdown", self.listeners.drain)
        self._reactor.addSystemEventTrigger(
            "before", "shutdown", self.listeners.drain_streams
        )

    def _start_expiry(self) -> None:
        self.components.store.start_expiry()
        if not self._is_expiring:
            self._expire()

    def _expire(self) -> None:
        """Expire a part of what is due; the sockets are read before the next part."""
        is_done = True
        # Raised, an exception would end the loop.
        with self.components.bugs.catch():
            # Nothing may expire before its numbers are flushed.
            self.components.pipeline.flush()
            is_done = self.components.store.expire_some()
        self._is_expiring = not is_done
        if self._is_expiring:
            self._reactor.callLater(0, self._expire)
