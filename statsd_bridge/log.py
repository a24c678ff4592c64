"""Events to one line each on stderr, logfmt or JSON."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("logfmt", "json")


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
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            threshold or getattr(logging, level.upper())
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def logger() -> Any:
    """Give a logger: `log.logger().info("what happened", key=value)`."""
    return structlog.get_logger()
