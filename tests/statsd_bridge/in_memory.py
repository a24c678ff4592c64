"""The bridge without sockets: fakes that tests of several parts share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from statsd_bridge.bugs import BugReporter
from statsd_bridge.exposition import BridgeState
from statsd_bridge.model import Stats


class ReportedBugs(list[Exception], BugReporter):
    """A BugReporter that keeps the exceptions."""

    def __init__(self) -> None:
        super().__init__()

    def report(self, error: Exception) -> None:
        """Keep an exception."""
        self.append(error)


class NoBugs(ReportedBugs):
    """A BugReporter that fails the test."""

    def report(self, error: Exception) -> None:
        """Raise an exception."""
        raise error


class FakePipeline:
    """A pipeline that keeps what it is fed, and may raise an error instead."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.error: Exception | None = None

    @property
    def lines(self) -> list[bytes]:
        """All lines or datagrams so far."""
        return [each for batch in self.batches for each in batch]

    def feed(self, batch: Sequence[bytes], transport: str) -> None:
        """Keep a batch."""
        if self.error is not None:
            raise self.error
        self.batches.append(list(batch))

    feed_lines = feed


class FixedState:
    """A StateSource whose state never changes."""

    def __init__(self, **values: Any) -> None:
        self._state = BridgeState(**{"version": "1.2.3", "stats": Stats(), **values})

    def state(self) -> BridgeState:
        """Return the state."""
        return self._state
