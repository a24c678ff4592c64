"""The pauses that servers ask for, in headers and in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.agents.pauses import MAX_PAUSE_SECONDS, duration, retry_after, retry_in
from crocbot.agents.server_errors import read_error


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("432", 432.0),
        ("1.5", 1.5),
        ("-1", 0.0),
        ("1e99", 86_400.0),
        ("inf", None),
        ("nan", None),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("7m12s", 432.0),
        ("soon", None),
        ("soon, says Tom", None),
        ("", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    """Both forms of RFC 9110 and durations are read; nothing else is a pause."""
    assert retry_after({"Retry-After": header}, clock=lambda: 100.0) == seconds


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Please try again in 20s.", 20.0),
        ("Please try again in 7m12.5s.", 432.5),
        ("Please try again in 1h2m3s", 3723.0),
        ("try again in 6ms", 0.006),
        ("Please retry after 10 seconds.", 10.0),
        ("Please retry in 2m.", 120.0),
        ("Please try again in 7 minutes.", 420.0),
        ("Please try again in 1 hour", 3600.0),
        ("try again in 1 hr, 2 min and 3 secs.", 3723.0),
        ("Try again in 2 days.", 86_400.0),
        ("Try again in 60 seconds. Passed model=m", 60.0),
        ("Please retry after 86400 seconds.", 86_400.0),
        ("Retry-After: 10", 10.0),
        ("Please retry your request after 30 s.", 30.0),
        ("Please wait 2 minutes before you retry.", 120.0),
        ("Please wait for 500 milliseconds", 0.5),
        ("Try again in 20, 3 requests are left", 20.0),
        ("Try again in 7m, 3 requests are left", 420.0),
        ("retry in 30 months", None),
        ("retry in 1.5 moons", None),
        ("Please try again in a minute.", None),
        ("try again", None),
    ],
)
def test_a_pause_in_words(words: str, seconds: float | None) -> None:
    """A pause in the words of an error is read, too."""
    assert retry_in(words) == seconds


@pytest.mark.parametrize(
    ("status", "headers", "words", "seconds"),
    [
        (429, {"retry-after-ms": "432000", "Retry-After": "1"}, "", 432.0),
        (503, {"retry-after-ms": "500"}, "", 0.5),
        (429, {"retry-after-ms": "soon", "Retry-After": "7"}, "", 7.0),
        (429, {"x-ratelimit-reset-requests": "7m12s"}, "", 432.0),
        (
            429,
            {
                "x-ratelimit-remaining-requests": "9",
                "x-ratelimit-reset-requests": "1h",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "120ms",
            },
            "",
            0.12,
        ),
        (429, {"x-ratelimit-reset-tokens": "9s"}, "try again in 2 minutes", 120.0),
        (503, {"x-ratelimit-reset-requests": "7m12s"}, "", None),
        (429, {}, "", None),
    ],
)
def test_the_pause_of_an_error(
    status: int, headers: dict[str, str], words: str, seconds: float | None
) -> None:
    """Headers count first, then the words, then the limits that are used up."""
    error = read_error(status, {"error": {"message": words}}, headers)

    assert error.wait == seconds


@given(st.text(alphabet="0123456789.smhd ,and", max_size=40))
def test_durations_of_any_shape(text: str) -> None:
    """A duration never raises and is bounded."""
    assert 0 <= (duration(text) or 0.0) <= MAX_PAUSE_SECONDS
