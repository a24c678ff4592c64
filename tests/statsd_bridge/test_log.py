"""Log lines: one per event, whatever the event holds."""

from __future__ import annotations

import io
import json

import pytest

from statsd_bridge import log


@pytest.mark.parametrize("format_", ["logfmt", "json"])
def test_no_text_breaks_a_line_or_controls_a_terminal(format_: str) -> None:
    """Control characters are escaped in values and in tracebacks."""
    stream = io.StringIO()
    log.configure("info", format_, stream=stream)
    try:
        raise RuntimeError("a\x1b[31m\nlevel=info\u202e")
    except RuntimeError as error:
        log.logger("x").error("what", error="\x1b]0;x\x07\n", exc_info=error)
    line = stream.getvalue()

    assert line.count("\n") == 1
    assert line.rstrip("\n").isprintable()
    assert "exception" in line


def test_json_has_the_fields_of_the_schema() -> None:
    """`ts` in UTC, `level` as it is written in settings, `event`, then the fields."""
    stream = io.StringIO()
    log.configure("warn", "json", stream=stream)
    log.logger("x").info("not logged")
    log.logger("x").warning("what", count=3)
    fields = json.loads(stream.getvalue())

    assert fields.pop("ts").endswith("Z")
    assert fields == {"event": "what", "level": "warn", "count": 3}


def test_a_stream_that_fails_does_not_raise() -> None:
    """Neither a full disk nor a closed stream."""

    class FullDisk(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()
    for stream in (FullDisk(), closed):
        log.configure("info", "logfmt", stream=stream)
        log.logger("x").info("what")


def test_the_rate_of_an_event_is_limited() -> None:
    """Each event once a minute."""
    stream = io.StringIO()
    log.configure("info", "logfmt", stream=stream)
    now = [100.0]
    limited = log.RateLimitedLog(lambda: now[0])
    for now[0], event in ((100, "a"), (101, "a"), (101, "b"), (160, "a"), (161, "b")):
        limited.error(event)
    events = [line.split("event=")[1] for line in stream.getvalue().splitlines()]

    assert events == ["a", "b", "a", "b"]
