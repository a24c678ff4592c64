"""
The metrics page on its way out.

It is written slice by slice, each when the one before has been taken, so the sockets
get their turns in between, and a reader who is slow holds up only himself, for a while.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from statsd_bridge.web.pages import PLAIN, Functions

MOST_SCRAPES = 8
"""Pages on their way at a time: each holds on to the list of series."""

LONGEST_SECONDS = 120
"""Who has not taken a page after so long does not want it."""


class Metrics(Resource):
    """The page, any method."""

    isLeaf = True

    def __init__(self, functions: Functions) -> None:
        super().__init__()
        self._functions = functions
        # In the order in which they began.
        self._under_way: dict[_Scrape, None] = {}

    def render(self, request: Request) -> int | bytes:
        """Start a page; one too many is told to come again."""
        self._functions.began()
        scrape = _Scrape(request, self._functions)
        request.notifyFinish().addBoth(lambda _: self._ended(scrape))
        if not self._has_room():
            request.setResponseCode(503)
            request.setHeader(b"content-type", PLAIN)
            return b"as many scrapes as allowed are under way; come again\n"
        self._under_way[scrape] = None
        scrape.start()
        return NOT_DONE_YET

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
        self._under_way.pop(scrape, None)
        scrape.ended()


@implementer(IPushProducer)
class _Scrape:
    """One page: one slice a turn of the reactor, while it is taken."""

    def __init__(self, request: Request, functions: Functions) -> None:
        self._request = request
        self._functions = functions
        self._slices: Iterator[bytes] = iter(())
        self._began = time.monotonic()
        self._size = 0
        self._going = False
        self._due = False
        self._limit: Any = None

    @property
    def is_stalled(self) -> bool:
        """Tell whether the other side does not take what was written."""
        return not self._going

    def start(self) -> None:
        """Write the head, and begin."""
        request = self._request
        page = self._functions.metrics(_text(request, b"accept"))
        self._slices = page.slices
        request.setHeader(b"content-type", page.content_type.encode())
        request.setHeader(b"vary", b"Accept, Accept-Encoding")
        if _takes_gzip(_text(request, b"accept-encoding")):
            request.setHeader(b"content-encoding", b"gzip")
            self._slices = _gzipped(self._slices)
        if request.method == b"HEAD":
            request.finish()
            return
        self._limit = self._functions.later(LONGEST_SECONDS, self.give_up)
        request.registerProducer(self, True)
        self.resumeProducing()

    def ended(self) -> None:
        """Count a page that is out, or given up."""
        self._going = False
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        seconds = time.monotonic() - self._began
        self._functions.ended(self._request.code, seconds, self._size)

    def give_up(self) -> None:
        """Cut the connection: half a page must not look like a whole one."""
        self._request.channel.forceAbortClient()

    def resumeProducing(self) -> None:
        """Go on: the other side has taken what was written."""
        self._going = True
        if not self._due:
            self._next()

    def pauseProducing(self) -> None:
        """Wait: the other side reads more slowly than we write."""
        self._going = False

    def stopProducing(self) -> None:
        """Forget the rest: the other side has gone."""
        self._going = False

    def _next(self) -> None:
        self._due = False
        if not self._going:
            return
        try:
            part = next(self._slices, None)
        except Exception as error:
            self._functions.failed(error)
            self._fail()
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

    def _fail(self) -> None:
        request = self._request
        request.setResponseCode(500)
        if request.startedWriting:
            self.give_up()
            return
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
