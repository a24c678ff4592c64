"""Run a bridge in this process: signals, garbage collection, Twisted's log."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, LogLevel, globalLogBeginner
from zope.interface import implementer

from statsd_bridge import web
from statsd_bridge.listener import ConnectionLimits, InheritedSockets
from statsd_bridge.listener.limits import raise_open_files
from statsd_bridge.log import BugReporter
from statsd_bridge.mapping import MappingTable
from statsd_bridge.service import build
from statsd_bridge.service.bridge import Bridge
from statsd_bridge.settings import Settings


def run(settings: Settings) -> None:
    """Run a bridge until a signal or /-/quit; raise BridgeError if it cannot start."""
    # Importing the reactor installs it.
    from twisted.internet import reactor

    # A batch makes thousands of objects and none in a cycle: with the default threshold
    # of 700 the collector would visit them again and again.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    loop: Any = reactor
    limits = ConnectionLimits.from_open_files(raise_open_files())
    inherited = InheritedSockets(os.environ)
    components = build.Components(settings, loop, inherited=inherited, limits=limits)
    bridge = Bridge(components)
    observer: Any = TwistedErrors(components.bugs)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    signal.signal(signal.SIGHUP, lambda *_: loop.callFromThread(components.reload))
    # The reactor replaces this handler when it runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        bridge.start()
    except BaseException:
        bridge.close()
        raise
    loop.run()


def check(settings: Settings) -> MappingTable:
    """Read all files that a start reads; raise BridgeError if one cannot be used."""
    web.Guard(settings.web_config)
    return build.load_table(settings)


@implementer(ILogObserver)
class TwistedErrors:
    """Reports the errors in Twisted's log: they are uncaught exceptions."""

    def __init__(self, bugs: BugReporter) -> None:
        self._bugs = bugs

    def __call__(self, event: Any) -> None:
        """Report an event, if it is an error."""
        if event["log_level"] < LogLevel.error:
            return
        failure = event.get("log_failure")
        error = failure.value if failure else Exception(event.get("log_format"))
        # A second SIGTERM arrived while the reactor was stopping.
        if not isinstance(error, ReactorNotRunning):
            self._bugs.report(error)
