"""Compose one bridge: listeners, pipeline, pages, expiry, relay."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.task import LoopingCall

from statsd_bridge import log, web
from statsd_bridge.listener import ConnectionLimits, InheritedSockets
from statsd_bridge.relay import Relay
from statsd_bridge.service import build
from statsd_bridge.service.http import VERSION, HttpBackend
from statsd_bridge.service.listeners import Listeners
from statsd_bridge.service.reload import Reloader
from statsd_bridge.settings import Settings

EXPIRY_SECONDS = 1.0


class Bridge:
    """One bridge on a reactor.  BridgeError: a file of the settings cannot be used."""

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        *,
        inherited: InheritedSockets,
        limits: ConnectionLimits,
    ) -> None:
        self._reactor = reactor
        self._inherited = inherited
        self._limits = limits
        self._context = context = build.Context(settings, reactor)
        self.bugs = context.bugs
        self._guard = web.Guard(settings.web_config)
        self._store = build.new_store(settings)
        self._relay = build.new_relay(context)
        self._pipeline = build.new_pipeline(context, self._store, self._relay)
        self.reloader = Reloader(context, self._pipeline)
        self.listeners = Listeners(
            context, self._pipeline, inherited=inherited, limits=limits
        )
        self.http = HttpBackend(
            context,
            self._pipeline,
            store=self._store,
            listeners=self.listeners,
            reloader=self.reloader,
        )

    def start(self) -> None:
        """Listen, and start what runs periodically; raise BindError if that fails."""
        opened = self._listen()
        self._start_relay()
        expiry = LoopingCall(self._expire)
        expiry.clock = self._reactor
        expiry.start(EXPIRY_SECONDS, now=False)
        # When the reactor runs, because a reader of the line may send a signal at once.
        self._reactor.callWhenRunning(
            lambda: log.logger(__name__).info("ready", version=VERSION, **opened)
        )

    def close(self) -> None:
        """Close what was opened before `start` failed."""
        self.listeners.close()

    def _listen(self) -> dict[str, str]:
        """Open all sockets; return their addresses by transport."""
        opened = self.listeners.open_ip()
        web_address = self._inherited.listen_tcp(
            self._reactor,
            "web.listen-address",
            self._context.settings.listen_web,
            self.http.factory(self._guard, self._limits),
        )
        self._inherited.reject_unused()
        # Last, because a start that fails must not leave the file of a socket behind.
        opened |= self.listeners.open_unix()
        for transport in opened:
            # A counter that exists at 0 has a rate at its first increment.
            self._context.stats.lines_by_transport[transport] += 0
        return opened | {"http": str(web_address)}

    def _start_relay(self) -> None:
        if self._relay is not None:
            self._relay.start()
            self._reactor.addSystemEventTrigger(
                "before", "shutdown", self._drain_into_relay, self._relay
            )

    def _drain_into_relay(self, relay: Relay) -> None:
        self.listeners.drain()
        relay.flush()

    def _expire(self) -> None:
        for task in (self._pipeline.flush, self._expire_series):
            try:
                task()
            except Exception as error:
                # Raised, it would end the loop.
                self.bugs.report(error)

    def _expire_series(self) -> None:
        self._store.expire(time.monotonic())
