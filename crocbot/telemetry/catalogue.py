"""
Every metric of the gateway, one row each.

Others are in process_metrics.py, agent_metrics.py (limits, costs), push_metrics.py,
alert_metrics.py and replica_metrics.py.

A row is all that a new metric needs, besides the line that records it: in observer.py
for what stages report, in runtime.py or process.py for what is sampled.  The
instruments, the mapping file, docs/metrics.md and the tests follow from the row.
"""

from __future__ import annotations

from random import Random

from crocbot.arrival_outcomes import EditOutcome, Membership, PressOutcome
from crocbot.delivery_outcomes import (
    ButtonOutcome,
    DeliveryIssue,
    DraftOutcome,
    RichOutcome,
)
from crocbot.events import CallOutcome, Method, UpdateType, WebhookOutcome
from crocbot.model import (
    Disposition,
    ErrorType,
    MessageType,
    ReconnectReason,
    Severity,
    Verdict,
)
from crocbot.telemetry import (
    agent_metrics,
    alert_metrics,
    process_metrics,
    push_metrics,
    replica_metrics,
)
from crocbot.telemetry.buckets import (
    API_CALL_BUCKETS,
    LAG_BUCKETS,
    TURN_BUCKETS,
    quantile_query,
)
from crocbot.telemetry.instruments import (
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    Instruments,
    Metric,
)
from crocbot.telemetry.labels import (
    DropReason,
    LossReason,
    TokenDirection,
)
from crocbot.turn_outcomes import (
    AgentErrorReason,
    FileDirection,
    FileOutcome,
    TranscriptionOutcome,
)

DENIALS = [verdict for verdict in Verdict if verdict is not Verdict.ALLOWED]
# The five metrics of the mission; their names are fixed.
UPTIME = GaugeMetric(
    name="crocbot_uptime_seconds",
    statsd="crocbot.uptime",
    help="Time since the gateway started.",
    query="crocbot_uptime_seconds < 300",
)
MESSAGES = CounterMetric(
    name="crocbot_messages_total",
    statsd="crocbot.messages",
    labels={"type": MessageType},
    help="Accepted messages by type, each counted once, when its row is first closed.",
    query="sum by (type) (rate(crocbot_messages_total[5m]))",
)
ERRORS = CounterMetric(
    name="crocbot_errors_total",
    statsd="crocbot.errors",
    labels={"type": ErrorType, "severity": Severity},
    help=(
        "Errors by type (a component, or how a Bot API call failed);"
        " only critical ones need the operator."
    ),
    query='sum by (type) (increase(crocbot_errors_total{severity="critical"}[1h]))',
)
LATENCY = HistogramMetric(
    name="crocbot_telegram_latency_seconds",
    statsd="crocbot.telegram.latency",
    labels={"type": MessageType},
    buckets=TURN_BUCKETS,
    help="From receiving a message to delivering its reply; answered messages only.",
    query=quantile_query(0.95, "crocbot_telegram_latency_seconds"),
)
RECONNECTS = CounterMetric(
    name="crocbot_telegram_reconnects_total",
    statsd="crocbot.telegram.reconnects",
    labels={"reason": ReconnectReason},
    help=(
        "Failures to receive updates that were retried; conflict: another poller,"
        " or a webhook that was set or changed."
    ),
    query="sum by (reason) (increase(crocbot_telegram_reconnects_total[15m]))",
)

# Turns and the agent.
TURNS = CounterMetric(
    name="crocbot_turns_total",
    statsd="crocbot.turns",
    labels={"disposition": Disposition},
    help=(
        "Outcomes of turns of this process, by disposition;"
        " the inbox has all-time totals."
    ),
    query="sum by (disposition) (increase(crocbot_turns_total[1h]))",
)
TURNS_IN_FLIGHT = GaugeMetric(
    name="crocbot_turns_in_flight",
    statsd="crocbot.turns_in_flight",
    help="Turns that are running: at most CROCBOT_MAX_TURNS, and those of /stop.",
    query="max_over_time(crocbot_turns_in_flight[5m])",
)
RETRIED_ANSWERS = CounterMetric(
    name="crocbot_retried_answers_total",
    statsd="crocbot.retried_answers",
    labels={"outcome": Disposition},
    help="Messages closed again after crocbot inbox retry, by disposition.",
    query="sum by (outcome) (increase(crocbot_retried_answers_total[1h]))",
)
QUEUE_WAIT = HistogramMetric(
    name="crocbot_queue_wait_seconds",
    statsd="crocbot.queue_wait",
    buckets=TURN_BUCKETS,
    help="From accepting a message to the begin of its turn.",
    query=quantile_query(0.95, "crocbot_queue_wait_seconds"),
)
FIRST_TEXT = HistogramMetric(
    name="crocbot_telegram_first_text_seconds",
    statsd="crocbot.telegram.first_text",
    buckets=TURN_BUCKETS,
    help="From receiving a message to the first visible text of its reply.",
    query=quantile_query(0.95, "crocbot_telegram_first_text_seconds"),
)
ACCESS_DENIALS = CounterMetric(
    name="crocbot_access_denials_total",
    statsd="crocbot.access.denials",
    labels={"reason": DENIALS},
    help="Messages that the access rules denied, by rule.",
    query="sum by (reason) (increase(crocbot_access_denials_total[1h]))",
)
DELIVERY_ISSUES = CounterMetric(
    name="crocbot_delivery_snags_total",
    statsd="crocbot.delivery.snags",
    labels={"snag": DeliveryIssue},
    help=(
        "Parts of replies that were not delivered as intended, by issue;"
        " plain_text: accepted only without formatting, edit_lost: not edited."
    ),
    query="sum by (snag) (increase(crocbot_delivery_snags_total[1h]))",
)
DRAFTS = CounterMetric(
    name="crocbot_drafts_total",
    statsd="crocbot.drafts",
    labels={"outcome": DraftOutcome},
    help=(
        "Drafts of growing answers in private chats, by outcome;"
        " unsupported: the Bot API server has none, and is not asked again."
    ),
    query="sum by (outcome) (increase(crocbot_drafts_total[1h]))",
)
BUTTONS = CounterMetric(
    name="crocbot_buttons_total",
    statsd="crocbot.buttons",
    labels={"outcome": ButtonOutcome},
    help="Buttons of answers, by outcome.",
    query="sum by (outcome) (increase(crocbot_buttons_total[1h]))",
)
RICH_MESSAGES = CounterMetric(
    name="crocbot_rich_messages_total",
    statsd="crocbot.rich_messages",
    labels={"outcome": RichOutcome},
    help=(
        "Replies that were to be rich messages, by outcome; unknown: Telegram did not"
        " confirm it, refused and not_sent: the classic form was sent."
    ),
    query="sum by (outcome) (increase(crocbot_rich_messages_total[1h]))",
)
AGENT_LATENCY = HistogramMetric(
    name="crocbot_agent_latency_seconds",
    statsd="crocbot.agent.latency",
    buckets=TURN_BUCKETS,
    help="From a prompt to the end of the agent's answer or attempt; stopped ones too.",
    query=quantile_query(0.95, "crocbot_agent_latency_seconds"),
)
AGENT_FIRST_TOKEN = HistogramMetric(
    name="crocbot_agent_first_token_seconds",
    statsd="crocbot.agent.first_token",
    buckets=TURN_BUCKETS,
    help="From a prompt to the first part of the agent's answer.",
    query=quantile_query(0.95, "crocbot_agent_first_token_seconds"),
)
AGENT_TOKENS = CounterMetric(
    name="crocbot_agent_tokens_total",
    statsd="crocbot.agent.tokens",
    labels={"direction": TokenDirection},
    help="Tokens used, as the agent reports them; 0 if it reports none.",
    query="sum by (direction) (increase(crocbot_agent_tokens_total[1d]))",
)
AGENT_ERRORS = CounterMetric(
    name="crocbot_agent_errors_total",
    statsd="crocbot.agent.errors",
    labels={"reason": AgentErrorReason},
    help="Prompts that the agent did not answer, or not wholly, by reason.",
    query="sum by (reason) (increase(crocbot_agent_errors_total[1h]))",
)

# Files and recordings.
FILES = CounterMetric(
    name="crocbot_files_total",
    statsd="crocbot.files",
    labels={"direction": FileDirection, "outcome": FileOutcome},
    help="Files of messages for the agent (in), and of its answers (out), by outcome.",
    query="sum by (direction, outcome) (increase(crocbot_files_total[1h]))",
)
TRANSCRIPTIONS = CounterMetric(
    name="crocbot_transcriptions_total",
    statsd="crocbot.transcriptions",
    labels={"outcome": TranscriptionOutcome},
    help="Recordings sent to be turned into words, by outcome.",
    query="sum by (outcome) (increase(crocbot_transcriptions_total[1h]))",
)
TRANSCRIPTION_LATENCY = HistogramMetric(
    name="crocbot_transcription_seconds",
    statsd="crocbot.transcription.time",
    buckets=TURN_BUCKETS,
    help="From sending a recording to its words or error, with all tries.",
    query=quantile_query(0.95, "crocbot_transcription_seconds"),
)

# Telegram and the inbox.
API_LATENCY = HistogramMetric(
    name="crocbot_telegram_api_seconds",
    statsd="crocbot.telegram.api",
    labels={"method": Method, "outcome": CallOutcome},
    buckets=API_CALL_BUCKETS,
    help="Bot API calls by method and outcome; getUpdates includes its long wait.",
    query="sum by (method, outcome) (rate(crocbot_telegram_api_seconds_count[5m]))",
)
POLL_AGE = GaugeMetric(
    name="crocbot_telegram_poll_age_seconds",
    statsd="crocbot.telegram.poll_age",
    help="Time since the last successful poll, or the start; absent with a webhook.",
    query="crocbot_telegram_poll_age_seconds > 90",
)
FLOOD_WAITS = CounterMetric(
    name="crocbot_telegram_flood_waits_total",
    statsd="crocbot.telegram.flood_waits",
    help="Calls that Telegram answered with a flood wait (HTTP 429).",
    query="increase(crocbot_telegram_flood_waits_total[15m])",
)
FLOOD_WAIT_SECONDS = CounterMetric(
    name="crocbot_telegram_flood_wait_seconds_total",
    statsd="crocbot.telegram.flood_wait_time",
    help="Sum of the flood waits that Telegram asked for.",
    query="increase(crocbot_telegram_flood_wait_seconds_total[15m])",
)
UPDATES = CounterMetric(
    name="crocbot_telegram_updates_total",
    statsd="crocbot.telegram.updates",
    labels={"kind": UpdateType},
    help="Updates received from Telegram, duplicates included, by type.",
    query="sum by (kind) (rate(crocbot_telegram_updates_total[5m]))",
)
DELIVERY_LAG = HistogramMetric(
    name="crocbot_telegram_delivery_lag_seconds",
    statsd="crocbot.telegram.delivery_lag",
    buckets=LAG_BUCKETS,
    help=(
        "From sending a message to storing it, once for each message, never below 0;"
        " includes the time without a gateway."
    ),
    query=quantile_query(0.95, "crocbot_telegram_delivery_lag_seconds"),
)
PENDING_UPDATES = GaugeMetric(
    name="crocbot_telegram_pending_updates",
    statsd="crocbot.telegram.pending_updates",
    help=(
        "Updates that Telegram keeps for the gateway, asked for once a minute;"
        " absent if it returns no number."
    ),
    query="min_over_time(crocbot_telegram_pending_updates[5m]) > 100",
)
EDITS = CounterMetric(
    name="crocbot_edits_total",
    statsd="crocbot.edits",
    labels={"outcome": EditOutcome},
    help=(
        "Edited messages by outcome; replaced: the message was waiting,"
        " unchanged: Telegram edited it."
    ),
    query="sum by (outcome) (increase(crocbot_edits_total[1h]))",
)
BUTTON_PRESSES = CounterMetric(
    name="crocbot_button_presses_total",
    statsd="crocbot.button_presses",
    labels={"outcome": PressOutcome},
    help="Presses of buttons by outcome; unconfirmed: Telegram could not be told.",
    query="sum by (outcome) (increase(crocbot_button_presses_total[1h]))",
)
MEMBERSHIP = CounterMetric(
    name="crocbot_membership_changes_total",
    statsd="crocbot.membership_changes",
    labels={"change": Membership},
    help="Chats that blocked or unblocked the bot, added or removed it.",
    query="sum by (change) (increase(crocbot_membership_changes_total[1d]))",
)
WEBHOOK_REQUESTS = CounterMetric(
    name="crocbot_webhook_requests_total",
    statsd="crocbot.webhook.requests",
    labels={"outcome": WebhookOutcome},
    help="Requests to the webhook, by outcome.",
    query="sum by (outcome) (increase(crocbot_webhook_requests_total[1h]))",
)
INBOX_ACCEPTED = GaugeMetric(
    name="crocbot_inbox_accepted_rows",
    statsd="crocbot.inbox.accepted",
    help="Rows accepted since the inbox was made: the sum of closed and open rows.",
    query="increase(crocbot_inbox_accepted_rows[1h])",
)
INBOX_CLOSED = GaugeMetric(
    name="crocbot_inbox_closed_rows",
    statsd="crocbot.inbox.closed",
    labels={"disposition": Disposition},
    help="Rows closed since the inbox was made, by disposition.",
    query="sum by (disposition) (increase(crocbot_inbox_closed_rows[1h]))",
)
INBOX_OPEN = GaugeMetric(
    name="crocbot_inbox_open_rows",
    statsd="crocbot.inbox.open",
    help="Rows that are not closed: in a turn, or waiting for one.",
    query="max_over_time(crocbot_inbox_open_rows[5m])",
)
INBOX_OLDEST = GaugeMetric(
    name="crocbot_inbox_oldest_open_seconds",
    statsd="crocbot.inbox.oldest_age",
    help="Age of the oldest open row; 0 if none is open.",
    query="crocbot_inbox_oldest_open_seconds > 600",
)
INBOX_DUPLICATES = GaugeMetric(
    name="crocbot_inbox_duplicate_rows",
    statsd="crocbot.inbox.duplicates",
    help="Updates delivered again since the inbox was made; each was accepted once.",
    query="increase(crocbot_inbox_duplicate_rows[1h])",
)

# Telemetry itself.
LINES_SENT = GaugeMetric(
    name="crocbot_emitter_lines_sent",
    statsd="crocbot.emitter.lines_sent",
    help="Total of statsd lines handed to the kernel, sent at the end of each flush.",
    query="increase(crocbot_emitter_lines_sent[5m])",
)
LINES_LOST = GaugeMetric(
    name="crocbot_emitter_lines_lost",
    statsd="crocbot.emitter.lines_lost",
    labels={"reason": LossReason},
    help="Total of statsd lines not delivered; refused ones are in lines_sent, too.",
    query="sum by (reason) (increase(crocbot_emitter_lines_lost[5m])) > 0",
)
VALUES_DROPPED = CounterMetric(
    name="crocbot_emitter_values_dropped_total",
    statsd="crocbot.emitter.values_dropped",
    labels={"reason": DropReason},
    help="Values not recorded; invalid or unknown means a bug in the gateway.",
    query="increase(crocbot_emitter_values_dropped_total[1h]) > 0",
)

CATALOGUE = (
    *(row for row in list(globals().values()) if isinstance(row, Metric)),
    *agent_metrics.ROWS,
    *push_metrics.ROWS,
    *alert_metrics.ROWS,
    *replica_metrics.ROWS,
    *process_metrics.ROWS,
)
"""
Every row above, in that order, then those of the modules with further rows.

This is the order of docs/metrics.md.
"""


def instruments(random: Random | None = None) -> Instruments:
    """Return the instruments of CATALOGUE; `random` chooses what timers keep."""
    invalid_name = VALUES_DROPPED.statsd_name(DropReason.INVALID)
    return Instruments(CATALOGUE, invalid_name=invalid_name, random=random)
