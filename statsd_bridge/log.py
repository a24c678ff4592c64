"""
Structured logs on stderr, one line per event, and reports of unexpected exceptions.

    ts=2026-01-31T12:00:00Z level=info event=reloaded rules=12

The fields, as logfmt or JSON, are `ts`, `level` (debug, info, warn, error), `event`,
then those of the event: `error` is the text of an exception or a reason, `exception`
is a traceback.
Control characters are escaped, so that no text can forge a line or control a terminal.
Logging never waits: stderr.py writes the lines, and counts those that it cannot write.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

from statsd_bridge import stderr
from statsd_bridge.model import Clock, Stats

QUIET_SECONDS = 60.0
"""A rate-limited event is logged at most once in this time."""


def logger(name: str) -> FilteringBoundLogger:
    """Return the logger of a module; the name is not printed."""
    bound: FilteringBoundLogger = structlog.get_logger(name)
    return bound


def configure(level: str, format: str, *, stream: TextIO | None = None) -> None:
    """Log from `level` (debug, info, warn, error) up, as `logfmt` or `json`."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if format == "json"
        else structlog.processors.LogfmtRenderer(
            key_order=["ts", "level", "event"], bool_as_flag=False
        )
    )
    processors = [
        _add_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        _escape,
        renderer,
    ]
    output: _Output = stderr.WRITER if stream is None else _Stream(stream)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.WARNING if level == "warn" else level
        ),
        logger_factory=lambda *_: _LineLogger(output),
    )
    stderr.WRITER.notice = _DropNotice(processors)


class RateLimitedLog:
    """Logs what every packet may cause: each event once a minute."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._quiet_until: dict[str, float] = {}

    def error(self, event: str, **fields: Any) -> None:
        """Log an error, unless the same event was logged within the last minute."""
        if self._is_due(event):
            logger(__name__).error(event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log a warning, unless the same event was logged within the last minute."""
        if self._is_due(event):
            logger(__name__).warning(event, **fields)

    def _is_due(self, event: str) -> bool:
        now = self._clock()
        if now < self._quiet_until.get(event, now):
            return False
        self._quiet_until[event] = now + QUIET_SECONDS
        return True


class BugReporter:
    """Counts unexpected exceptions in `stats.bugs`, and logs one a minute."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._log = RateLimitedLog()

    def report(self, error: Exception) -> None:
        """Count and log an exception; the caller skips the line or series."""
        self._stats.bugs += 1
        self._log.error("a bug, please report it", exc_info=error)

    @contextmanager
    def catch(self) -> Iterator[None]:
        """Report an exception of the body instead of raising it."""
        try:
            yield
        except Exception as error:
            self.report(error)


class _Output(Protocol):
    """Takes whole lines and never raises an exception."""

    def write(self, line: str) -> None: ...


class _Stream:
    """Writes to a stream and ignores errors."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(line)
            self._stream.flush()


class _LineLogger:
    """What structlog calls with a rendered line, by the name of its level."""

    def __init__(self, output: _Output) -> None:
        self._output = output

    def msg(self, line: str) -> None:
        self._output.write(f"{line}\n")

    debug = info = warning = error = msg


class _DropNotice:
    """The line about dropped lines, in the format of the others."""

    def __init__(self, processors: Sequence[Any]) -> None:
        self._processors = processors

    def render(self, dropped: int) -> str:
        line: Any = {"event": "log lines were dropped", "count": dropped}
        for process in self._processors:
            line = process(None, "error", line)
        return f"{line}\n"


def _add_level(
    _: Any, method: str, event: MutableMapping[str, Any]
) -> Mapping[str, Any]:
    event["level"] = "warn" if method == "warning" else method
    return event


def _escape(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Escape control characters; the renderer escapes the newlines of a traceback."""
    return {
        key: "".join(map(_escape_character, value)) if isinstance(value, str) else value
        for key, value in event.items()
    }


def _escape_character(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return character.encode("unicode_escape").decode()
