"""
Events in, statsd lines out; nothing in the gateway waits for it.

    emit(event) --> observer --.
               runtime ---------+--> instruments --> emitter --> udp --> the bridge
                    catalogue: every metric, one row each
"""

from __future__ import annotations

from crocbot.model import OFF, HostPort
from crocbot.telemetry import catalogue
from crocbot.telemetry.emitter import Emitter
from crocbot.telemetry.observer import Observer
from crocbot.telemetry.runtime import Runtime
from crocbot.telemetry.totals import Totals
from crocbot.telemetry.udp import UdpTarget

__all__ = ["Telemetry"]


class Telemetry:
    """
    The gateway's metrics.  Owned by the event loop.

    `observer` takes events, also before `start`; `totals` reads the five metrics.  The
    host of `receiver` is a name, an IP address, or "off": then nothing is sent and
    there is no socket.  `version` is that of the gateway.
    """

    def __init__(self, receiver: HostPort, *, version: str) -> None:
        self._off = receiver.host == OFF
        instruments = catalogue.instruments()
        self.observer = Observer(instruments)
        self.totals = Totals(instruments)
        self._emitter = Emitter(instruments, UdpTarget(receiver))
        self._runtime = Runtime(instruments, self.observer, version=version)

    async def start(self) -> None:
        """Start to send; returns at once, whether or not there is a receiver."""
        if self._off:
            return
        self._emitter.start()
        self._runtime.start()

    async def stop(self) -> None:
        """Send what is pending and close; may be called again."""
        await self._runtime.stop()
        await self._emitter.stop()
