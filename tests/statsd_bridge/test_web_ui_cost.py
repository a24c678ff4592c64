"""No page costs more than its rows, whatever senders send: calls are counted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from statsd_bridge.web.ui.markup import MAX_LABELS, MAX_TEXT, series_name
from tests.statsd_bridge.web_in_memory import Backend

Feed = Callable[[Backend], None]


def calls(function: Callable[[], object]) -> int:
    """Return the number of calls of Python functions and of C functions."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def page_calls(backend: Backend, path: str) -> int:
    """Return the calls that a page takes, the second time it is asked for."""
    connection = backend.connect()
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    connection.send(request)
    backend.reactor.run_pending()
    return calls(lambda: connection.send(request))


def few(backend: Backend) -> None:
    """Feed enough series to fill all tables."""
    for number in range(600):
        backend.path.feed(b"m%d:1|c|#a:%d,b:x" % (number % 20, number))


def many_labels(backend: Backend) -> None:
    """Feed series with thousands of labels."""
    for number in range(40):
        tags = b",".join(b"l%d:%d" % (each, number) for each in range(3000))
        backend.path.feed(b"m%d:1|c|#" % number + tags)


def many_series(backend: Backend) -> None:
    """Feed many series of few names."""
    few(backend)
    for number in range(6_000):
        backend.path.feed(b"m%d:1|c|#a:%d,b:y" % (number % 20, number))


def many_names(backend: Backend) -> None:
    """Feed many names of one series."""
    for number in range(6_000):
        backend.path.feed(b"name%d:1|c|#a:%d" % (number, number))


@pytest.mark.parametrize("feed", [many_labels, many_series, many_names])
def test_the_main_page_costs_the_same(feed: Feed) -> None:
    """Neither more series nor more names nor more labels make it cost more."""
    usual, other = Backend(), Backend()
    few(usual)
    feed(other)
    assert page_calls(other, "/") < 2 * page_calls(usual, "/")


def test_a_series_with_many_labels_is_cut() -> None:
    """A page shows the first labels and the beginning of long ones."""
    labels = {f"l{number:04}": "v" * 5_000 for number in range(3_000)}
    shown = series_name("n", labels)
    assert shown.count('class="label"') == MAX_LABELS
    assert "and 2984 more" in shown
    assert "v" * MAX_TEXT + "…" in shown
    assert len(shown) < 10_000
