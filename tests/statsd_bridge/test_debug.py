"""At --log.level=debug each line and each refusal is logged, up to a bound."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from statsd_bridge import log
from statsd_bridge.debug import (
    MAX_LOGGED_LINES,
    DebugLog,
    DebugPipeline,
    LoggedRefusals,
)
from statsd_bridge.fastpath import FastPipeline
from tests.statsd_bridge.in_memory import InMemoryPath, assert_same_results


class Debugged:
    """The path at level debug, and its log."""

    def __init__(self, max_series: int = 1_000) -> None:
        self.now = 100.0
        self._stream = io.StringIO()
        log.configure("debug", "json", stream=self._stream)
        debug_log = DebugLog(lambda: self.now)
        self.path = InMemoryPath(
            make_pipeline=lambda plain: DebugPipeline(
                FastPipeline(plain), plain, debug_log
            ),
            max_series=max_series,
            failed_lines=LoggedRefusals(debug_log),
        )

    def logged(self) -> list[dict[str, Any]]:
        """Return the lines of the log without their time; forget them."""
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        self._stream.seek(0)
        self._stream.truncate()
        for line in lines:
            del line["ts"]
        return lines


def received(line: str, transport: str = "udp") -> dict[str, str]:
    """Return the fields of a line that arrived."""
    fields = {"event": "line received", "transport": transport, "line": line}
    return {"level": "debug", **fields}


def refused(line: str, reason: str) -> dict[str, str]:
    """Return the fields of a refusal."""
    fields = {"event": "refused", "reason": reason, "line": line}
    return {"level": "debug", **fields}


REFUSALS = [
    (b"a", ["malformed_line"]),
    (b"a:x|c", ["malformed_value"]),
    (b"a:x|c:y|c", ["malformed_value", "malformed_value"]),
    (b"a:-1|c", ["illegal_negative_counter"]),
    (b",k=v:1|c", ["empty_metric_name"]),
    (b"a:1|c|#__k:v", ["reserved_label"]),
    (b"a:1|c|#k", ["tag_error"]),
    (b"_e{1,1}:a|b", ["dogstatsd_event_or_service_check"]),
    (b"full:1|g|#k:v", ["series_limit"]),
    (b"full:1|c", ["conflict"]),
]


@pytest.mark.parametrize(("line", "reasons"), REFUSALS)
def test_a_refusal_follows_its_line(line: bytes, reasons: list[str]) -> None:
    """With its reason."""
    debugged = Debugged(max_series=2)
    debugged.path.feed(b"full:1|g", b"a:1|c")
    debugged.logged()
    debugged.path.feed(line)
    text = line.decode()

    assert debugged.logged() == [
        received(text),
        *(refused(text, reason) for reason in reasons),
    ]


def test_each_line_has_its_transport() -> None:
    """Lines of datagrams and of streams, empty ones aside."""
    debugged = Debugged()
    debugged.path.pipeline.feed([b"a:1|c\nb:1|c\n"], "unixgram")
    debugged.path.pipeline.feed_lines([b"c:1|c", b""], "tcp")

    assert debugged.logged() == [
        received("a:1|c", "unixgram"),
        received("b:1|c", "unixgram"),
        received("c:1|c", "tcp"),
    ]
    assert debugged.path.stats.lines_by_transport == {"unixgram": 3, "tcp": 2}


def test_what_streams_refuse_is_logged() -> None:
    """Lines that are too long, and connections, by the name of their counter."""
    debugged = Debugged()
    debugged.path.stats.tcp.update(connections=1, too_long_lines=2)
    debugged.path.pipeline.feed_lines([], "tcp")
    debugged.path.stats.tcp.update(too_long_lines=1)
    debugged.path.pipeline.flush()
    debugged.path.pipeline.flush()

    refusal = {"event": "refused", "level": "debug", "reason": "too_long_lines"}
    assert debugged.logged() == [{**refusal, "count": 2}, {**refusal, "count": 1}]


def test_no_line_is_logged_unescaped() -> None:
    """Control characters and bytes that are not UTF-8 are escaped, long lines cut."""
    debugged = Debugged()
    debugged.path.feed(b"\x1b[31m\r\xff" + "\u202e".encode(), b"x" * 60_000)
    lines = [each["line"] for each in debugged.logged()]

    assert lines[0] == r"\x1b[31m\r\xff\u202e"
    assert max(map(len, lines)) < 5_000


def test_the_rest_of_a_second_is_counted() -> None:
    """A line follows with the number of lines of the log that were left out."""
    debugged = Debugged()
    debugged.path.feed(b"\n".join([b"a:x|c"] * MAX_LOGGED_LINES))
    debugged.path.feed(b"b:1|c\nb:1|c\nb:1|c")
    assert len(debugged.logged()) == MAX_LOGGED_LINES
    debugged.path.pipeline.flush()
    assert debugged.logged() == []
    debugged.now += 1
    debugged.path.pipeline.flush()

    left_out = {"event": "lines left out", "level": "debug"}
    assert debugged.logged() == [{**left_out, "count": MAX_LOGGED_LINES + 3}]
    debugged.path.feed(b"c:1|c")
    assert debugged.logged() == [received("c:1|c")]


def test_what_is_counted_does_not_depend_on_the_level() -> None:
    """Pages and counters are those of the fast path."""
    debugged, fast = Debugged(), InMemoryPath()
    batches = [
        b"a:1|c\ng:3|g\nb:x|c\n_sc|a|0\n",
        b"a:2|c\ng:+3|g\nt:5|ms|@0.1|#k:v,w",
        b"\n".join([b"g:%d|g" % n for n in range(2 * MAX_LOGGED_LINES)]),
        b"a:4|c\ng:+1|g\nt:5|ms|@0.1|#k:v,w",
    ]
    for batch in batches:
        debugged.path.feed(batch)
        fast.feed(batch)

    assert_same_results(debugged.path, fast)
