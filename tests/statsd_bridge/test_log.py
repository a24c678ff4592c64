"""Log lines: one to an event, whatever is in it."""

from __future__ import annotations

import io
import json
import sys

import pytest

from statsd_bridge import log


@pytest.mark.parametrize("form", log.FORMATS)
def test_nothing_breaks_a_line_or_a_terminal(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters are escaped, in values and in tracebacks."""
    log.configure("info", form)
    try:
        raise RuntimeError("a\x1b[31m\nlevel=info\u202e")
    except RuntimeError as error:
        log.logger().error("what", why="\x1b]0;x\x07\n", exc_info=error)
    said = capsys.readouterr().err

    assert said.count("\n") == 1
    assert said.rstrip("\n").isprintable()


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Level and values come back."""
    log.configure("info", "json")
    log.logger().warning("what", count=3)
    said = json.loads(capsys.readouterr().err)

    assert (said["event"], said["level"], said["count"]) == ("what", "warning", 3)


def test_a_stderr_that_takes_nothing_stops_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full disk and a reader who has gone raise no error here."""

    class Full(io.StringIO):
        """A file on a full disk."""

        def write(self, text: str) -> int:
            """Fail."""
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            """Fail."""
            raise OSError(28, "No space left on device")

    log.configure("info", "logfmt")
    for stderr in (Full(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stderr)
        if not isinstance(stderr, Full):
            stderr.close()
        log.logger().info("what")


def test_what_happens_often_is_told_seldom(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Once a minute, each event for itself."""
    log.configure("info", "logfmt")
    now = [100.0]
    seldom = log.RateLimitedLog(lambda: now[0])
    for now[0], event in ((100, "a"), (101, "a"), (101, "b"), (160, "a"), (161, "b")):
        seldom(event)
    told = [line.split("event=")[1] for line in capsys.readouterr().err.splitlines()]

    assert told == ["a", "b", "a", "b"]
