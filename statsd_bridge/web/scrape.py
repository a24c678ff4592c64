"""
Send the metrics page, slice by slice.

The next slice is rendered when the connection has taken the last one, so sockets are
read in between, and a slow reader delays only itself, within bounds.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from statsd_bridge.web.base import (
    BUG,
    NOT_DONE_YET,
    TRY_LATER,
    Backend,
    BackendPage,
    PageRequest,
    plain_error,
)
from statsd_bridge.web.client import clients_that_left

MAX_SCRAPES = 8
"""Pages that are sent at the same time; each holds a list of all series."""

MAX_WAITING_SCRAPES = 64
"""Scrapes that wait until one of those has ended."""

STALL_SECONDS = 1.0
"""A client that reads nothing for this long is disconnected if another scrape waits."""

SLOW_SECONDS = 5.0
"""A page that takes longer gives way to the scrape of a peer that has fewer."""

MAX_SCRAPE_SECONDS = 120
"""A response that is not received completely within this time is aborted."""


class MetricsResource(BackendPage):
    """The metrics page, for every method."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        # Both in the order of their requests.
        self._waiting: dict[_Scrape, None] = {}
        self._active: dict[_Scrape, None] = {}

    def render(self, request: PageRequest) -> int | bytes:
        """Start to send a page, or let it wait; respond 503 to one too many."""
        scrape = _Scrape(request, self)
        self.backend.stats.scrapes_in_flight += 1
        request.notifyFinish().addBoth(lambda _: self._finished(scrape))
        if len(self._waiting) >= MAX_WAITING_SCRAPES and not self._refuse_other(scrape):
            return plain_error(request, 503, TRY_LATER)
        self._waiting[scrape] = None
        request.is_waiting = True
        self.start_waiting()
        return NOT_DONE_YET

    def start_waiting(self) -> None:
        """Start scrapes that wait, while there is capacity; the peers in turn."""
        while self._waiting:
            active = Counter(each.peer for each in self._active)
            scrape = min(self._waiting, key=lambda each: active[each.peer])
            if not self._has_capacity(scrape, active):
                return
            del self._waiting[scrape]
            self._active[scrape] = None
            scrape.start()

    def _has_capacity(self, scrape: _Scrape, active: Counter[str]) -> bool:
        """
        Return whether a scrape may start, which may abort another one for it.

        That is one that stalls, else a slow one of the peer with the most.
        """
        if len(self._active) < MAX_SCRAPES:
            return True
        stalled = [each for each in self._active if each.is_stalled]
        share = active[scrape.peer] + 1
        slow = [each for each in self._active if each.is_slow]
        slow_of_busiest = [each for each in slow if active[each.peer] > share]
        if not stalled and not slow_of_busiest:
            return False
        other = (
            stalled[0]
            if stalled
            else max(slow_of_busiest, key=lambda each: active[each.peer])
        )
        del self._active[other]
        other.abort()
        return True

    def _refuse_other(self, scrape: _Scrape) -> bool:
        """
        Refuse one that waits, so that another scrape may; return whether it may.

        That is one whose client has left, else the last of the peer with the most.
        """
        left = clients_that_left([each.request for each in self._waiting])
        if not left:
            waiting = Counter(each.peer for each in self._waiting)
            peer, most = max(waiting.items(), key=itemgetter(1))
            if most <= waiting[scrape.peer] + 1:
                return False
            left = [each.request for each in self._waiting if each.peer == peer][-1:]
        for request in left:
            request.stop_waiting()
        return True

    def _finished(self, scrape: _Scrape) -> None:
        self._waiting.pop(scrape, None)
        self._active.pop(scrape, None)
        self.backend.stats.scrapes_in_flight -= 1
        scrape.finish()
        self.start_waiting()


@implementer(IPushProducer)
class _Scrape:
    """
    One request for the page.

    It writes one slice per iteration of the reactor while the connection accepts data.
    """

    def __init__(self, request: PageRequest, metrics: MetricsResource) -> None:
        self.is_stalled = False
        """Whether the client has read nothing for STALL_SECONDS."""
        self.is_slow = False
        """Whether it was started SLOW_SECONDS ago."""
        self.request = request
        self.peer = request.peer
        self._bytes = 0
        self._metrics = metrics
        self._backend = metrics.backend
        self._slices: Iterator[bytes] = iter(())
        self._started_at = time.monotonic()
        self._is_complete = False
        self._is_producing = False
        self._is_scheduled = False
        self._stall_timer: Any = None
        self._deadline = self._backend.reactor.callLater(MAX_SCRAPE_SECONDS, self.abort)
        self._slow_timer: Any = None

    def start(self) -> None:
        """Send the head and begin with the body."""
        request = self.request
        request.is_waiting = False
        self._slow_timer = self._backend.reactor.callLater(
            SLOW_SECONDS, self._mark_slow
        )
        try:
            page = self._backend.render_metrics(_header(request, b"accept"))
        except Exception as error:
            self._fail(error)
            return
        self._slices = page.slices
        request.setHeader(b"content-type", page.content_type.encode())
        request.setHeader(b"vary", b"Accept, Accept-Encoding")
        if _accepts_gzip(_header(request, b"accept-encoding")):
            request.setHeader(b"content-encoding", b"gzip")
            self._slices = _compress(self._slices)
        if request.method == b"HEAD":
            request.finish()
            return
        request.registerProducer(self, True)
        self.resumeProducing()

    def finish(self) -> None:
        """Count the scrape: the response is sent or its connection is lost."""
        self.stopProducing()
        for timer in (self._deadline, self._slow_timer):
            if timer is not None and timer.active():
                timer.cancel()
        stats = self._backend.stats
        stats.scrapes[str(self.request.code)] += 1
        if self._is_complete:
            stats.scrape_seconds = time.monotonic() - self._started_at
            stats.scrape_bytes = self._bytes

    def abort(self) -> None:
        """Cut the connection: half a page must not look like a whole one."""
        self.request.channel.forceAbortClient()

    def resumeProducing(self) -> None:
        """Go on: the connection accepts data again."""
        self.stopProducing()
        self._is_producing = True
        if not self._is_scheduled:
            self._send_slice()

    def pauseProducing(self) -> None:
        """Wait: the client reads more slowly than the page is rendered."""
        self.stopProducing()
        self._stall_timer = self._backend.reactor.callLater(
            STALL_SECONDS, self._stalled
        )

    def stopProducing(self) -> None:
        """Stop: the client has closed the connection."""
        self._is_producing = self.is_stalled = False
        if self._stall_timer is not None and self._stall_timer.active():
            self._stall_timer.cancel()

    def _mark_slow(self) -> None:
        self.is_slow = True
        self._metrics.start_waiting()

    def _stalled(self) -> None:
        self.is_stalled = True
        self._metrics.start_waiting()

    def _send_slice(self) -> None:
        self._is_scheduled = False
        if not self._is_producing:
            return
        try:
            page_slice = next(self._slices, None)
        except Exception as error:
            self._fail(error)
            return
        if page_slice is None:
            self._is_complete = True
            self.request.unregisterProducer()
            self.request.finish()
            return
        if page_slice:
            self._bytes += len(page_slice)
            self.request.write(page_slice)
        self._is_scheduled = True
        self._backend.reactor.callLater(0, self._send_slice)

    def _fail(self, error: Exception) -> None:
        self._backend.bugs.report(error)
        request = self.request
        if request.startedWriting:
            request.setResponseCode(500)
            self.abort()
            return
        if self._is_producing:
            request.unregisterProducer()
        request.responseHeaders.removeHeader(b"content-encoding")
        request.write(plain_error(request, 500, BUG))
        request.finish()


def _header(request: PageRequest, name: bytes) -> str:
    return (request.getHeader(name) or b"").decode("latin-1")


def _accepts_gzip(accept_encoding: str) -> bool:
    for coding in accept_encoding.split(","):
        name, _, quality = coding.replace(" ", "").lower().partition(";q=")
        if name in ("gzip", "*"):
            # q=0 is a refusal.
            return quality.strip("0.") != "" or not quality
    return False


def _compress(slices: Iterator[bytes]) -> Iterator[bytes]:
    # wbits 31: the largest window, with the header of gzip.
    compressor = zlib.compressobj(level=1, wbits=31)
    # Also yield when the compressor returns nothing, so that the reactor handles other
    # events.
    yield from map(compressor.compress, slices)
    yield compressor.flush()
