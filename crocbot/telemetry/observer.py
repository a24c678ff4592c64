"""
Facts in, numbers in handles out: the only consumer of what stages report.

    Outcome(ANSWERED, TEXT, 2.5)  -->  messages.text +1, latency.text 2.5, ...

What it does not know it counts, in `values_dropped{reason="unknown"}`: a turn must not
fail because somebody added a word and forgot it here.

Ages grow while nothing is reported, and most when something is wrong; so they are set
anew by `sample`, which the runtime calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from crocbot.events import (
    AgentCall,
    AgentErrorReason,
    ApiCall,
    CallOutcome,
    DeliveryEvent,
    DeliveryIssue,
    Event,
    FirstText,
    FloodWait,
    InboxState,
    Method,
    PollCompleted,
    PollFailed,
    PollingStarted,
    TurnsInFlight,
    UpdateReceived,
    UpdateType,
    WebhookOutcome,
    WebhookRequest,
)
from crocbot.model import (
    Disposition,
    ErrorEvent,
    ErrorType,
    MessageType,
    Outcome,
    ReconnectReason,
    Severity,
    Verdict,
)
from crocbot.telemetry import catalogue
from crocbot.telemetry.catalogue import Direction, Drop
from crocbot.telemetry.emitter import Emitter
from crocbot.telemetry.instruments import Counter


class Observer:
    """
    One handle for every word, made before the first fact.

    `clock` may start anywhere; `wall` is Unix time, as in the inbox.
    """

    def __init__(
        self,
        emitter: Emitter,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._polled: float | None = None
        self._oldest: float | None = None
        self._inbox_known = False
        self._turn_handles(emitter)
        self._agent_handles(emitter)
        self._telegram_handles(emitter)
        self._inbox_handles(emitter)
        self._unknown = emitter.counter(catalogue.VALUES_DROPPED, Drop.UNKNOWN)
        self._observers: Mapping[type, Callable[[Any], None]] = {
            Outcome: self._turn,
            ErrorEvent: self._trouble,
            ApiCall: self._api_call,
            PollingStarted: self._poll,
            PollCompleted: self._poll,
            PollFailed: self._failed_poll,
            FloodWait: self._flood_wait,
            UpdateReceived: lambda fact: self._updates[fact.type].inc(),
            WebhookRequest: lambda fact: self._webhook[fact.outcome].inc(),
            InboxState: self._inbox,
            TurnsInFlight: lambda fact: self._in_flight.set(fact.count),
            FirstText: lambda fact: self._first_text.observe(fact.seconds),
            AgentCall: self._agent_call,
            DeliveryEvent: lambda fact: self._snags[fact.issue].inc(),
        }

    def emit(self, event: Event) -> None:
        """Record an event as metrics.  Never raises, never blocks."""
        try:
            self._observers[type(event)](event)
        except Exception:
            self._unknown.inc()

    def sample(self) -> None:
        """Let the ages grow."""
        if self._polled is not None:
            self._poll_age.set(max(self._clock() - self._polled, 0))
        if self._inbox_known:
            since = self._oldest
            self._age.set(0 if since is None else max(self._wall() - since, 0))

    # Turns and the agent.

    def _turn_handles(self, emitter: Emitter) -> None:
        self._messages = {
            kind: emitter.counter(catalogue.MESSAGES, kind) for kind in MessageType
        }
        self._latency = {
            kind: emitter.timer(catalogue.LATENCY, kind) for kind in MessageType
        }
        self._errors = {
            (type, severity): emitter.counter(catalogue.ERRORS, type, severity)
            for type in ErrorType
            for severity in Severity
        }
        self._turns = {
            end: emitter.counter(catalogue.TURNS, end) for end in Disposition
        }
        self._denials: dict[Verdict, Counter] = {
            verdict: emitter.counter(catalogue.ACCESS_DENIALS, verdict)
            for verdict in Verdict
            if verdict is not Verdict.ALLOWED
        }
        self._in_flight = emitter.gauge(catalogue.TURNS_IN_FLIGHT)
        self._in_flight.set(0)
        self._first_text = emitter.timer(catalogue.FIRST_TEXT)
        self._snags = {
            snag: emitter.counter(catalogue.DELIVERY_SNAGS, snag)
            for snag in DeliveryIssue
        }

    def _turn(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._trouble(outcome.error)
        self._turns[outcome.disposition].inc()
        if outcome.decision is not None and not outcome.decision.allowed:
            self._denials[outcome.decision.verdict].inc()
        if outcome.message_type is None:
            return
        # An album is one turn, and as many messages.
        self._messages[outcome.message_type].inc(len(outcome.update_ids) or 1)
        answered = outcome.disposition is Disposition.ANSWERED
        if answered and outcome.seconds is not None:
            self._latency[outcome.message_type].observe(outcome.seconds)

    def _trouble(self, trouble: ErrorEvent) -> None:
        self._errors[trouble.type, trouble.severity].inc()

    def _agent_handles(self, emitter: Emitter) -> None:
        self._agent_latency = emitter.timer(catalogue.AGENT_LATENCY)
        self._first_token = emitter.timer(catalogue.AGENT_FIRST_TOKEN)
        self._tokens = {
            way: emitter.counter(catalogue.AGENT_TOKENS, way) for way in Direction
        }
        self._agent_errors = {
            error: emitter.counter(catalogue.AGENT_ERRORS, error)
            for error in AgentErrorReason
        }

    def _agent_call(self, call: AgentCall) -> None:
        self._agent_latency.observe(call.seconds)
        if call.first_token_seconds is not None:
            self._first_token.observe(call.first_token_seconds)
        self._tokens[Direction.INPUT].inc(call.input_tokens)
        self._tokens[Direction.OUTPUT].inc(call.output_tokens)
        if call.error is not None:
            self._agent_errors[call.error].inc()

    # Telegram and the inbox.

    def _telegram_handles(self, emitter: Emitter) -> None:
        self._api = {
            (method, outcome): emitter.timer(catalogue.API_LATENCY, method, outcome)
            for method in Method
            for outcome in CallOutcome
        }
        self._reconnects = {
            reason: emitter.counter(catalogue.RECONNECTS, reason)
            for reason in ReconnectReason
        }
        self._poll_age = emitter.gauge(catalogue.POLL_AGE)
        self._flood_waits = emitter.counter(catalogue.FLOOD_WAITS)
        self._flood_seconds = emitter.counter(catalogue.FLOOD_WAIT_SECONDS)
        self._updates = {
            kind: emitter.counter(catalogue.UPDATES, kind) for kind in UpdateType
        }
        self._webhook = {
            outcome: emitter.counter(catalogue.WEBHOOK_REQUESTS, outcome)
            for outcome in WebhookOutcome
        }

    def _api_call(self, call: ApiCall) -> None:
        self._api[call.method, call.outcome].observe(call.seconds)
        if call.outcome is CallOutcome.UNAUTHORIZED:
            self._errors[ErrorType.AUTH, Severity.CRITICAL].inc()

    def _poll(self, _: PollingStarted | PollCompleted) -> None:
        self._polled = self._clock()
        self._poll_age.set(0)

    def _failed_poll(self, failed: PollFailed) -> None:
        self._reconnects[failed.reason].inc()
        self._errors[ErrorType(failed.reason.value), Severity.WARNING].inc()

    def _flood_wait(self, wait: FloodWait) -> None:
        self._flood_waits.inc()
        self._flood_seconds.inc(wait.seconds)

    def _inbox_handles(self, emitter: Emitter) -> None:
        self._accepted = emitter.gauge(catalogue.INBOX_ACCEPTED)
        self._closed = {
            end: emitter.gauge(catalogue.INBOX_CLOSED, end) for end in Disposition
        }
        self._open = emitter.gauge(catalogue.INBOX_OPEN)
        self._duplicates = emitter.gauge(catalogue.INBOX_DUPLICATES)
        self._age = emitter.gauge(catalogue.INBOX_OLDEST)

    def _inbox(self, state: InboxState) -> None:
        self._accepted.set(state.accepted)
        for end, count in state.closed.items():
            self._closed[end].set(count)
        self._open.set(state.open)
        self._duplicates.set(state.duplicates)
        self._oldest, self._inbox_known = state.oldest_accepted_at, True
        self.sample()
