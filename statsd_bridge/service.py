"""
THE WIRING: settings in, a running bridge out; reload, expiry, shutdown.

Everything runs on the reactor's one thread.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import chain
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall

from statsd_bridge import exposition, listener, log, mapping, web
from statsd_bridge.errors import BindError, MappingError
from statsd_bridge.exposition import Own
from statsd_bridge.exposition.own import Vitals
from statsd_bridge.line import Dialect
from statsd_bridge.mapping import Table
from statsd_bridge.model import Tally
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.series import Store
from statsd_bridge.settings import Address, Settings

EXPIRY_SECONDS = 1.0

QUIET_SECONDS = 60.0
"""What may happen with every packet is logged once in so long."""


EVERYWHERE = "::" if socket.has_dualstack_ipv6() else ""


def run(settings: Settings) -> None:
    """Run a bridge until a signal or /-/quit; BridgeError: why it cannot start."""
    # Importing the reactor installs it, so only a run that needs one does.
    from twisted.internet import reactor

    loop: Any = reactor
    bridge = Bridge(settings, loop)
    bridge.start()
    # Twisted sees to SIGTERM and SIGINT; a reload waits for its turn in the reactor.
    signal.signal(signal.SIGHUP, lambda *_: loop.callFromThread(bridge.reload))
    loop.run()


def load(settings: Settings) -> Table:
    """Read the mapping file, if there is one; a MappingError says what is wrong."""
    if not settings.mapping_config:
        return mapping.empty(cache_size=settings.cache_size)
    table = mapping.load(
        settings.mapping_config,
        strict=settings.mapping_strict,
        cache_size=settings.cache_size,
    )
    for warning in table.warnings:
        log.logger().warning("mapping", what=warning)
    return table


class Bridge:
    """One bridge, from its settings to a reactor that runs it."""

    def __init__(self, settings: Settings, reactor: Any) -> None:
        self._settings = settings
        self._reactor = reactor
        self._log = log.logger()
        self._tally = Tally()
        self._udp: listener.Udp | None = None
        self._version = version("crocbot")
        self._quiet_until = 0.0
        self._store = Store(
            max_series=settings.max_series,
            set_window=settings.set_window,
            reserved=exposition.own_names(),
            clock=time.monotonic,
        )
        self._pipeline = self._path(load(settings))
        self._own = Own(self._tally, self._vitals)

    def start(self) -> None:
        """Open the doors; a BindError says which one cannot be opened."""
        settings = self._settings
        where = {}
        if settings.listen_udp is not None:
            where["udp"] = self._listen_udp(settings.listen_udp)
        if settings.listen_tcp is not None:
            where["tcp"] = self._listen_tcp(settings.listen_tcp)
        where["http"] = self._listen_web(settings.listen_web)
        self._log.info("ready", version=self._version, **where)
        expiry = LoopingCall(lambda: self._store.expire(time.monotonic()))
        expiry.clock = self._reactor
        expiry.start(EXPIRY_SECONDS, now=False)

    def reload(self) -> str:
        """Read the mapping file anew; returns why it is refused, or nothing."""
        try:
            table = load(self._settings)
        except MappingError as error:
            self._tally.config_reloads["failure"] += 1
            self._log.error("reload refused, the old rules stay", why=str(error))
            return str(error)
        self._tally.config_reloads["success"] += 1
        self._pipeline.table = table
        self._log.info("reloaded", rules=len(table))
        return ""

    def metrics(self) -> web.Page:
        """Make a page that shows all that the kernel has delivered until now."""
        if self._udp is not None:
            self._udp.drain()
        return web.Page(exposition.CONTENT_TYPE, self._page())

    def _page(self) -> Iterator[bytes]:
        families = self._store.families()
        return chain(
            exposition.render(families, time.monotonic(), self._bug),
            [self._own.render()],
        )

    def _path(self, table: Table) -> Pipeline:
        settings = self._settings
        return Pipeline(
            table,
            self._store,
            self._tally,
            failed=self._bug,
            dialect=Dialect(
                dogstatsd=settings.dogstatsd_tags,
                influxdb=settings.influxdb_tags,
                librato=settings.librato_tags,
                signalfx=settings.signalfx_tags,
            ),
            sources=settings.count_lines_from,
        )

    def _vitals(self) -> Vitals:
        table = self._pipeline.table
        return Vitals(
            version=self._version,
            loaded_mappings=len(table),
            cache_length=table.cache_length,
            cache_gets=table.cache_gets,
            cache_hits=table.cache_hits,
            series=len(self._store),
            created=self._store.created,
            kernel_drops=self._udp.kernel_drops() if self._udp else None,
        )

    def _listen_udp(self, address: Address) -> str:
        asked = self._settings.read_buffer
        sock, granted = listener.bind(address.host, address.port, asked)
        if granted < asked:
            self._log.warning(
                "the kernel grants a smaller receive buffer than asked for, bursts may"
                " be lost; raise the sysctl net.core.rmem_max",
                asked=asked,
                granted=granted,
            )
        self._udp = listener.Udp(
            sock,
            lambda batch: self._pipeline.feed(batch, "udp"),
            lambda error: self._seldom("udp cannot be read", why=str(error)),
        )
        self._reactor.addReader(self._udp)
        return f"{address.host}:{self._udp.port}"

    def _listen_web(self, address: Address) -> str:
        functions = web.Functions(
            metrics=self.metrics,
            answered=self._answered,
            reload=self.reload,
            quit=self._reactor.stop,
            later=lambda call: self._reactor.callLater(0, call),
        )
        site = web.site(
            functions,
            telemetry_path=self._settings.telemetry_path,
            lifecycle=self._settings.enable_lifecycle,
        )
        return self._listen_stream("web.listen-address", address, site)

    def _listen_tcp(self, address: Address) -> str:
        door = listener.Tcp(self._pipeline.take, self._tell_tcp)
        return self._listen_stream("statsd.listen-tcp", address, door)

    def _listen_stream(self, flag: str, address: Address, factory: Any) -> str:
        host = "" if address.host == "0.0.0.0" else address.host  # noqa: S104
        try:
            port = self._reactor.listenTCP(
                address.port, factory, interface=host or EVERYWHERE
            )
        except CannotListenError as error:
            raise BindError(
                f"--{flag}: cannot listen on {address.host}:{address.port}:"
                f" {error.socketError}; choose a free address of this machine"
            ) from error
        return f"{address.host}:{port.getHost().port}"

    def _tell_tcp(self, what: str) -> None:
        self._tally.tcp[what] += 1

    def _bug(self, error: Exception) -> None:
        self._tally.bugs += 1
        self._seldom("a bug, please report it", exc_info=error)

    def _seldom(self, event: str, **more: Any) -> None:
        """Log at most one such line a minute; the counters know how many there are."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            self._log.error(event, **more)

    def _answered(self, status: int) -> None:
        self._tally.scrapes[str(status)] += 1
