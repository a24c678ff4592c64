"""
Every metric of the gateway, one row each.

A row is all that a new metric needs, besides the line that records it: in observer.py
for what stages report, in runtime.py or process.py for what is sampled.  The
instruments, the mapping file, docs/metrics.md and the tests follow from the row.
"""

from __future__ import annotations

from random import Random

from crocbot.events import (
    AgentErrorReason,
    CallOutcome,
    DeliveryIssue,
    Method,
    UpdateType,
    WebhookOutcome,
)
from crocbot.model import (
    Disposition,
    ErrorType,
    MessageType,
    ReconnectReason,
    Severity,
    Verdict,
)
from crocbot.telemetry.buckets import (
    API_CALL_BUCKETS,
    LAG_BUCKETS,
    PAUSE_BUCKETS,
    TURN_BUCKETS,
)
from crocbot.telemetry.instruments import (
    ChosenAtStart,
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    Instruments,
    Metric,
)
from crocbot.telemetry.labels import (
    CpuMode,
    DropReason,
    Generation,
    LossReason,
    TokenDirection,
)


def _quantile(quantile: float, name: str) -> str:
    return f"histogram_quantile({quantile}, sum by (le) (rate({name}_bucket[5m])))"


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
    query=_quantile(0.95, "crocbot_telegram_latency_seconds"),
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
    query=_quantile(0.95, "crocbot_queue_wait_seconds"),
)
FIRST_TEXT = HistogramMetric(
    name="crocbot_telegram_first_text_seconds",
    statsd="crocbot.telegram.first_text",
    buckets=TURN_BUCKETS,
    help="From receiving a message to the first visible text of its reply.",
    query=_quantile(0.95, "crocbot_telegram_first_text_seconds"),
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
AGENT_LATENCY = HistogramMetric(
    name="crocbot_agent_latency_seconds",
    statsd="crocbot.agent.latency",
    buckets=TURN_BUCKETS,
    help="From a prompt to the end of the agent's answer or attempt; stopped ones too.",
    query=_quantile(0.95, "crocbot_agent_latency_seconds"),
)
AGENT_FIRST_TOKEN = HistogramMetric(
    name="crocbot_agent_first_token_seconds",
    statsd="crocbot.agent.first_token",
    buckets=TURN_BUCKETS,
    help="From a prompt to the first part of the agent's answer.",
    query=_quantile(0.95, "crocbot_agent_first_token_seconds"),
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
    help="Time since the last successful poll or the first one; absent with a webhook.",
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
    query=_quantile(0.95, "crocbot_telegram_delivery_lag_seconds"),
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

# The process, sampled by runtime.py.
CPU = CounterMetric(
    name="crocbot_process_cpu_seconds_total",
    statsd="crocbot.process.cpu",
    labels={"mode": CpuMode},
    help="CPU time of the gateway, in user mode and in the kernel.",
    query="sum(rate(crocbot_process_cpu_seconds_total[5m]))",
)
RESIDENT_MEMORY = GaugeMetric(
    name="crocbot_process_resident_memory_bytes",
    statsd="crocbot.process.resident_memory",
    help="Resident memory of the gateway.",
    query="max_over_time(crocbot_process_resident_memory_bytes[1h])",
)
VIRTUAL_MEMORY = GaugeMetric(
    name="crocbot_process_virtual_memory_bytes",
    statsd="crocbot.process.virtual_memory",
    help="Virtual memory of the gateway, used or only reserved.",
    query="crocbot_process_virtual_memory_bytes",
)
OPEN_FDS = GaugeMetric(
    name="crocbot_process_open_fds",
    statsd="crocbot.process.open_fds",
    help="Open file descriptors: sockets, files, pipes.",
    query="crocbot_process_open_fds / crocbot_process_max_fds > 0.8",
)
MAX_FDS = GaugeMetric(
    name="crocbot_process_max_fds",
    statsd="crocbot.process.max_fds",
    help="Limit of open file descriptors; absent if there is none.",
    query="crocbot_process_max_fds",
)
START_TIME = GaugeMetric(
    name="crocbot_process_start_time_seconds",
    statsd="crocbot.process.start_time",
    help="Start of the process, as Unix time.",
    query="changes(crocbot_process_start_time_seconds[1h])",
)
LOOP_LAG = HistogramMetric(
    name="crocbot_event_loop_lag_seconds",
    statsd="crocbot.event_loop.lag",
    buckets=(*PAUSE_BUCKETS, 2.5, 5.0),
    help="Delay of timers on the event loop, measured ten times a second.",
    query=_quantile(0.99, "crocbot_event_loop_lag_seconds"),
)
TASKS = GaugeMetric(
    name="crocbot_event_loop_tasks",
    statsd="crocbot.event_loop.tasks",
    help="Unfinished tasks of the event loop.",
    query="deriv(crocbot_event_loop_tasks[1h]) > 0",
)
THREADS = GaugeMetric(
    name="crocbot_threads",
    statsd="crocbot.threads",
    help="Python threads: of the event loop, the inbox, name look-ups.",
    query="max_over_time(crocbot_threads[1h])",
)
GC_DURATION = HistogramMetric(
    name="crocbot_gc_duration_seconds",
    statsd="crocbot.gc.duration",
    labels={"generation": Generation},
    buckets=PAUSE_BUCKETS,
    help="Duration of garbage collections, by the oldest generation collected.",
    query="sum by (generation) (rate(crocbot_gc_duration_seconds_sum[5m]))",
)
ALLOCATED_BLOCKS = GaugeMetric(
    name="crocbot_allocated_blocks",
    statsd="crocbot.allocated_blocks",
    help="Memory blocks allocated by Python's own allocator.",
    query="deriv(crocbot_allocated_blocks[6h])",
)
MALLOC = GaugeMetric(
    name="crocbot_malloc_bytes",
    statsd="crocbot.malloc",
    help="Memory allocated by the C library; without Python's small objects.",
    query="deriv(crocbot_malloc_bytes[6h])",
)
PYTHON_INFO = GaugeMetric(
    name="crocbot_python_info",
    statsd="crocbot.python",
    labels={"implementation": ChosenAtStart(), "version": ChosenAtStart(segments=3)},
    help="Always 1; the labels are the implementation and version of Python.",
    query="count by (version) (crocbot_python_info)",
)
BUILD_INFO = GaugeMetric(
    name="crocbot_build_info",
    statsd="crocbot.build",
    labels={"version": ChosenAtStart(segments=3)},
    help="Always 1; the label is the version of the gateway.",
    query="count by (version) (crocbot_build_info)",
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

CATALOGUE = tuple(row for row in list(globals().values()) if isinstance(row, Metric))
"""Every row above, in that order, which is the order of docs/metrics.md."""


def instruments(random: Random | None = None) -> Instruments:
    """Return the instruments of CATALOGUE; `random` chooses what timers keep."""
    invalid_name = VALUES_DROPPED.statsd_name(DropReason.INVALID)
    return Instruments(CATALOGUE, invalid_name=invalid_name, random=random)
