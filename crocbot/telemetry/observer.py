"""
Facts in, numbers in handles out: the only consumer of what stages report.

What it does not know it counts, in `values_dropped{reason="unknown"}`: a turn must not
fail because somebody added a word and forgot it here.
"""

from __future__ import annotations

from crocbot.model import (
    Disposition,
    ErrorType,
    Fact,
    Kind,
    Outcome,
    PollFailed,
    ReconnectReason,
    Severity,
    Trouble,
)
from crocbot.telemetry import catalogue
from crocbot.telemetry.catalogue import Drop
from crocbot.telemetry.emitter import Emitter


class Observer:
    """One handle for every word, made before the first fact."""

    def __init__(self, emitter: Emitter) -> None:
        self._messages = {
            kind: emitter.counter(catalogue.MESSAGES, kind) for kind in Kind
        }
        self._latency = {kind: emitter.timer(catalogue.LATENCY, kind) for kind in Kind}
        self._reconnects = {
            reason: emitter.counter(catalogue.RECONNECTS, reason)
            for reason in ReconnectReason
        }
        self._errors = {
            (type, severity): emitter.counter(catalogue.ERRORS, type, severity)
            for type in ErrorType
            for severity in Severity
        }
        self._unknown = emitter.counter(catalogue.VALUES_DROPPED, Drop.UNKNOWN)

    def report(self, fact: Fact) -> None:
        """Count a fact.  Never raises, never waits."""
        try:
            self._observe(fact)
        except Exception:
            self._unknown.inc()

    def _observe(self, fact: Fact) -> None:
        match fact:
            case Outcome():
                self._turn(fact)
            case Trouble():
                self._trouble(fact)
            case PollFailed():
                self._poll(fact)
            case _:
                self._unknown.inc()

    def _turn(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._trouble(outcome.error)
        if outcome.kind is None:
            return
        self._messages[outcome.kind].inc()
        answered = outcome.disposition is Disposition.ANSWERED
        if answered and outcome.seconds is not None:
            self._latency[outcome.kind].observe(outcome.seconds)

    def _trouble(self, trouble: Trouble) -> None:
        self._errors[trouble.type, trouble.severity].inc()

    def _poll(self, failed: PollFailed) -> None:
        self._reconnects[failed.reason].inc()
        self._errors[ErrorType(failed.reason.value), Severity.WARNING].inc()
