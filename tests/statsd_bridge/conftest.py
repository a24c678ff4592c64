"""The HTTP door in memory: what it is handed, and connections to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.base import DelayedCall
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from statsd_bridge import web

SLICES = [b"a 1\n", b"b 2\n", b"c 3\n"]


class Connection:
    """A connection to a door, over a transport in memory."""

    def __init__(self, opened: Any) -> None:
        self.transport = StringTransport()
        self.channel = opened.buildProtocol(None)
        if self.channel is not None:
            self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.channel.dataReceived(data)

    @property
    def is_cut(self) -> bool:
        """Whether the door has cut it off."""
        return bool(self.transport.disconnected or self.transport.disconnecting)


class Bridge:
    """What the door is handed, and what it did with it."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.quits = 0
        self.turns: list[Callable[[], None]] = []
        self.refused = ""
        self.in_flight = 0
        self.sizes: list[int] = []
        self.slices: list[bytes | Exception] = [*SLICES]
        self.failures: list[Exception] = []
        self.connections_closed = 0
        self.clock = Clock()

    def metrics(self, accept: str) -> web.Page:
        """Give a page of three slices."""
        return web.Page("text/plain; version=0.0.4; charset=utf-8", self._slices())

    def _slices(self) -> Iterator[bytes]:
        for each in self.slices:
            if isinstance(each, Exception):
                raise each
            yield each

    def closed(self) -> None:
        """Count."""
        self.connections_closed += 1

    def quit(self) -> None:
        """Count."""
        self.quits += 1

    def door(
        self,
        *,
        lifecycle: bool = True,
        telemetry_path: str = "/metrics",
        most_connections: int = 50,
    ) -> Any:
        """Build a door that lets everybody in."""
        return web.door(
            self.functions(),
            web.Guard("", lambda why: None),
            telemetry_path=telemetry_path,
            lifecycle=lifecycle,
            version="1.2.3",
            most_connections=most_connections,
        )

    def connect(self, opened: Any = None) -> Connection:
        """Open a connection, to a door of its own or to this one."""
        return Connection(opened or self.door())

    def take_turns(self) -> int:
        """Do what is to be done next until nothing is; returns how many turns."""
        turns = 0
        while self.turns:
            self.turns.pop()()
            turns += 1
        return turns

    def functions(self) -> web.Functions:
        """Hand everything over."""
        return web.Functions(
            metrics=self.metrics,
            began=self.began,
            ended=self.ended,
            failed=self.failures.append,
            closed=self.closed,
            reload=lambda: self.refused,
            quit=self.quit,
            explain=lambda line: {"line": line.decode()},
            unmapped=lambda: {"unmapped_names": ["<b>"]},
            later=self.later,
        )

    def began(self) -> None:
        """Count."""
        self.in_flight += 1

    def ended(self, status: int, seconds: float, size: int) -> None:
        """Remember."""
        self.in_flight -= 1
        self.statuses.append(status)
        self.sizes.append(size)

    def later(self, seconds: float, call: Callable[[], None]) -> DelayedCall:
        """Keep what is to be done next; bounds of time are the clock's."""
        if not seconds:
            self.turns.append(call)
        return self.clock.callLater(seconds, call)


@pytest.fixture
def bridge() -> Bridge:
    """A bridge in memory."""
    return Bridge()
