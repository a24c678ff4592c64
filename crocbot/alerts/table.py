"""
Every alert of the gateway itself, one row each.

Names, severities and runbooks are those of compose/prometheus/rules/crocbot.yml; a test
compares them, and docs/alerts.md is generated from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class AlertName(StrEnum):
    """The name of an alert, as in the Prometheus rules."""

    DEAF = "CrocbotDeaf"
    SECOND_POLLER = "CrocbotSecondPoller"
    TOKEN_REFUSED = "CrocbotTokenRefused"  # noqa: S105 (a name, not a token)
    INBOX_FAILS = "CrocbotInboxFails"
    BACKLOG_OLD = "CrocbotBacklogOld"
    UNDELIVERED = "CrocbotUndelivered"
    AGENT_ERRORS = "CrocbotAgentErrors"
    AGENT_MISCONFIGURED = "CrocbotAgentMisconfigured"
    DISK_NEARLY_FULL = "CrocbotDiskNearlyFull"
    RESTARTS = "CrocbotGatewayRestarts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """
    One alert; `{value}` in `summary` is a number or a time, never text from outside.

    `when` is the condition in words.  With `lasts` it must hold for
    `CROCBOT_ALERT_AFTER_SECONDS` before the alert fires.  `quiet` is what did not
    happen any more when it is over, if that is all that is known: perhaps nothing was
    repaired, and there were only no messages.
    """

    severity: str
    summary: str
    when: str
    runbook: str
    lasts: bool = False
    quiet: str = ""


ALERTS: Mapping[AlertName, Alert] = {
    AlertName.DEAF: Alert(
        severity="critical",
        summary="Telegram gives no updates{value}: messages do not arrive.",
        when="`/readyz` shows that `telegram` fails: at the start, or for 60 s no poll"
        " has completed",
        runbook="deaf.md",
        lasts=True,
    ),
    AlertName.SECOND_POLLER: Alert(
        severity="critical",
        summary="Another program polls with this token, or a webhook is set: each"
        " receives only part of the messages.",
        when="more than 2 conflicts within 10 minutes",
        runbook="second-poller.md",
        quiet="no conflict",
    ),
    AlertName.TOKEN_REFUSED: Alert(
        severity="critical",
        summary="Telegram refuses the token, and the gateway exits.",
        when="at once; by the webhook only",
        runbook="token-refused.md",
    ),
    AlertName.INBOX_FAILS: Alert(
        severity="critical",
        summary="The inbox could not be read or written; Telegram keeps new messages"
        " for a day.",
        when="at once",
        runbook="inbox.md",
    ),
    AlertName.BACKLOG_OLD: Alert(
        severity="critical",
        summary="A message has waited {value} for its answer.",
        when="the oldest open row is older than 10 minutes",
        runbook="backlog.md",
        lasts=True,
    ),
    AlertName.UNDELIVERED: Alert(
        severity="warning",
        summary="Answers that could not be delivered are kept for crocbot inbox retry:"
        " {value}.",
        when="at least one answer is kept, other than for a chat that is gone",
        runbook="undelivered.md",
    ),
    AlertName.AGENT_ERRORS: Alert(
        severity="critical",
        summary="{value} of the prompts get no answer from the agent.",
        when="more than 2 prompts within 10 minutes fail, and more than 20 % of all",
        runbook="agent-errors.md",
        quiet="no such error",
    ),
    AlertName.AGENT_MISCONFIGURED: Alert(
        severity="critical",
        summary="The agent refuses the gateway, and will until a setting or the account"
        " changes.",
        when="at once",
        runbook="agent-errors.md",
        quiet="no such error",
    ),
    AlertName.DISK_NEARLY_FULL: Alert(
        severity="critical",
        summary="The disk of the state directory has only {value} left.",
        when="less than 10 % and less than 1 GiB is free",
        runbook="inbox.md",
        lasts=True,
    ),
    AlertName.RESTARTS: Alert(
        severity="warning",
        summary="The gateway started {value} times in 15 minutes; nothing is lost, but"
        " replies are late.",
        when="more than 2 restarts within 15 minutes",
        runbook="gateway-down.md",
    ),
}
