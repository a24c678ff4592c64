"""Fakes that several test modules share."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from crocbot.events import Event
from crocbot.model import HostPort
from crocbot.telemetry.catalogue import LossReason
from crocbot.telemetry.udp import UdpTarget

E = TypeVar("E", bound=Event)


class RecordedEvents(list[Event]):
    """An EventListener that is the list of what was emitted."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()

    def emit(self, event: Event) -> None:
        """Append the event, and set `changed`."""
        self.append(event)
        self.changed.set()

    async def wait_for(self, type_: type[Event]) -> None:
        """Wait until an event of this class was emitted."""
        while not self.of_type(type_):
            self.changed.clear()
            await self.changed.wait()

    def of_type(self, type_: type[E]) -> list[E]:
        """Return the events of one class, in order."""
        return [event for event in self if isinstance(event, type_)]


class RecordingTarget(UdpTarget):
    """A UdpTarget without a socket that keeps its datagrams; `full` are refused."""

    TOTAL = "crocbot.emitter.lines_sent:"

    def __init__(self) -> None:
        super().__init__(HostPort("bridge", 9125))
        self.generation = 1
        self.online = True
        self.running = False
        self.full = 0
        self.datagrams: list[bytes] = []
        # Not set by the total at the end of a flush.
        self.received = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self.online

    def start(self) -> None:
        self.running = True

    async def wait_connected(self, seconds: float) -> None:
        pass

    async def stop(self) -> None:
        self.running = False

    def send(self, datagram: bytes) -> None:
        lines = datagram.count(b"\n") + 1
        if self.full:
            self.full -= 1
            self.lost[LossReason.BUFFER_FULL] += lines
            return
        self.datagrams.append(datagram)
        self.sent += lines
        if not datagram.startswith(self.TOTAL.encode()):
            self.received.set()

    def take_all(self) -> list[str]:
        """Return and forget every line so far."""
        lines = b"\n".join(self.datagrams).decode().split("\n")
        self.datagrams.clear()
        return list(filter(None, lines))

    def take(self) -> list[str]:
        """Return and forget the lines so far, without the totals that end a flush."""
        return [line for line in self.take_all() if not line.startswith(self.TOTAL)]


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
