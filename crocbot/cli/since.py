"""
A time in the past, on a command line, as an age in seconds.

    90s  30min  2h  1d                 an age
    2026-01-31  2026-01-31T12:00       a date, or a date and time; local without a zone
"""

from __future__ import annotations

import re
import time
from datetime import datetime

import click

UNIT_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
AGE = re.compile(r"([0-9]{1,9}) *(s|m|min|h|d)")


def seconds(text: str) -> float:
    """Return how long ago a time was; raise BadParameter if it cannot be read."""
    if (age := AGE.fullmatch(text.strip())) is not None:
        return float(age[1]) * UNIT_SECONDS[age[2]]
    try:
        at = datetime.fromisoformat(text.strip())
        return time.time() - at.timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{text[:80]!r} is no time: write 30min, 2h, 1d or 2026-01-31T12:00."
        ) from None
