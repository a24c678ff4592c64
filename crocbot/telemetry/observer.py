"""
Events to instruments: the only listener of what stages report.

    Outcome(ANSWERED, TEXT, 2.5)  -->  messages.text +1, latency.text 2.5, ...

An event that cannot be recorded is counted in values_dropped{reason="unknown"} and
logged, at most once a minute: a bug here must not fail a turn.

Ages grow without events, most of all when something is wrong; so `update_ages` sets
them anew whenever the runtime metrics are sampled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from crocbot import log
from crocbot.agent_events import AgentCost, AgentFallback, MessageLimited
from crocbot.events import (
    AgentCall,
    AlertNotice,
    ApiCall,
    ButtonsEvent,
    CallOutcome,
    DeliveryEvent,
    DiskSpace,
    DraftShown,
    EditHandled,
    Event,
    FileEvent,
    FirstText,
    FloodWait,
    InboxState,
    MembershipChanged,
    MessageAccepted,
    PendingUpdates,
    PollCompleted,
    PollFailed,
    PollingStarted,
    PressHandled,
    PushedState,
    PushRequest,
    QueueWait,
    RichMessage,
    Transcription,
    TurnsInFlight,
    UpdateReceived,
    WebhookRequest,
)
from crocbot.model import (
    Clock,
    ErrorEvent,
    ErrorType,
    Outcome,
    Severity,
)
from crocbot.replica_events import (
    ChatsHeld,
    DatabaseUnreached,
    HeartbeatSent,
    LeaderState,
    LeaseLost,
    WriteRefused,
)
from crocbot.telemetry import (
    agent_metrics,
    alert_metrics,
    catalogue,
    push_metrics,
    replica_metrics,
)
from crocbot.telemetry.instruments import Instruments
from crocbot.telemetry.labels import DropReason, TokenDirection

LEADER_GAUGES = (
    catalogue.POLL_AGE,
    catalogue.PENDING_UPDATES,
    catalogue.INBOX_ACCEPTED,
    catalogue.INBOX_CLOSED,
    catalogue.INBOX_OPEN,
    catalogue.INBOX_OLDEST,
    catalogue.INBOX_DUPLICATES,
    push_metrics.PUSHED,
)
"""What only the leader of several replicas sends."""

LEADER_EVENTS = (
    PollCompleted,
    PendingUpdates,
    InboxState,
    PushedState,
)
"""Events that set them; one that arrives late must not bring them back."""


class Observer:
    """An EventListener that records every event.  `clock` is monotonic."""

    def __init__(self, instruments: Instruments, clock: Clock = time.monotonic) -> None:
        self._instruments = instruments
        self._clock = clock
        self._log = log.RateLimitedLog(clock)
        self._polls = False
        self._last_poll_at: float | None = None
        self._inbox_state: InboxState | None = None
        # Of a replica that does not lead.
        self._standby = False
        self._record: Mapping[type[Event], Callable[[Any], None]] = {
            Outcome: self._record_outcome,
            ErrorEvent: self._record_error,
            ApiCall: self._record_api_call,
            PollingStarted: self._record_polling,
            PollCompleted: self._record_poll,
            PollFailed: self._record_failed_poll,
            FloodWait: self._record_flood_wait,
            UpdateReceived: self._record_update,
            MessageAccepted: self._record_message,
            PendingUpdates: self._record_pending_updates,
            WebhookRequest: self._record_webhook_request,
            InboxState: self._record_inbox_state,
            PushedState: self._record_pushed,
            PushRequest: self._record_push_request,
            AlertNotice: self._record_alert_notice,
            DiskSpace: self._record_disk,
            TurnsInFlight: self._record_turns_in_flight,
            QueueWait: self._record_queue_wait,
            FirstText: self._record_first_text,
            AgentCall: self._record_agent_call,
            AgentFallback: self._record_fallback,
            AgentCost: self._record_cost,
            MessageLimited: self._record_limited,
            DeliveryEvent: self._record_delivery_issue,
            FileEvent: self._record_file,
            Transcription: self._record_transcription,
            DraftShown: self._record_draft,
            RichMessage: self._record_rich_message,
            EditHandled: self._record_edit,
            PressHandled: self._record_press,
            MembershipChanged: self._record_membership,
            ButtonsEvent: self._record_buttons,
            LeaderState: self._record_leader,
            ChatsHeld: self._record_chats_held,
            LeaseLost: self._record_lost_lease,
            WriteRefused: self._record_refused_write,
            HeartbeatSent: self._record_heartbeat,
            DatabaseUnreached: self._record_unreached,
        }
        instruments.gauge(catalogue.TURNS_IN_FLIGHT).set(0)

    def emit(self, event: Event) -> None:
        """Record an event.  Never raises, never blocks."""
        if self._standby and isinstance(event, LEADER_EVENTS):
            return
        try:
            self._record[type(event)](event)
        except Exception:
            self._instruments.counter(
                catalogue.VALUES_DROPPED, DropReason.UNKNOWN
            ).inc()
            name = type(event).__name__
            self._log.error("event not recorded", event_type=name, exc_info=True)

    def update_ages(self) -> None:
        """Set the ages of the last poll and of the oldest open row."""
        gauge = self._instruments.gauge
        if self._last_poll_at is not None:
            age = self._clock() - self._last_poll_at
            gauge(catalogue.POLL_AGE).set(max(age, 0))
        if self._inbox_state is not None:
            oldest = self._inbox_state.oldest_accepted_at
            age = 0 if oldest is None else self._clock() - oldest
            gauge(catalogue.INBOX_OLDEST).set(max(age, 0))

    # Turns and the agent.

    def _record_outcome(self, outcome: Outcome) -> None:
        counter = self._instruments.counter
        if outcome.error is not None:
            self._record_error(outcome.error)
        counter(catalogue.TURNS, outcome.disposition).inc()
        if outcome.decision is not None and not outcome.decision.allowed:
            counter(catalogue.ACCESS_DENIALS, outcome.decision.verdict).inc()
        if outcome.message_type is None:
            return
        # An album is one turn of several messages.
        messages = len(outcome.update_ids) - outcome.retried
        counter(catalogue.MESSAGES, outcome.message_type).inc(messages)
        if outcome.retried:
            # These were counted when they failed.
            retried = counter(catalogue.RETRIED_ANSWERS, outcome.disposition)
            retried.inc(outcome.retried)
        elif outcome.seconds is not None:
            latency = self._instruments.timer(catalogue.LATENCY, outcome.message_type)
            latency.observe(outcome.seconds)

    def _record_error(self, error: ErrorEvent) -> None:
        self._count_error(error.type, error.severity)

    def _count_error(self, type_: ErrorType, severity: Severity) -> None:
        self._instruments.counter(catalogue.ERRORS, type_, severity).inc()

    def _record_turns_in_flight(self, turns: TurnsInFlight) -> None:
        self._instruments.gauge(catalogue.TURNS_IN_FLIGHT).set(turns.count)

    def _record_queue_wait(self, wait: QueueWait) -> None:
        self._instruments.timer(catalogue.QUEUE_WAIT).observe(wait.seconds)

    def _record_first_text(self, text: FirstText) -> None:
        self._instruments.timer(catalogue.FIRST_TEXT).observe(text.seconds)

    def _record_delivery_issue(self, delivery: DeliveryEvent) -> None:
        self._instruments.counter(catalogue.DELIVERY_ISSUES, delivery.issue).inc()

    def _record_file(self, file: FileEvent) -> None:
        self._instruments.counter(catalogue.FILES, file.direction, file.outcome).inc()

    def _record_transcription(self, call: Transcription) -> None:
        self._instruments.counter(catalogue.TRANSCRIPTIONS, call.outcome).inc()
        timer = self._instruments.timer(catalogue.TRANSCRIPTION_LATENCY)
        timer.observe(call.seconds)

    def _record_rich_message(self, rich: RichMessage) -> None:
        self._instruments.counter(catalogue.RICH_MESSAGES, rich.outcome).inc()

    def _record_draft(self, draft: DraftShown) -> None:
        self._instruments.counter(catalogue.DRAFTS, draft.outcome).inc()

    def _record_buttons(self, buttons: ButtonsEvent) -> None:
        counter = self._instruments.counter(catalogue.BUTTONS, buttons.outcome)
        counter.inc(buttons.count)

    def _record_agent_call(self, call: AgentCall) -> None:
        counter, timer = self._instruments.counter, self._instruments.timer
        timer(catalogue.AGENT_LATENCY).observe(call.seconds)
        if call.first_token_seconds is not None:
            timer(catalogue.AGENT_FIRST_TOKEN).observe(call.first_token_seconds)
        counter(catalogue.AGENT_TOKENS, TokenDirection.INPUT).inc(call.input_tokens)
        counter(catalogue.AGENT_TOKENS, TokenDirection.OUTPUT).inc(call.output_tokens)
        if call.error is not None:
            counter(catalogue.AGENT_ERRORS, call.error).inc()

    def _record_fallback(self, fallback: AgentFallback) -> None:
        self._instruments.counter(agent_metrics.FALLBACKS, fallback.outcome).inc()

    def _record_cost(self, cost: AgentCost) -> None:
        self._instruments.counter(agent_metrics.COST, cost.model).inc(cost.dollars)

    def _record_limited(self, limited: MessageLimited) -> None:
        self._instruments.counter(agent_metrics.LIMITED_MESSAGES, limited.limit).inc()

    # Telegram and the inbox.

    def _record_api_call(self, call: ApiCall) -> None:
        latency = self._instruments.timer(
            catalogue.API_LATENCY, call.method, call.outcome
        )
        latency.observe(call.seconds)
        if call.outcome is CallOutcome.UNAUTHORIZED:
            self._count_error(ErrorType.AUTH, Severity.CRITICAL)

    def _record_leader(self, state: LeaderState) -> None:
        gauge = self._instruments.gauge
        gauge(replica_metrics.LEADER_EPOCH, str(state.bot)).set(state.epoch)
        self._standby = state.epoch == 0
        if self._standby:
            # An old value would look like one of now: the leader has the new ones.
            self._last_poll_at = self._inbox_state = None
            for metric in LEADER_GAUGES:
                for values in metric.label_values():
                    gauge(metric, *values).clear()
        elif self._polls and self._last_poll_at is None:
            # Whatever keeps this leader from its first poll.
            self._record_poll()

    def _record_polling(self, _: PollingStarted) -> None:
        self._polls = True
        if not self._standby:
            self._record_poll()

    def _record_poll(self, _: PollCompleted | None = None) -> None:
        self._last_poll_at = self._clock()
        self._instruments.gauge(catalogue.POLL_AGE).set(0)

    def _record_failed_poll(self, failed: PollFailed) -> None:
        self._instruments.counter(catalogue.RECONNECTS, failed.reason).inc()
        severity = Severity.CRITICAL if failed.lasting else Severity.WARNING
        self._count_error(ErrorType(failed.reason.value), severity)

    def _record_flood_wait(self, wait: FloodWait) -> None:
        self._instruments.counter(catalogue.FLOOD_WAITS).inc()
        self._instruments.counter(catalogue.FLOOD_WAIT_SECONDS).inc(wait.seconds)

    def _record_update(self, received: UpdateReceived) -> None:
        self._instruments.counter(catalogue.UPDATES, received.type).inc()

    def _record_message(self, accepted: MessageAccepted) -> None:
        lag = self._instruments.timer(catalogue.DELIVERY_LAG)
        lag.observe(accepted.lag_seconds)

    def _record_edit(self, edit: EditHandled) -> None:
        self._instruments.counter(catalogue.EDITS, edit.outcome).inc()

    def _record_press(self, press: PressHandled) -> None:
        self._instruments.counter(catalogue.BUTTON_PRESSES, press.outcome).inc()

    def _record_membership(self, membership: MembershipChanged) -> None:
        self._instruments.counter(catalogue.MEMBERSHIP, membership.change).inc()

    def _record_pending_updates(self, pending: PendingUpdates) -> None:
        gauge = self._instruments.gauge(catalogue.PENDING_UPDATES)
        if pending.count is None:
            # An old count would look like one of now.
            gauge.clear()
        else:
            gauge.set(pending.count)

    def _record_webhook_request(self, request: WebhookRequest) -> None:
        self._instruments.counter(catalogue.WEBHOOK_REQUESTS, request.outcome).inc()

    def _record_pushed(self, state: PushedState) -> None:
        for name, rows in state.rows.items():
            self._instruments.gauge(push_metrics.PUSHED, name).set(rows)

    def _record_push_request(self, request: PushRequest) -> None:
        counter = self._instruments.counter
        counter(push_metrics.PUSH_REQUESTS, request.outcome).inc()

    def _record_alert_notice(self, notice: AlertNotice) -> None:
        counter = self._instruments.counter
        counter(alert_metrics.ALERT_NOTICES, notice.way, notice.outcome).inc()

    def _record_chats_held(self, held: ChatsHeld) -> None:
        self._instruments.gauge(replica_metrics.CHATS_HELD).set(held.count)

    def _record_heartbeat(self, heartbeat: HeartbeatSent) -> None:
        timer = self._instruments.timer(
            replica_metrics.DATABASE_SECONDS, heartbeat.outcome
        )
        timer.observe(heartbeat.seconds)
        known = self._instruments.gauge(replica_metrics.LEADER_KNOWN)
        known.set(int(heartbeat.leader_known))

    def _record_unreached(self, _: DatabaseUnreached) -> None:
        self._instruments.gauge(replica_metrics.LEADER_KNOWN).set(0)

    def _record_lost_lease(self, _: LeaseLost) -> None:
        self._instruments.counter(replica_metrics.LEASES_LOST).inc()

    def _record_refused_write(self, _: WriteRefused) -> None:
        self._instruments.counter(replica_metrics.WRITES_REFUSED).inc()

    def _record_disk(self, disk: DiskSpace) -> None:
        self._instruments.gauge(alert_metrics.DISK_FREE).set(disk.free)
        self._instruments.gauge(alert_metrics.DISK_SIZE).set(disk.size)

    def _record_inbox_state(self, state: InboxState) -> None:
        gauge = self._instruments.gauge
        gauge(catalogue.INBOX_ACCEPTED).set(state.accepted)
        for disposition, rows in state.closed.items():
            gauge(catalogue.INBOX_CLOSED, disposition).set(rows)
        gauge(catalogue.INBOX_OPEN).set(state.open)
        gauge(catalogue.INBOX_DUPLICATES).set(state.duplicates)
        self._inbox_state = state
        self.update_ages()
