"""The verdict is honest: whatever differs is told, and nothing else."""

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


def verdict(text: str = PAGE, **changed: Any) -> list[str]:
    """What differs, in a world where by default all is well."""
    world: dict[str, Any] = {
        "sent": {"text": 3},
        "answered": {"text": 3},
        "mistakes": [],
        **changed,
    }
    return differences(**world, series=metrics_page.read(text))


def test_a_good_run_has_no_difference() -> None:
    """All answered, all counted, no error: nothing to tell."""
    assert verdict() == []


@pytest.mark.parametrize(
    ("line", "instead", "told"),
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
def test_a_wrong_page_is_told(line: str, instead: str, told: str) -> None:
    """One number that is wrong or missing is one sentence that says which."""
    assert line in PAGE
    assert verdict(PAGE.replace(line, instead)) == [told]


def test_an_unanswered_message_is_told() -> None:
    """Messages without an answer are counted by type."""
    assert verdict(answered={"text": 1}) == [
        "3 messages of type text were sent, 1 answered"
    ]


def test_mistakes_are_told() -> None:
    """What people complained of comes first."""
    assert verdict(mistakes=["Ada wrote 'a' and was told 'b'"]) == [
        "Ada wrote 'a' and was told 'b'"
    ]


def test_silence_is_no_success() -> None:
    """A run in which nobody wrote proves nothing."""
    text = PAGE.replace('type="text"} 3', 'type="text"} 0')

    assert verdict(text, sent={}, answered={}) == ["nobody wrote anything"]
