"""
Facts in, statsd lines out.  Watches from the side: nothing ever waits for it.

    emit(event) --> observer --.
               runtime ---------+--> handles --> emitter --> wire --> the bridge
                    catalogue: every metric, once
"""

from __future__ import annotations

from crocbot.events import Event
from crocbot.telemetry.emitter import Emitter
from crocbot.telemetry.observer import Observer
from crocbot.telemetry.runtime import Runtime
from crocbot.telemetry.udp import UdpSender

__all__ = ["OFF", "Telemetry"]

OFF = "off"
"""The host that means: send nothing."""


class Telemetry:
    """
    Tells a statsd receiver what the gateway does.  Owned by the event loop.

    `host` may be a name, an address of either family, or "off": then nothing is sent
    and there is no socket.
    """

    def __init__(self, host: str, port: int, *, version: str) -> None:
        self._off = host == OFF
        self._emitter = Emitter(UdpSender(host, port))
        self._observer = Observer(self._emitter)
        self._runtime = Runtime(
            self._emitter, version=version, also=self._observer.sample
        )

    def emit(self, event: Event) -> None:
        """Record an event, also before `start`.  Never raises, never blocks."""
        self._observer.emit(event)

    async def start(self) -> None:
        """Begin to send.  Returns at once, whether or not anybody listens."""
        if self._off:
            return
        self._emitter.start()
        self._runtime.start()

    async def stop(self) -> None:
        """Send what is left and close; may be called again."""
        await self._runtime.stop()
        await self._emitter.stop()
