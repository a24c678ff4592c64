"""
The metrics page on its way out.

It is written slice by slice, each when the one before has been taken, so the sockets
get their turns in between, and a reader who is slow holds up only himself, for a while.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from statsd_bridge.web.pages import PLAIN, Functions

MOST_SCRAPES = 8
"""Pages on their way at a time: each holds on to the list of series."""

MOST_WAITING = 64
"""Scrapes that may wait until one of these is out."""

STALL_SECONDS = 1.0
"""Who takes nothing for so long makes room for those who wait."""

LONGEST_SECONDS = 120
"""Who has not taken a page after so long does not want it."""


class Metrics(Resource):
    """The page, any method."""

    isLeaf = True

    def __init__(self, functions: Functions) -> None:
        super().__init__()
        self._functions = functions
        # Both in the order in which they came.
        self._waiting: dict[_Scrape, None] = {}
        self._under_way: dict[_Scrape, None] = {}

    def render(self, request: Request) -> int | bytes:
        """Start a page, or let it wait; one too many is told to come again."""
        self._functions.began()
        scrape = _Scrape(request, self._functions, self._start_waiting)
        request.notifyFinish().addBoth(lambda _: self._ended(scrape))
        if len(self._waiting) >= MOST_WAITING:
            request.setResponseCode(503)
            request.setHeader(b"content-type", PLAIN)
            return b"as many scrapes as allowed are under way; come again\n"
        self._waiting[scrape] = None
        self._start_waiting()
        return NOT_DONE_YET

    def _start_waiting(self) -> None:
        while self._waiting and self._has_room():
            scrape = next(iter(self._waiting))
            del self._waiting[scrape]
            self._under_way[scrape] = None
            scrape.start()

    def _has_room(self) -> bool:
        """Tell whether one more may start; a reader who stalls makes room."""
        if len(self._under_way) < MOST_SCRAPES:
            return True
        stalled = next((each for each in self._under_way if each.is_stalled), None)
        if stalled is not None:
            del self._under_way[stalled]
            stalled.give_up()
        return stalled is not None

    def _ended(self, scrape: _Scrape) -> None:
        self._waiting.pop(scrape, None)
        self._under_way.pop(scrape, None)
        scrape.ended()
        self._start_waiting()


@implementer(IPushProducer)
class _Scrape:
    """
    One page: one slice a turn of the reactor, while it is taken.

    `stalled` is called when it has not been taken for a while.
    """

    def __init__(
        self, request: Request, functions: Functions, stalled: Callable[[], None]
    ) -> None:
        self.is_stalled = False
        self._request = request
        self._functions = functions
        self._stalled = stalled
        self._slices: Iterator[bytes] = iter(())
        self._began = time.monotonic()
        self._size = 0
        self._going = False
        self._due = False
        self._patience: Any = None
        self._limit = functions.later(LONGEST_SECONDS, self.give_up)

    def start(self) -> None:
        """Write the head, and begin."""
        request = self._request
        try:
            page = self._functions.metrics(_text(request, b"accept"))
        except Exception as error:
            self._fail(error)
            return
        self._slices = page.slices
        request.setHeader(b"content-type", page.content_type.encode())
        request.setHeader(b"vary", b"Accept, Accept-Encoding")
        if _takes_gzip(_text(request, b"accept-encoding")):
            request.setHeader(b"content-encoding", b"gzip")
            self._slices = _gzipped(self._slices)
        if request.method == b"HEAD":
            request.finish()
            return
        request.registerProducer(self, True)
        self.resumeProducing()

    def ended(self) -> None:
        """Count a page that is out, or given up."""
        self.stopProducing()
        if self._limit.active():
            self._limit.cancel()
        seconds = time.monotonic() - self._began
        self._functions.ended(self._request.code, seconds, self._size)

    def give_up(self) -> None:
        """Cut the connection: half a page must not look like a whole one."""
        self._request.channel.forceAbortClient()

    def resumeProducing(self) -> None:
        """Go on: the other side has taken what was written."""
        self.stopProducing()
        self._going = True
        if not self._due:
            self._next()

    def pauseProducing(self) -> None:
        """Wait: the other side reads more slowly than we write."""
        self.stopProducing()
        self._patience = self._functions.later(STALL_SECONDS, self._stall)

    def stopProducing(self) -> None:
        """Forget the rest: the other side has gone."""
        self._going = self.is_stalled = False
        if self._patience is not None and self._patience.active():
            self._patience.cancel()

    def _stall(self) -> None:
        self.is_stalled = True
        self._stalled()

    def _next(self) -> None:
        self._due = False
        if not self._going:
            return
        try:
            part = next(self._slices, None)
        except Exception as error:
            self._fail(error)
            return
        if part is None:
            self._request.unregisterProducer()
            self._request.finish()
            return
        if part:
            self._size += len(part)
            self._request.write(part)
        self._due = True
        self._functions.later(0, self._next)

    def _fail(self, error: Exception) -> None:
        self._functions.failed(error)
        request = self._request
        request.setResponseCode(500)
        if request.startedWriting:
            self.give_up()
            return
        if self._going:
            request.unregisterProducer()
        request.responseHeaders.removeHeader(b"content-encoding")
        request.setHeader(b"content-type", PLAIN)
        request.write(b"a bug kept the page from being made; the log has more\n")
        request.finish()


def _text(request: Request, header: bytes) -> str:
    return (request.getHeader(header) or b"").decode("latin-1")


def _takes_gzip(accept_encoding: str) -> bool:
    for coding in accept_encoding.split(","):
        name, _, quality = coding.replace(" ", "").lower().partition(";q=")
        if name in ("gzip", "*"):
            # q=0 is a refusal.
            return quality.strip("0.") != "" or not quality
    return False


def _gzipped(slices: Iterator[bytes]) -> Iterator[bytes]:
    # 31: the largest window, with gzip's header.
    packer = zlib.compressobj(level=1, wbits=31)
    # Often a slice leaves nothing to send yet; others get their turn all the same.
    yield from map(packer.compress, slices)
    yield packer.flush()
