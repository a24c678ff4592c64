"""Run a bridge in this process: signals, garbage collection, Twisted's log."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, NoReturn, TextIO, cast

from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogBeginner
from zope.interface import implementer

from statsd_bridge import log, optional, stderr, web
from statsd_bridge.listener import ConnectionLimits, InheritedSockets
from statsd_bridge.listener.limits import raise_open_files
from statsd_bridge.log import BugReporter, RateLimitedLog
from statsd_bridge.mapping import MappingTable
from statsd_bridge.service import build, container
from statsd_bridge.service.bridge import Bridge
from statsd_bridge.settings import Settings
from statsd_bridge.signals import SIGNALS, SignalListener
from statsd_bridge.storage import SeriesFile
from statsd_bridge.threads import DaemonThreads


def run(settings: Settings) -> NoReturn:
    """
    Run a bridge until a signal or /-/quit, then end the process.

    The exit code is 0, and 1 if --storage.file cannot be written.  Raise BridgeError if
    the bridge cannot start.
    """
    loop = _import_reactor(with_tls=bool(settings.web_config))
    _tune_collector()
    components = build.Components(
        settings,
        loop,
        inherited=InheritedSockets(os.environ),
        limits=ConnectionLimits.from_open_files(raise_open_files()),
        threads=DaemonThreads(loop, "reload", 1),
    )
    bridge = Bridge(components)
    _report_to(components.bugs)
    SIGNALS.install()
    SIGNALS.deliver_to(_SignalListener(loop, bridge))
    # The reactor installs its own handlers when it starts to run.
    loop.callWhenRunning(SIGNALS.install)
    try:
        bridge.start()
    except BaseException:
        bridge.close()
        raise
    if warning := container.warning(bridge.http.addresses, os.environ):
        loop.callWhenRunning(log.logger(__name__).warning, warning)
    loop.run()
    # A second signal must not interrupt what is written.
    SIGNALS.ignore()
    _end(0 if bridge.save() else 1)


def _import_reactor(*, with_tls: bool) -> Any:
    """Import the reactor, which installs it."""
    with optional.left_out(*(() if with_tls else optional.OF_TLS)):
        from twisted.internet import reactor
    return reactor


def check(settings: Settings) -> MappingTable:
    """Read all files that a start reads; raise BridgeError if one cannot be used."""
    _tune_collector()
    if settings.web_config:
        web.load_config(settings.web_config)
    if settings.storage_file:
        SeriesFile(settings.storage_file).check()
    return build.load_tables(settings).rules


def _tune_collector() -> None:
    # A batch makes thousands of objects and none in a cycle: with the default threshold
    # of 700 the collector would visit them again and again.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()


def _report_to(bugs: BugReporter) -> None:
    """Report errors that Twisted or Python would print to standard error."""
    observer: Any = TwistedErrors(bugs)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    sys.unraisablehook = lambda raised: bugs.report(cast(Exception, raised.exc_value))
    # What else is printed must not wait either.
    sys.stderr = cast(TextIO, stderr.StderrText(stderr.WRITER))


def _end(code: int) -> NoReturn:
    """
    End the process at once.

    Python would free each series, which takes seconds, and end with the code of a
    signal that arrives meanwhile.
    """
    SIGNALS.ignore()
    stderr.WRITER.flush()
    os._exit(code)


class _SignalListener(SignalListener):
    """Stops or reloads a bridge in the next turn of its reactor."""

    def __init__(self, reactor: Any, bridge: Bridge) -> None:
        self._reactor = reactor
        self._bridge = bridge

    def stop(self) -> None:
        self._reactor.callFromThread(self._bridge.http.quit)

    def reload(self) -> None:
        self._reactor.callFromThread(self._bridge.http.reload)

    def ignored(self, name: str) -> None:
        self._reactor.callFromThread(
            log.logger(__name__).warning, "signal ignored", signal=name
        )


@implementer(ILogObserver)
class TwistedErrors:
    """Reports the errors in Twisted's log: uncaught exceptions as bugs, others not."""

    def __init__(self, bugs: BugReporter) -> None:
        self._bugs = bugs
        self._log = RateLimitedLog()

    def __call__(self, event: Any) -> None:
        """Report an event, if it is an error."""
        if event["log_level"] < LogLevel.error:
            return
        # Events of twisted.python.log have other keys.
        failure = event.get("log_failure") or event.get("failure")
        if failure is None:
            self._log.error("Twisted reports an error", error=formatEvent(event))
        elif not isinstance(failure.value, ReactorNotRunning):
            # ReactorNotRunning: a second signal arrived while the reactor was stopping.
            self._bugs.report(failure.value)
