"""
THE WIRING: settings in, a running bridge out; reload, expiry, shutdown.

Everything runs on the reactor's one thread.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.logger import LogLevel, globalLogBeginner

from statsd_bridge import explain, exposition, listener, log, parts, web
from statsd_bridge.bugs import BugReporter
from statsd_bridge.errors import BridgeError, ConfigError
from statsd_bridge.explain import Explanation
from statsd_bridge.exposition import SelfMetrics, Vitals
from statsd_bridge.mapping import MappingTable
from statsd_bridge.model import EventError, HostPort, Sample, SeriesSpec, Stats
from statsd_bridge.relay import Relay
from statsd_bridge.settings import Settings

EXPIRY_SECONDS = 1.0


def run(settings: Settings) -> None:
    """Run a bridge until a signal or /-/quit; BridgeError: why it cannot start."""
    # Importing the reactor installs it, so only a run that needs one does.
    from twisted.internet import reactor

    # A batch makes thousands of objects at once, none in a cycle: looking for cycles at
    # every 700th doubles the cost of a line that has tags.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    loop: Any = reactor
    inherited = listener.Inherited(os.environ, os.getpid())
    bridge = Bridge(settings, loop, inherited, listener.connection_limits())
    hear: Any = bridge.hear_twisted
    globalLogBeginner.beginLoggingTo([hear], redirectStandardIO=False)
    # A reload waits for its turn in the reactor, which sees to the others when it runs.
    signal.signal(signal.SIGHUP, lambda *_: loop.callFromThread(bridge.reload))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        bridge.start()
    except (BridgeError, SystemExit):
        bridge.close()
        raise
    loop.run()


def check(settings: Settings) -> MappingTable:
    """Read everything that a start reads; a BridgeError says what is wrong."""
    web.Guard(settings.web_config, lambda _: None)
    return parts.table(settings)


def explained(settings: Settings, lines: Sequence[bytes]) -> list[Explanation]:
    """Tell what would become of lines that come to a new bridge one after the other."""
    table, store = parts.table(settings), parts.store(settings)

    def refuses(target: SeriesSpec, sample: Sample) -> EventError | None:
        rejection = store.record(target, sample)
        return rejection.reason if rejection else None

    return [
        explain.explain(each, parts.dialect(settings), table, refuses) for each in lines
    ]


class Bridge:
    """One bridge, from its settings to a reactor that runs it."""

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        inherited: listener.Inherited | None = None,
        room: listener.ConnectionLimits | None = None,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._inherited = inherited or listener.Inherited({}, 0)
        self._room = room or listener.ConnectionLimits()
        self._log = log.logger(__name__)
        self._stats = Stats()
        self._datagrams: list[listener.Datagrams] = []
        self._udp: listener.Datagrams | None = None
        self._last_datagram: float | None = None
        self._version = version("crocbot")
        # The counters know how many there are.
        self._errors = log.RateLimitedLog(time.monotonic)
        self._bugs = BugReporter(self._stats, self._errors)
        self._guard = web.Guard(settings.web_config, self._web_config_failed)
        self._store = parts.store(settings)
        self._relay = self._make_relay()
        self._pipeline = parts.path(
            settings,
            self._store,
            self._stats,
            bugs=self._bugs,
            relay=self._relay,
        )
        self._own = SelfMetrics(self._stats, self._vitals)

    def start(self) -> None:
        """Open the doors; a BindError says which one cannot be opened."""
        settings = self._settings
        where = {}
        if settings.listen_udp is not None:
            where["udp"] = self._listen_udp(settings.listen_udp)
        if settings.listen_tcp is not None:
            where["tcp"] = self._listen_tcp(settings.listen_tcp)
        where["http"] = self._listen_web(settings.listen_web)
        self._inherited.refuse_rest()
        # Last, since a door that cannot be opened must leave no file behind.
        if settings.listen_unixgram:
            where["unixgram"] = self._listen_unixgram(settings.listen_unixgram)
        if settings.listen_unixstream:
            where["unixstream"] = self._listen_unixstream(settings.listen_unixstream)
        for transport in where.keys() - {"http"}:
            self._stats.lines_by_transport[transport] += 0
        if self._relay is not None:
            self._relay.start()
            self._reactor.addSystemEventTrigger("before", "shutdown", self._last_words)
        # Who reads it may send a signal at once.
        self._reactor.callWhenRunning(
            lambda: self._log.info("ready", version=self._version, **where)
        )
        expiry = LoopingCall(self._expire)
        expiry.clock = self._reactor
        expiry.start(EXPIRY_SECONDS, now=False)

    def close(self) -> None:
        """Close the doors that were opened before one that could not be."""
        for door in self._datagrams:
            self._reactor.removeReader(door)
            door.connectionLost(None)

    def hear_twisted(self, event: Any) -> None:
        """Take what Twisted logs: an exception that nobody caught is a bug of ours."""
        if event["log_level"] < LogLevel.error:
            return
        failure = event.get("log_failure")
        error = failure.value if failure else Exception(event.get("log_format"))
        # A second SIGTERM while the first is being obeyed.
        if not isinstance(error, ReactorNotRunning):
            self._bugs.report(error)

    def reload(self) -> str:
        """Read the mapping file anew; returns why it is refused, or nothing."""
        if not self._settings.mapping_config:
            self._log.warning("nothing to reload: there is no --statsd.mapping-config")
            return ""
        try:
            table = parts.table(self._settings)
        except ConfigError as error:
            self._stats.config_reloads["failure"] += 1
            self._log.error("reload refused, the old rules stay", error=str(error))
            return str(error)
        self._stats.config_reloads["success"] += 1
        self._pipeline.table = table
        self._log.info("reloaded", rules=len(table))
        return ""

    def metrics(self, accept: str = "") -> web.Page:
        """Make a page that shows all that the kernel has delivered until now."""
        for door in self._datagrams:
            door.drain()
        self._pipeline.flush()
        form = exposition.choose(accept)
        families = self._store.families()
        slices = exposition.render(
            form, families, time.monotonic(), self._bugs, self._own
        )
        return web.Page(form.value, slices)

    def explain(self, line: bytes) -> Any:
        """Tell what would become of a line that came now; nothing changes."""
        # The samples of one line may be in each other's way, too.
        scratch = parts.store(self._settings)

        def refuses(target: SeriesSpec, sample: Sample) -> EventError | None:
            rejection = scratch.record(target, sample)
            within = rejection.reason if rejection else None
            return self._store.rejection_reason(target, sample) or within

        dialect, table = parts.dialect(self._settings), self._pipeline.table
        return explain.as_json(explain.explain(line, dialect, table, refuses))

    def unmapped(self) -> Any:
        """Tell what was not understood lately, the newest first."""
        path = self._pipeline
        path.flush()
        return {
            "unmapped_names": [
                {"name": name, "type": kind, "count": count}
                for (name, kind), count in path.unmapped_names.newest_first()
            ],
            "refused_lines": [
                {
                    "line": line.decode("utf-8", "backslashreplace"),
                    "reason": reason,
                    "count": count,
                }
                for (line, reason), count in path.rejected_lines.newest_first()
            ],
        }

    def _make_relay(self) -> Relay | None:
        settings = self._settings
        if not settings.relay_addresses:
            return None
        return Relay(
            settings.relay_addresses,
            settings.relay_packet_length,
            self._tell_relay,
            self._relay_failed,
            self._reactor,
        )

    def _vitals(self) -> Vitals:
        table, last = self._pipeline.table, self._last_datagram
        return Vitals(
            version=self._version,
            loaded_mappings=len(table),
            cache_size=self._settings.cache_size,
            cache_length=table.cache_length,
            cache_gets=table.cache_gets + self._pipeline.fast_samples,
            cache_hits=table.cache_hits + self._pipeline.fast_samples,
            series=len(self._store),
            label_sets=self._store.label_sets_total,
            kernel_drops=self._udp.kernel_drops() if self._udp else None,
            datagrams_cut=sum(door.cut for door in self._datagrams),
            quiet_seconds=None if last is None else time.monotonic() - last,
        )

    def _listen_udp(self, address: HostPort) -> str:
        asked = self._settings.read_buffer
        sock, granted = self._inherited.udp(asked) or listener.open_udp(
            address.host, address.port, asked
        )
        if granted < asked:
            self._warn_of_buffer("udp", asked, granted)
        self._udp = self._watch(sock, "udp", granted)
        return str(HostPort(*sock.getsockname()[:2]))

    def _listen_unixgram(self, path: str) -> str:
        settings = self._settings
        sock, granted = listener.open_unixgram(
            path, settings.unixsocket_mode, settings.read_buffer
        )
        if granted < settings.read_buffer:
            self._warn_of_buffer("unixgram", settings.read_buffer, granted)
        self._watch(sock, "unixgram", granted)
        return path

    def _watch(
        self, sock: socket.socket, transport: str, granted: int
    ) -> listener.Datagrams:
        """Have the reactor empty a socket."""

        def feed(batch: list[bytes]) -> None:
            self._last_datagram = time.monotonic()
            self._safely(lambda: self._pipeline.feed(batch, transport))

        def failed(error: OSError) -> None:
            self._errors.error(f"{transport} cannot be read", error=str(error))

        door = listener.Datagrams(sock, feed, failed, self._reactor, granted)
        self._datagrams.append(door)
        door.open()
        return door

    def _warn_of_buffer(self, transport: str, asked: int, granted: int) -> None:
        self._log.warning(
            "the kernel grants a smaller receive buffer than asked for, bursts may"
            " be lost; raise the sysctl net.core.rmem_max",
            transport=transport,
            asked=asked,
            granted=granted,
        )

    def _listen_web(self, address: HostPort) -> str:
        functions = web.Functions(
            metrics=self.metrics,
            began=self._scrape_began,
            ended=self._scrape_ended,
            reload=self.reload,
            failed=self._bugs.report,
            closed=self._http_closed,
            quit=self._quit,
            explain=self.explain,
            unmapped=self.unmapped,
            later=self._reactor.callLater,
        )
        door = web.door(
            functions,
            self._guard,
            telemetry_path=self._settings.telemetry_path,
            lifecycle=self._settings.enable_lifecycle,
            version=self._version,
            most_connections=self._room.pages,
        )
        return self._listen_stream("web.listen-address", address, door)

    def _listen_tcp(self, address: HostPort) -> str:
        return self._listen_stream("statsd.listen-tcp", address, self._streams("tcp"))

    def _listen_unixstream(self, path: str) -> str:
        flag, mode = "statsd.listen-unixstream", self._settings.unixsocket_mode
        listener.listen_unix(
            self._reactor, flag, path, mode, self._streams("unixstream")
        )
        return path

    def _streams(self, transport: str) -> listener.Streams:
        def take(lines: list[bytes]) -> None:
            self._safely(lambda: self._pipeline.feed_lines(lines, transport))

        most = self._room.streams
        return listener.Streams(take, self._tell_tcp, most_connections=most)

    def _listen_stream(self, flag: str, address: HostPort, factory: Any) -> str:
        port = self._inherited.listen(
            flag, self._reactor, factory
        ) or listener.listen_tcp(
            self._reactor, flag, address.host, address.port, factory
        )
        where = port.getHost()
        return str(HostPort(where.host, where.port))

    def _last_words(self) -> None:
        if self._relay is not None:
            for door in self._datagrams:
                door.drain()
            self._relay.flush()

    def _expire(self) -> None:
        self._safely(self._pipeline.flush)
        self._safely(lambda: self._store.expire(time.monotonic()))

    def _safely(self, call: Callable[[], object]) -> None:
        """Call; an exception that the reactor sees closes a door, or ends a loop."""
        try:
            call()
        except Exception as error:
            self._bugs.report(error)

    def _quit(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            # It stops already.
            return

    def _http_closed(self) -> None:
        self._stats.http_closed += 1

    def _tell_tcp(self, what: str) -> None:
        self._stats.tcp[what] += 1

    def _tell_relay(self, what: str, target: str, count: int) -> None:
        self._stats.relay[what, target] += count

    def _relay_failed(self, target: str, why: str) -> None:
        self._errors.error(
            "a relay target cannot be looked up", target=target, error=why
        )

    def _web_config_failed(self, why: str) -> None:
        self._log.error("web configuration refused, the old one stays", error=why)

    def _scrape_began(self) -> None:
        self._stats.scrapes_in_flight += 1

    def _scrape_ended(self, status: int, seconds: float, size: int) -> None:
        stats = self._stats
        stats.scrapes_in_flight -= 1
        stats.scrapes[str(status)] += 1
        stats.scrape_seconds, stats.scrape_bytes = seconds, size
