"""Every difference between the users and the metrics page is a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from crocbot.sandbox import metrics_page
from crocbot.sandbox.assertions import differences

PAGE = """
crocbot_uptime_seconds 5
crocbot_messages_total{type="text"} 3
crocbot_messages_total{type="media"} 0
crocbot_errors_total{type="network",severity="warning"} 0
crocbot_telegram_latency_seconds_count{type="text"} 3
crocbot_telegram_latency_seconds_count{type="media"} 0
crocbot_telegram_reconnects_total{reason="network"} 0
"""


def found(text: str = PAGE, **changed: Any) -> list[str]:
    """Return the differences of a run that is right but for these arguments."""
    run: dict[str, Any] = {"sent": {"text": 3}, "answered": {"text": 3}, "mistakes": []}
    return differences(**{**run, **changed}, samples=metrics_page.read(text))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        (
            {"answered": {"text": 1}},
            ["3 messages of type text were sent, 1 answered"],
        ),
        ({"mistakes": ["Ada wrote 'a' and got 'b'"]}, ["Ada wrote 'a' and got 'b'"]),
        (
            {
                "text": PAGE.replace('type="text"} 3', 'type="text"} 0'),
                "sent": {},
                "answered": {},
            },
            ["no message was sent"],
        ),
    ],
)
def test_what_the_users_saw(changed: dict[str, Any], expected: list[str]) -> None:
    """Missing answers, mistakes, and a run without messages are differences."""
    assert found(**changed) == expected


@pytest.mark.parametrize(
    ("line", "instead", "expected"),
    [
        (
            'messages_total{type="text"} 3',
            'messages_total{type="text"} 2',
            'crocbot_messages_total{type="text"} is 2, expected 3',
        ),
        (
            'messages_total{type="media"} 0',
            'messages_total{type="media"} 1',
            'crocbot_messages_total{type="media"} is 1, expected 0',
        ),
        (
            'crocbot_messages_total{type="text"} 3\n',
            "",
            'crocbot_messages_total{type="text"} is missing, expected 3',
        ),
        (
            'latency_seconds_count{type="text"} 3',
            'latency_seconds_count{type="text"} 4',
            'crocbot_telegram_latency_seconds_count{type="text"} is 4, expected 3',
        ),
        (
            'severity="warning"} 0',
            'severity="warning"} 1',
            "crocbot_errors_total is 1 for network warning, expected 0",
        ),
        (
            'crocbot_errors_total{type="network",severity="warning"} 0',
            "",
            "crocbot_errors_total is missing",
        ),
        (
            'reason="network"} 0',
            'reason="network"} 2',
            "crocbot_telegram_reconnects_total is 2 for network, expected 0",
        ),
        (
            'crocbot_telegram_reconnects_total{reason="network"} 0',
            "",
            "crocbot_telegram_reconnects_total is missing",
        ),
        ("crocbot_uptime_seconds 5", "", "crocbot_uptime_seconds is missing"),
        (
            "crocbot_uptime_seconds 5",
            "crocbot_uptime_seconds -1",
            "crocbot_uptime_seconds is -1, expected a positive number",
        ),
    ],
)
def test_what_the_page_shows(line: str, instead: str, expected: str) -> None:
    """A number that is wrong or missing is one sentence."""
    assert line in PAGE
    assert found(PAGE.replace(line, instead)) == [expected]
