"""
Structured logs to stderr: one event, key=value pairs; for people or as JSON.

    2026-01-31T12:00:00Z [warning] poll failed   failures=2 next_in=1.5 why=...

Everything goes through here, also what libraries log.  Nothing is printed as it came:
control characters are escaped, so nobody can forge a line or colour a terminal, and
the secrets are taken out of the finished line, whatever way they got into it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor

HIDDEN = "[redacted]"
# C0 without tab, DEL, C1, line and paragraph separators, bidirectional overrides.
CONTROL = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
CHATTY = ("aiohttp", "asyncio", "telegram")


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; cheap, may be made before `configure` was called."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


def configure(
    level: str,
    style: str,
    *,
    secrets: Sequence[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Set up all logging; `level` is debug, ..., error, `style` console or json."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _escape,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(style, stream),
                _redact(secrets),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in CHATTY:
        quiet = level != "debug"
        logging.getLogger(name).setLevel(logging.WARNING if quiet else logging.DEBUG)


def _renderer(style: str, stream: TextIO) -> Processor:
    if style == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        # The plain one: it prints no local variables, among which are secrets.
        exception_formatter=structlog.dev.plain_traceback,
    )


def _escape(_: object, __: str, event: EventDict) -> EventDict:
    """Make every text one line of harmless characters; a traceback keeps its lines."""
    for key, value in event.items():
        if not isinstance(value, str):
            continue
        lines = value.split("\n") if key == "exception" else [value]
        event[key] = "\n".join(CONTROL.sub(_escaped, line) for line in lines)
    return event


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()


def redactor(secrets: Sequence[str]) -> Callable[[str], str]:
    """Make a function that takes secrets out of a text."""
    # The half of a bot token behind the colon is the secret one.  A short one, as in
    # a test, may be an ordinary word.
    halves = [secret.partition(":")[2] for secret in secrets]
    parts = [*filter(None, secrets), *(half for half in halves if len(half) > 15)]
    shown = {form for part in parts for form in (part, quote(part, safe=""))}
    if not shown:
        return str
    longest_first = sorted(shown, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(HIDDEN, text)


def _redact(secrets: Sequence[str]) -> Callable[[object, str, Any], str]:
    """Take secrets out of a finished line."""
    redact = redactor(secrets)
    return lambda _, __, line: redact(str(line))
