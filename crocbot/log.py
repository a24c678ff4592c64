"""
Structured logs: one event with its fields a line, to stderr, for people or as JSON.

    2026-01-31T12:00:00Z [warn ] poll failed   error='no route' failures=2 next_in=1.5
    {"ts": "2026-01-31T12:00:00Z", "level": "warn", "event": "poll failed", ...}

The fields `ts` (UTC), `level` (debug, info, warn, error) and `event` come first; the
text of an error is the field `error`, a traceback the field `exception`.

Libraries log through this module, too.  Control characters are escaped, so that no
text from outside can forge a line or colour a terminal.  Secrets are replaced in the
finished line, so that no field, traceback or library can show one.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor

from crocbot.model import Clock

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("console", "json")
REDACTED = "[redacted]"
MIN_SECRET_HALF = 16
QUIET_SECONDS = 60.0
# C0 without tab, DEL, C1, line and paragraph separators, bidirectional overrides.
CONTROL = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
# The characters that Markdown escapes.
MARKDOWN = re.compile(r"[\\`*_{}\[\]()#+\-.!~>|=]")
# All loggers of the gateway are below this one.
PACKAGE = "crocbot"
# What structlog and the standard library call levels that have another name here.
LEVEL_NAMES = {"warning": "warn", "critical": "error"}


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger; it may be made before `configure` was called."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


class RateLimitedLog:
    """
    Logs errors that many events may cause: each event text at most once a minute.

    `clock` returns seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._quiet_until: dict[str, float] = {}

    def error(self, event: str, **fields: Any) -> None:
        """Log an error, unless the same event was logged within the last minute."""
        now = self._clock()
        if now >= self._quiet_until.get(event, now):
            self._quiet_until[event] = now + QUIET_SECONDS
            logger(__name__).error(event, **fields)


def configure(
    level: str,
    format: str,
    *,
    stream: TextIO | None = None,
    secrets: Sequence[str] = (),
) -> None:
    """Set up the logs of the process: a level of LEVELS, a format of FORMATS."""
    # Python has no stderr if the file descriptor was closed before the start.
    stream = stream or sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    shared: list[Processor] = [
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.format_exc_info,
        _add_time_and_level,
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
    redactor = Redactor(secrets)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(format, colors=stream.isatty()),
                lambda _, __, line: redactor.redact(str(line)),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries log at level info what only a developer needs: each HTTP request.
    root.setLevel("WARNING" if level == "info" else level.upper())
    logging.getLogger(PACKAGE).setLevel(level.upper())


def is_configured() -> bool:
    """Return whether `configure` was called."""
    return structlog.is_configured()


class Redactor:
    """
    Replaces secrets in texts, as they are and as a URL, Markdown or a log shows them.

    A secret of fewer than `min_chars` characters is not replaced.
    """

    def __init__(self, secrets: Sequence[str], *, min_chars: int = 1) -> None:
        # The half of a bot token behind the colon is the secret one.  A short one, as
        # in a test, may be an ordinary word.
        halves = [secret.partition(":")[2] for secret in secrets]
        long_halves = [half for half in halves if len(half) >= MIN_SECRET_HALF]
        plain = [one for one in secrets if len(one) >= max(1, min_chars)]
        texts = {text for one in plain + long_halves for text in _spellings(one)}
        self._longest_first = sorted(texts, key=len, reverse=True)
        alternatives = "|".join(map(re.escape, self._longest_first))
        # Without secrets the pattern must match nothing; an empty one matches all.
        self._pattern = re.compile(alternatives or "(?!)")
        self._first_chars = frozenset(text[0] for text in texts)

    def redact(self, text: str) -> str:
        """Return the text with REDACTED in place of each secret."""
        return self._pattern.sub(REDACTED, text)

    def safe_end(self, text: str) -> int:
        """
        Return where to cut a text to which more will be added.

        No secret that is in it, or may begin in it, contains this index.
        """
        end = len(text)
        longest = len(self._longest_first[0]) if self._longest_first else 0
        for index in range(max(0, len(text) - longest + 1), len(text)):
            if text[index] in self._first_chars and self._begins_secret(text[index:]):
                end = index
                break
        for match in self._pattern.finditer(text):
            if match.start() < end < match.end():
                return match.end()
        return end

    def _begins_secret(self, text: str) -> bool:
        """Return whether a secret begins with a text and is longer."""
        return any(
            secret.startswith(text) and len(secret) > len(text)
            for secret in self._longest_first
        )


def _spellings(secret: str) -> set[str]:
    """Return a secret as it looks in text, URL, Markdown, JSON and Python literal."""
    spellings = {quote(secret, safe=""), secret.replace("_", "\\_")}
    spellings.add(MARKDOWN.sub(r"\\\g<0>", secret))
    for text in (secret, CONTROL.sub(_escaped, secret)):
        in_json = (json.dumps(text, ensure_ascii=ascii) for ascii in (True, False))
        # A literal escapes an apostrophe only if it contains a quotation mark, too.
        literals = (repr(text)[1:-1], repr(f'{text}"')[1:-2])
        spellings |= {text, *(each[1:-1] for each in in_json), *literals}
    return spellings


_timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts")


def _add_time_and_level(logger: Any, method: str, event: EventDict) -> EventDict:
    """Put `ts`, `level` and `event` before the fields."""
    level = structlog.stdlib.add_log_level(logger, method, {})["level"]
    first = {"ts": "", "level": LEVEL_NAMES.get(level, level), "event": ""}
    return _timestamp(logger, method, {**first, **event})


def _renderer(format: str, *, colors: bool) -> Processor:
    if format == "json":
        return structlog.processors.JSONRenderer()
    styles = structlog.dev.ConsoleRenderer.get_default_level_styles(colors)
    styles["warn"] = styles["warning"]
    return structlog.dev.ConsoleRenderer(
        colors=colors,
        timestamp_key="ts",
        level_styles={level: styles[level] for level in LEVELS},
        # The plain one prints no local variables, which may hold secrets.
        exception_formatter=structlog.dev.plain_traceback,
    )


def _escape(_: object, __: str, event: EventDict) -> EventDict:
    """Escape control characters in every text; a traceback keeps its line ends."""
    for key, value in event.items():
        if not isinstance(value, str):
            continue
        lines = value.split("\n") if key == "exception" else [value]
        event[key] = "\n".join(CONTROL.sub(_escaped, line) for line in lines)
    return event


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()
