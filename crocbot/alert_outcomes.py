"""What becomes of messages about alerts: label values of metrics, closed sets."""

from __future__ import annotations

from enum import StrEnum


class AlertWay(StrEnum):
    """A way on which the operator gets alerts."""

    CHAT = "chat"
    WEBHOOK = "webhook"


class NoticeOutcome(StrEnum):
    """What became of a message about an alert; a failed one is tried again."""

    SENT = "sent"
    FAILED = "failed"
