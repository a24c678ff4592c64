"""What both modes of a relay do: names are looked up, packets flushed every second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.task import LoopingCall

from statsd_bridge.log import BugReporter
from statsd_bridge.relay.target import Target
from statsd_bridge.relay.udp import RETRY_SECONDS

FLUSH_SECONDS = 1.0

AnyTarget = TypeVar("AnyTarget", bound=Target)


class BaseRelay(Generic[AnyTarget]):
    """Targets, and the loops that they need.  Owned by the reactor's thread."""

    def __init__(
        self, targets: Sequence[AnyTarget], *, bugs: BugReporter, reactor: Any
    ) -> None:
        self.targets = targets
        self._bugs = bugs
        self._reactor = reactor

    def start(self) -> None:
        """Look names up, now and whenever that is due, and flush every second."""
        calls = (self._refresh, RETRY_SECONDS), (self.flush, FLUSH_SECONDS)
        for call, seconds in calls:
            loop = LoopingCall(call)
            loop.clock = self._reactor
            loop.start(seconds)

    def flush(self) -> None:
        """Send the gathered lines."""
        for target in self.targets:
            # Raised, an exception would end the loop.
            with self._bugs.catch():
                target.send()

    def _refresh(self) -> None:
        for target in self.targets:
            with self._bugs.catch():
                target.udp.refresh(self._reactor.seconds())
