"""
What every page needs: the Backend interface, requests, the base class of pages.

Of Twisted's HTTP only twisted.web.http is used: twisted.web.server imports templates,
XML and another protocol, 20 ms of a start and 2.6 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.web.http import Request, datetimeToString

from statsd_bridge.connections import peer_of_host
from statsd_bridge.inspection import Inspector
from statsd_bridge.log import BugReporter
from statsd_bridge.model import Stats

PLAIN = b"text/plain; charset=utf-8"

BUG = b"a bug prevented the page from being rendered; see the log\n"

NOT_DONE_YET: Final = 1
"""Returned by a page that writes its response later."""

TRY_LATER = b"the maximum number of requests is in progress; try again later\n"


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A metrics page in slices; an empty slice lets the reactor handle other events."""

    content_type: str
    slices: Iterator[bytes]


class TrialAnswer(NamedTuple):
    """The status and the body, in JSON, of a trial."""

    status: int
    document: bytes


class Backend(Protocol):
    """
    The bridge behind the pages; service/http.py implements it.

    All methods are called on the reactor's thread.
    """

    stats: Stats
    bugs: BugReporter
    reactor: Any
    inspector: Inspector
    """What /api/v1/ shows."""

    def render_metrics(self, accept: str) -> RenderedPage:
        """Render the metrics in the format negotiated by an Accept header."""

    def has_backlog(self) -> bool:
        """Return whether more packets wait than are read at once."""

    def reload(self) -> Deferred[str]:
        """Reload the mapping file; the result is why it is refused, or empty."""

    def quit(self) -> None:
        """Stop the bridge."""

    def explain(self, line: bytes) -> Any:
        """Return how a line would be processed, as JSON values; nothing is recorded."""

    def try_mapping(self, text: bytes, file: str) -> Deferred[TrialAnswer]:
        """Return what the text of a mapping file would change; nothing changes."""

    def list_unmapped_and_failed(self) -> Any:
        """Return unmapped names and failed lines, newest first, as JSON values."""


class PageRequest(Request):
    """A request for a page, which may have to wait for other requests."""

    channel: Any
    is_waiting = False
    """Whether its page waits for other pages."""
    body = b""
    """The body, for paths that take one; see bodies.py."""
    body_problem = 0
    """The status that tells why `body` is not complete, else 0."""
    is_half_closed = False
    """Whether the client has closed its side while it waited for the response."""

    def process(self) -> None:
        """Respond with the page of the path."""
        site = self.channel.site
        self.setHeader(b"date", datetimeToString())
        try:
            body = site.pages.find(self.path).render(self)
        except Exception as error:
            site.bugs.report(error)
            body = plain_error(self, 500, BUG)
        if isinstance(body, bytes):
            self.setHeader(b"content-length", b"%d" % len(body))
            self.write(b"" if self.method == b"HEAD" else body)
            self.finish()

    @property
    def peer(self) -> str:
        """What identifies the client among others."""
        return peer_of_host(str(getattr(self.getClientAddress(), "host", "")))

    def fileno(self) -> int:
        """Return the descriptor of the connection; -1 if it is lost."""
        transport: Any = self.channel and self.channel.transport
        descriptor: int = -1 if transport is None else transport.fileno()
        return descriptor

    def stop_waiting(self) -> None:
        """
        Respond 503 if it waits: the client has closed its side.

        It may be gone, and many like it must not keep others out.
        """
        self.is_half_closed = True
        if self.is_waiting:
            self.is_waiting = False
            self.write(plain_error(self, 503, TRY_LATER))
            self.finish()


class Page:
    """A page."""

    def render(self, request: PageRequest) -> bytes | int:
        """Return the body of a response, or NOT_DONE_YET."""
        raise NotImplementedError


class BackendPage(Page):
    """A page that shows or changes the bridge."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend


def plain_error(request: PageRequest, status: int, body: bytes) -> bytes:
    """Set the status and type of a response in plain text; return its body."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", PLAIN)
    # Like Go's http.Error: a refusal may quote a parameter.
    request.setHeader(b"x-content-type-options", b"nosniff")
    return body
