"""
Notices to texts for the chat, and to the JSON of the webhook.

The JSON is that of Prometheus' Alertmanager (webhook, version 4) with one alert, and a
field `text` with the text for the chat, which many chat services show.  Nothing in it
comes from a message, from Telegram or from the agent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from crocbot.alerts.state import Notice, NoticeKind
from crocbot.alerts.table import ALERTS
from crocbot.text import time_span

RUNBOOKS = "docs/runbooks"
TEST_NAME = "CrocbotTest"
TEST_NOTICE = "This is a test of the alerts; nothing is wrong."
NOT_ENDED = "0001-01-01T00:00:00Z"


def text_of(notice: Notice, runbooks: str | None) -> str:
    """Return the text about an alert, with the address of its runbook."""
    alert, span = ALERTS[notice.name], time_span(notice.now - notice.since)
    match notice.kind:
        case NoticeKind.OVER:
            quiet = ""
            if alert.quiet and notice.quiet_seconds:
                quiet = f": {alert.quiet} for {time_span(notice.quiet_seconds)}"
            return f"✅ {notice.name} is over, after {span}{quiet}."
        case NoticeKind.REPEATED:
            head = f"🔥 {notice.name} ({alert.severity}), for {span}"
        case _:
            head = f"🔥 {notice.name} ({alert.severity})"
    page = runbook_address(alert.runbook, runbooks)
    return f"{head}\n{summary_of(notice)}\nWhat to do: {page}"


def summary_of(notice: Notice) -> str:
    """Return what is wrong, in one sentence."""
    return ALERTS[notice.name].summary.replace("{value}", notice.value)


def runbook_address(page: str, runbooks: str | None) -> str:
    """Return the address of a runbook, or its path in the repository."""
    return f"{(runbooks or RUNBOOKS).rstrip('/')}/{page}"


def body_of(
    notice: Notice, *, bot: str, runbooks: str | None, wall_offset: float
) -> Mapping[str, Any]:
    """Return the JSON about an alert; file time + `wall_offset` is Unix time."""
    alert = ALERTS[notice.name]
    is_over = notice.kind is NoticeKind.OVER
    annotations = {
        "summary": summary_of(notice),
        "runbook": f"{RUNBOOKS}/{alert.runbook}",
        "runbook_url": runbook_address(alert.runbook, runbooks) if runbooks else "",
    }
    return _body(
        {"alertname": str(notice.name), "severity": alert.severity, "bot": bot},
        annotations,
        starts_at=_time(notice.since + wall_offset),
        ends_at=_time(notice.now + wall_offset) if is_over else NOT_ENDED,
        text=text_of(notice, runbooks),
    )


def test_body(*, bot: str, now: float) -> Mapping[str, Any]:
    """Return the JSON of a test."""
    return _body(
        {"alertname": TEST_NAME, "severity": "warning", "bot": bot},
        {"summary": TEST_NOTICE},
        starts_at=_time(now),
        ends_at=NOT_ENDED,
        text=TEST_NOTICE,
    )


def _body(
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    *,
    starts_at: str,
    ends_at: str,
    text: str,
) -> Mapping[str, Any]:
    status = "firing" if ends_at == NOT_ENDED else "resolved"
    name = labels["alertname"]
    fingerprint = hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{name}"}}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "crocbot",
        "groupLabels": {"alertname": name},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": annotations,
                "startsAt": starts_at,
                "endsAt": ends_at,
                "generatorURL": "",
                "fingerprint": fingerprint[:16],
            }
        ],
        "text": text,
    }


def _time(seconds: float) -> str:
    """Return a Unix time as RFC 3339 in UTC."""
    return datetime.fromtimestamp(max(0.0, seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
