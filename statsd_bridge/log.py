"""
Events to one line each on stderr, logfmt or JSON.

Nothing that is said can break a line or a terminal, and who cannot write to stderr, as
the disk is full or the reader has gone, works on in silence.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO, cast

import structlog

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("logfmt", "json")

QUIET_SECONDS = 60.0


def configure(level: str, form: str) -> None:
    """Set up logging for the process; to be called once, by the CLI."""
    threshold = {"warn": logging.WARNING}.get(level)
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.processors.LogfmtRenderer(
            key_order=["ts", "level", "event"], bool_as_flag=False
        )
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            _escaped,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            threshold or getattr(logging, level.upper())
        ),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Stderr())),
    )


class RateLimitedLog:
    """Logs what may happen with every packet: each sort of event once a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._quiet_until: dict[str, float] = {}

    def __call__(self, event: str, **more: Any) -> None:
        """Log it as an error, or not at all."""
        now = self._clock()
        if now >= self._quiet_until.get(event, now):
            self._quiet_until[event] = now + QUIET_SECONDS
            logger().error(event, **more)


class _Stderr:
    """
    The stderr of now; what it does not take is lost.

    No file of `io`: those flush themselves when the interpreter has ended already.
    """

    def write(self, text: str) -> int:
        try:
            return sys.stderr.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            return


def _escaped(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Escape control characters; the newlines of a traceback are the renderer's."""
    return {
        key: "".join(map(_seen, value)) if isinstance(value, str) else value
        for key, value in event.items()
    }


def _seen(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return character.encode("unicode_escape").decode()


def logger() -> Any:
    """Give a logger: `log.logger().info("what happened", key=value)`."""
    return structlog.get_logger()
