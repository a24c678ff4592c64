"""
The pauses that servers ask for before the next request, in seconds.

    Retry-After: 432                   -->  432.0
    retry-after-ms: 432000             -->  432.0
    "Please try again in 7 minutes."   -->  420.0
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from crocbot.model import Clock

MAX_PAUSE_SECONDS = 86_400.0
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
UNIT = (
    r"(?P<ms>ms|milliseconds?)|(?P<s>s(?:ec(?:ond)?s?)?)|(?P<m>m(?:in(?:ute)?s?)?)"
    r"|(?P<h>h(?:(?:ou)?rs?)?)|(?P<d>d(?:ays?)?)"
)
PART = re.compile(
    rf"(?P<number>[0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)"
    rf"(?:\s?(?:{UNIT})(?![a-z])|(?![0-9]|\.[0-9]|\s?[a-z]))"
    r"(?:,? and\b|,)?\s{0,3}",
    re.IGNORECASE,
)
REQUEST = re.compile(
    r"\b(?:(?:try|retry)(?: (?:again|(?:the|your|this) request))? (?:in|after)"
    r"|retry[ -]after|wait)\b:?(?: for)?(?: about| at least)? ?(?=[0-9])",
    re.IGNORECASE,
)
MAX_PARTS = 4
# The limits of OpenAI's protocol, each with its own reset.
LIMITS = ("requests", "tokens")


def retry_after(headers: Mapping[str, str], clock: Clock = time.time) -> float | None:
    """Return the pause that headers ask for, None if they ask for none."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return min(milliseconds / 1000, MAX_PAUSE_SECONDS)
    return _standard(headers.get("Retry-After", "").strip(), clock)


def until_reset(headers: Mapping[str, str]) -> float | None:
    """
    Return the seconds until every limit that is used up is reset, None if unknown.

        x-ratelimit-remaining-requests: 0
        x-ratelimit-reset-requests: 7m12s     --> 432.0
    """
    used_up = [
        pause
        for limit in LIMITS
        if headers.get(f"x-ratelimit-remaining-{limit}", "0").strip() == "0"
        and (pause := duration(headers.get(f"x-ratelimit-reset-{limit}", "")))
        is not None
    ]
    return max(used_up, default=None)


def retry_in(words: str) -> float | None:
    """
    Return the pause that words ask for, None if they ask for none.

        "Please try again in 7m12.5s." --> 432.5    "retry after 10 seconds" --> 10.0
    """
    found = REQUEST.search(words)
    return None if found is None else duration(words[found.end() :])


def duration(text: str) -> float | None:
    """Return the seconds of a duration at the start of a text; a bare number is one."""
    total, position, text = None, 0, text.lstrip()
    for _ in range(MAX_PARTS):
        part = PART.match(text, position)
        # A number without a unit is no part of a longer duration: "7m, 3 requests".
        if part is None or (total is not None and part.lastgroup == "number"):
            break
        unit = part.lastgroup if part.lastgroup != "number" else "s"
        total = (total or 0.0) + float(part["number"]) * UNIT_SECONDS[unit or "s"]
        position = part.end()
        if part.lastgroup == "number":
            break
    return None if total is None else min(total, MAX_PAUSE_SECONDS)


def _standard(text: str, clock: Clock) -> float | None:
    """Return the pause of a Retry-After header: seconds or a date; see RFC 9110."""
    if (seconds := _number(text)) is not None:
        return min(seconds, MAX_PAUSE_SECONDS)
    try:
        pause = parsedate_to_datetime(text).timestamp() - clock()
    except (ValueError, TypeError, IndexError, OverflowError):
        # Some servers send a duration, such as "7m12s".
        return duration(text) if text[-1:].isalpha() else None
    return min(max(pause, 0.0), MAX_PAUSE_SECONDS)


def _number(text: str) -> float | None:
    """Return a finite number, 0 in place of a negative one; None for other texts."""
    try:
        number = float(text)
    except ValueError:
        return None
    return max(number, 0.0) if abs(number) < float("inf") else None
