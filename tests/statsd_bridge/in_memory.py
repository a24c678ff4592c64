"""The bridge without sockets: fakes that tests of several parts share."""

from __future__ import annotations

from statsd_bridge.bugs import BugReporter


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
