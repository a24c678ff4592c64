"""What the pages need of the bridge; service/http.py implements it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from statsd_bridge.bugs import BugReporter
from statsd_bridge.model import Stats


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """A metrics page in slices; an empty slice only lets other events have a turn."""

    content_type: str
    slices: Iterator[bytes]


class Backend(Protocol):
    """The bridge behind the pages.  All methods are called on the reactor's thread."""

    stats: Stats
    bugs: BugReporter
    reactor: Any

    def metrics(self, accept: str) -> MetricsPage:
        """Render the metrics in the format that an Accept header asks for."""

    def reload(self) -> str:
        """Reload the mapping file; return why it is refused, or an empty text."""

    def quit(self) -> None:
        """Stop the bridge."""

    def explain(self, line: bytes) -> Any:
        """Explain what would become of a line, as JSON can hold it."""

    def unmapped(self) -> Any:
        """List unmapped names and rejected lines, as JSON can hold them."""
