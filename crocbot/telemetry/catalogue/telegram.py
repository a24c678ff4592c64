"""The rows about Telegram: calls, polls, updates, the webhook; and the inbox."""

from __future__ import annotations

from crocbot.events import CallOutcome, Method, UpdateType, WebhookOutcome
from crocbot.model import Disposition, ReconnectReason
from crocbot.telemetry.catalogue.metric import Metric, Type, words

# A poll hangs for half a minute, everything else should be quick.
_CALL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

RECONNECTS = Metric(
    "crocbot.telegram.reconnects",
    "crocbot_telegram_reconnects_total",
    Type.COUNTER,
    "polls",
    "Polls that failed and were tried again; conflict: another poller has our token.",
    "sum by (reason) (increase(crocbot_telegram_reconnects_total[15m]))",
    (words("reason", ReconnectReason),),
    source="PollFailed",
)
API_LATENCY = Metric(
    "crocbot.telegram.api",
    "crocbot_telegram_api_seconds",
    Type.HISTOGRAM,
    "seconds",
    "Calls of the Bot API, by method and outcome; getUpdates waits for news.",
    "sum by (method, outcome) (rate(crocbot_telegram_api_seconds_count[5m]))",
    (words("method", Method), words("outcome", CallOutcome)),
    buckets=_CALL_BUCKETS,
    source="ApiCall",
)
POLL_AGE = Metric(
    "crocbot.telegram.poll_age",
    "crocbot_telegram_poll_age_seconds",
    Type.GAUGE,
    "seconds",
    "Since a poll last came back well, or polling began; absent with a webhook.",
    "crocbot_telegram_poll_age_seconds > 90",
    source="PollCompleted, PollingStarted",
)
FLOOD_WAITS = Metric(
    "crocbot.telegram.flood_waits",
    "crocbot_telegram_flood_waits_total",
    Type.COUNTER,
    "waits",
    "How often Telegram asked to wait.",
    "increase(crocbot_telegram_flood_waits_total[15m])",
    source="FloodWait",
)
FLOOD_WAIT_SECONDS = Metric(
    "crocbot.telegram.flood_wait_time",
    "crocbot_telegram_flood_wait_seconds_total",
    Type.COUNTER,
    "seconds",
    "How long Telegram asked to wait, all waits together.",
    "increase(crocbot_telegram_flood_wait_seconds_total[15m])",
    source="FloodWait",
)
UPDATES = Metric(
    "crocbot.telegram.updates",
    "crocbot_telegram_updates_total",
    Type.COUNTER,
    "updates",
    "Updates that Telegram handed over, duplicates included, by what they are about.",
    "sum by (kind) (rate(crocbot_telegram_updates_total[5m]))",
    (words("kind", UpdateType),),
    source="UpdateReceived",
)
WEBHOOK_REQUESTS = Metric(
    "crocbot.webhook.requests",
    "crocbot_webhook_requests_total",
    Type.COUNTER,
    "requests",
    "Requests to the webhook, by what became of them.",
    "sum by (outcome) (increase(crocbot_webhook_requests_total[1h]))",
    (words("outcome", WebhookOutcome),),
    source="WebhookRequest",
)
INBOX_ACCEPTED = Metric(
    "crocbot.inbox.accepted",
    "crocbot_inbox_accepted_rows",
    Type.GAUGE,
    "rows",
    "Rows accepted since the inbox was made: the sum of closed and open ones.",
    "increase(crocbot_inbox_accepted_rows[1h])",
    source="InboxState",
)
INBOX_CLOSED = Metric(
    "crocbot.inbox.closed",
    "crocbot_inbox_closed_rows",
    Type.GAUGE,
    "rows",
    "Rows that ended since the inbox was made, by how.",
    "sum by (disposition) (increase(crocbot_inbox_closed_rows[1h]))",
    (words("disposition", Disposition),),
    source="InboxState",
)
INBOX_OPEN = Metric(
    "crocbot.inbox.open",
    "crocbot_inbox_open_rows",
    Type.GAUGE,
    "rows",
    "Rows that have not ended: in work, or waiting for their turn.",
    "max_over_time(crocbot_inbox_open_rows[5m])",
    source="InboxState",
)
INBOX_OLDEST = Metric(
    "crocbot.inbox.oldest_age",
    "crocbot_inbox_oldest_open_seconds",
    Type.GAUGE,
    "seconds",
    "How long the oldest open row has waited; 0 when none is open.",
    "crocbot_inbox_oldest_open_seconds > 600",
    source="InboxState",
)
INBOX_DUPLICATES = Metric(
    "crocbot.inbox.duplicates",
    "crocbot_inbox_duplicate_rows",
    Type.GAUGE,
    "updates",
    "Updates delivered again since the inbox was made; each was taken once.",
    "increase(crocbot_inbox_duplicate_rows[1h])",
    source="InboxState",
)
