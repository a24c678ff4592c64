"""
Watch two pages for some time.

    ours   theirs   ours     ...     ours   theirs   ours
    |-------first-------|            |-------last--------|

Each page of statsd_exporter is read between two of the bridge: what it has counted is
between what these have, however long a scrape or a relay takes.
"""

from __future__ import annotations

import time
from typing import Final

from statsd_bridge.compare.differences import Comparison, differences
from statsd_bridge.compare.history import Bracket, History
from statsd_bridge.compare.page import Page, read
from statsd_bridge.fetch import Server, fetch

DEFAULT_PATH: Final = "/metrics"

MAX_PAGE_BYTES: Final = 256 * 1024 * 1024

GAP_SECONDS: Final = 1.5
"""Time between two pages of a bracket: longer than a relay keeps lines, a second."""

MAX_STEP_SECONDS: Final = 15.0
"""Time between the brackets, to see which gauges rest and which series expire."""

MIN_STEPS: Final = 2
"""Brackets after the first one, however short the time is."""


def compare(theirs: Server, ours: Server, seconds: float) -> Comparison:
    """
    Compare two programs for some seconds, at least nine.

    Raise FetchError if one of them gives no page, or restarts meanwhile.
    """
    began = time.monotonic()
    first = _bracket(theirs, ours)
    history = History(first=first, last=first)
    history.note(first)
    steps = max(MIN_STEPS, round(seconds / MAX_STEP_SECONDS))
    for step in range(1, steps + 1):
        # Each bracket ends when its share of the time is over.
        end = began + seconds * step / steps - 2 * GAP_SECONDS
        time.sleep(max(end - time.monotonic(), 0.0))
        history.note(_bracket(theirs, ours))
        _check_starts(theirs, first.theirs, history.last.theirs)
        _check_starts(ours, first.before, history.last.after)
    found, left_out = differences(history)
    return Comparison(
        seconds=time.monotonic() - began,
        series=len(history.last.theirs.numbers),
        moved=len(history.moved & history.last.theirs.numbers.keys()),
        differences=found,
        left_out=left_out,
    )


def _bracket(theirs: Server, ours: Server) -> Bracket:
    before = _fetch_page(ours)
    time.sleep(GAP_SECONDS)
    middle = _fetch_page(theirs)
    time.sleep(GAP_SECONDS)
    return Bracket(before, middle, _fetch_page(ours))


def _fetch_page(server: Server) -> Page:
    path = "" if server.prefix else DEFAULT_PATH
    answer = fetch(server, path, accept="text/plain", max_bytes=MAX_PAGE_BYTES)
    if answer.status == 401:
        raise server.error("refuses user and password: write http://user:password@host")
    if answer.status != 200:
        raise server.error(f"answers with status {answer.status}")
    try:
        return read(answer.body.decode())
    except (ValueError, IndexError, KeyError) as error:
        raise server.error("the answer is no page of metrics") from error


def _check_starts(server: Server, first: Page, last: Page) -> None:
    if first.started_at != last.started_at:
        raise server.error("was restarted during the comparison: begin again")
